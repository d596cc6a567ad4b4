//! Versions of istioctl and of running control planes.

use std::fmt;

/// The oldest Istio that is worked with: from 1.29 on istiod reports the state of its remote
/// clusters as a metric and reads the peers' mesh config (Istio 1.29 release notes).
pub const OLDEST: Version = Version { major: 1, minor: 29 };

/// Major and minor of an Istio version: what decides about compatibility.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Always 1 so far.
    pub major: u32,
    /// The release line.
    pub minor: u32,
}

impl Version {
    /// Reads `1.31.1`, `v1.31.0-rc.0`, `1.31-alpha.abc`, or an image tag such as
    /// `1.31.1-distroless`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().trim_start_matches('v').split(['.', '-']);
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.parse().ok()?;
        Some(Self { major, minor })
    }
}

/// The oldest Kubernetes, as the minor of major 1, that a release line of Istio supports
/// (`istio.io:content/en/news/releases/1.*.x/announcing-1.*/_index.md`). A line that is newer than
/// this table is held to its last entry.
pub fn oldest_kubernetes(istio: Version) -> Option<u32> {
    match (istio.major, istio.minor) {
        (1, ..29) => None,
        (1, 29) => Some(31),
        _ => Some(32),
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Takes the version out of `istioctl version --remote=false -o json`.
pub fn of_istioctl(output: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(output).ok()?;
    value.pointer("/clientVersion/version")?.as_str().map(str::to_owned)
}

/// The version of a control plane by the image tag of its `discovery` container, without the
/// variant suffixes `-distroless` and `-debug`.
pub fn of_istiod(deployment: &serde_json::Value) -> Option<String> {
    let containers = deployment.pointer("/spec/template/spec/containers")?.as_array()?;
    let container = containers.iter().find(|c| c["name"] == "discovery")?;
    let image = container["image"].as_str()?.split('@').next()?;
    let (_, tag) = image.rsplit_once(':')?;
    let tag = tag.trim_end_matches("-distroless").trim_end_matches("-debug");
    (!tag.contains('/')).then(|| tag.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn versions_of_all_shapes_are_read() {
        let v = |major, minor| Some(Version { major, minor });
        assert_eq!(Version::parse("1.31.1"), v(1, 31));
        assert_eq!(Version::parse("v1.29.0-rc.0"), v(1, 29));
        assert_eq!(Version::parse("1.31-alpha.eed52eb"), v(1, 31));
        assert_eq!(Version::parse("latest"), None);
        assert!(Version::parse("1.9.0") < Some(OLDEST));
    }

    #[test]
    fn each_release_line_has_its_oldest_kubernetes() {
        let oldest = |text: &str| oldest_kubernetes(Version::parse(text).unwrap());
        assert_eq!(oldest("1.28.3"), None, "older than what is worked with");
        assert_eq!(oldest("1.29.9"), Some(31));
        assert_eq!(oldest("1.30.0"), Some(32));
        assert_eq!(oldest("1.31-alpha.eed52eb"), Some(32));
    }

    #[test]
    fn the_control_plane_tells_its_version_by_its_image() {
        let with = |image: &str| {
            json!({ "spec": { "template": { "spec": { "containers": [
                { "name": "discovery", "image": image },
            ] } } } })
        };
        let of = |image: &str| of_istiod(&with(image));
        assert_eq!(of("localhost/istio/pilot:1.31.0").as_deref(), Some("1.31.0"));
        assert_eq!(of("r:5000/pilot:1.31.0-distroless@sha256:ab").as_deref(), Some("1.31.0"));
        assert_eq!(of("r:5000/pilot"), None);
    }
}
