//! The platforms that are released.

/// One of them; os and architecture bear Go's names, as krew's selectors do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) triple: &'static str,
    pub(crate) os: &'static str,
    pub(crate) arch: &'static str,
}

/// The tag of this version.
pub(crate) const TAG: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// All of them. macOS needs Apple's frameworks, so its two are built on macOS only.
pub(crate) const TARGETS: [Target; 6] = [
    Target { triple: "x86_64-unknown-linux-musl", os: "linux", arch: "amd64" },
    Target { triple: "aarch64-unknown-linux-musl", os: "linux", arch: "arm64" },
    Target { triple: "x86_64-pc-windows-gnu", os: "windows", arch: "amd64" },
    Target { triple: "aarch64-pc-windows-gnullvm", os: "windows", arch: "arm64" },
    Target { triple: "x86_64-apple-darwin", os: "darwin", arch: "amd64" },
    Target { triple: "aarch64-apple-darwin", os: "darwin", arch: "arm64" },
];

impl Target {
    /// Whether this machine builds it.
    pub(crate) fn is_built_here(self) -> bool {
        self.os == "darwin" && cfg!(target_os = "macos")
            || self.os != "darwin" && cfg!(target_os = "linux")
    }

    /// The name of its binary.
    pub(crate) fn binary(self) -> &'static str {
        if self.os == "windows" { "kubectl-multimesh.exe" } else { "kubectl-multimesh" }
    }

    /// The name of its archive in this version.
    pub(crate) fn archive(self) -> String {
        self.archive_of(TAG)
    }

    /// The name of its archive in the version with that tag, or with a placeholder for one.
    pub(crate) fn archive_of(self, tag: &str) -> String {
        let kind = if self.os == "windows" { "zip" } else { "tar.gz" };
        format!("kubectl-multimesh_{tag}_{}_{}.{kind}", self.os, self.arch)
    }
}

/// The target whose binary runs on this machine without help.
pub(super) fn native() -> Result<Target, String> {
    let os = if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS };
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let found = TARGETS.iter().find(|it| it.os == os && it.arch == arch && it.is_built_here());
    found.copied().ok_or_else(|| format!("archives are not made on {os} and {arch}"))
}

/// The target with that triple, or with that `os_arch`.
pub(crate) fn find(name: &str) -> Result<&'static Target, String> {
    let is = |it: &&Target| it.triple == name || format!("{}_{}", it.os, it.arch) == name;
    TARGETS.iter().find(is).ok_or_else(|| {
        let known: Vec<_> = TARGETS.iter().map(|it| it.triple).collect();
        format!("there is no target `{name}`; there are {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_named_as_the_manifest_expects() {
        let names: Vec<_> = TARGETS.iter().map(|it| it.archive_of("v1.2.3")).collect();
        assert_eq!(
            names,
            [
                "kubectl-multimesh_v1.2.3_linux_amd64.tar.gz",
                "kubectl-multimesh_v1.2.3_linux_arm64.tar.gz",
                "kubectl-multimesh_v1.2.3_windows_amd64.zip",
                "kubectl-multimesh_v1.2.3_windows_arm64.zip",
                "kubectl-multimesh_v1.2.3_darwin_amd64.tar.gz",
                "kubectl-multimesh_v1.2.3_darwin_arm64.tar.gz",
            ]
        );
    }

    #[test]
    fn a_target_is_found_by_both_of_its_names() {
        for target in &TARGETS {
            assert_eq!(find(target.triple), Ok(target));
            assert_eq!(find(&format!("{}_{}", target.os, target.arch)), Ok(target));
        }
        assert!(find("linux_riscv64").unwrap_err().contains("aarch64-unknown-linux-musl"));
    }
}
