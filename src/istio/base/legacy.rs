//! What Istio had once: the kind of 1.4, and values without a meaning today.

use crate::topology::yaml::{Mark, Node, Value};

/// The API version of [`KIND`].
pub(super) const API_VERSION: &str = "install.istio.io/v1alpha2";
/// The kind of the installation in Istio 1.4.
pub(super) const KIND: &str = "IstioControlPlane";

type Notes = Vec<(Mark, String)>;

const NAMED: &str = "the installation is named by this tool";

/// Keys of an `IstioControlPlane` that an `IstioOperator` does not have.
const CONVERTED: &[(&[&str], &str)] = &[
    (&["spec", "tag"], "the images are those of the `istioctl` in use"),
    (&["spec", "installPackagePath"], "the charts are those of the `istioctl` in use"),
    (&["spec", "defaultNamespace"], "`namespace` of a context in the topology takes its place"),
    (&["spec", "trafficManagement"], "settings of istiod go below `spec.components.pilot`"),
    (&["spec", "configManagement"], "Galley is part of istiod"),
    (&["spec", "autoInjection"], "the injector is part of istiod"),
    (&["spec", "security"], "Citadel is part of istiod"),
    (&["spec", "policy"], "Mixer is gone"),
    (&["spec", "telemetry"], "Mixer is gone, the Telemetry API takes its place"),
    (
        &["spec", "gateways"],
        "gateways go below `spec.components.ingressGateways` and `egressGateways`",
    ),
    (&["spec", "coreDNS"], "DNS capture of the proxies takes its place"),
    (&["spec", "thirdParty"], ADDONS),
];

const ADDONS: &str = "Istio no longer installs other projects' software, install it by itself";
const CITADEL: &str = "Citadel is part of istiod";

/// Keys that were valid once and that today's `istioctl` rejects or ignores; the more exact come
/// first (`types.go` and `values_types.proto` in Istio's `operator/pkg/apis`).
const DEAD: &[(&[&str], &str)] = &[
    (&["status"], "it is written by an operator, not read"),
    (&["metadata", "name"], NAMED),
    (&["metadata", "namespace"], "`namespace` of a context in the topology takes its place"),
    (
        &["spec", "values", "security", "selfSigned"],
        "every cluster gets an intermediate CA of the mesh's root",
    ),
    (
        &["spec", "values", "global", "mtls", "enabled"],
        "proxies use mutual TLS by themselves; to refuse plain text as well, apply a \
         PeerAuthentication with mode STRICT",
    ),
    (&["spec", "values", "global", "mtls", "auto"], "it is always on"),
    (&["spec", "values", "global", "sds", "enabled"], "it is always on"),
    (&["spec", "values", "global", "sds", "udsPath"], "it is chosen by the proxies"),
    (&["spec", "values", "global", "useMCP"], "Galley is part of istiod"),
    (&["spec", "values", "global", "disablePolicyChecks"], "Mixer is gone"),
    (&["spec", "values", "global", "policyCheckFailOpen"], "Mixer is gone"),
    (&["spec", "values", "global", "createRemoteSvcEndpoints"], "remote secrets take its place"),
    (&["spec", "values", "security"], CITADEL),
    (&["spec", "values", "galley"], "Galley is part of istiod"),
    (&["spec", "values", "mixer"], "Mixer is gone, the Telemetry API takes its place"),
    (&["spec", "values", "nodeagent"], "the node agent is part of the proxies"),
    (&["spec", "values", "certmanager"], ADDONS),
    (&["spec", "values", "grafana"], ADDONS),
    (&["spec", "values", "kiali"], ADDONS),
    (&["spec", "values", "prometheus"], ADDONS),
    (&["spec", "values", "prometheusOperator"], ADDONS),
    (&["spec", "values", "tracing"], ADDONS),
    (&["spec", "values", "istiocoredns"], "DNS capture of the proxies takes its place"),
    (&["spec", "addonComponents"], ADDONS),
    (&["spec", "components", "policy"], "Mixer is gone"),
    (&["spec", "components", "telemetry"], "Mixer is gone, the Telemetry API takes its place"),
    (&["spec", "components", "galley"], "Galley is part of istiod"),
    (&["spec", "components", "citadel"], CITADEL),
    (&["spec", "components", "nodeAgent"], "the node agent is part of the proxies"),
    (&["spec", "components", "sidecarInjector"], "the injector is part of istiod"),
    (&["spec", "components", "injector"], "the injector is part of istiod"),
    (&["spec", "components", "istiocoredns"], "DNS capture of the proxies takes its place"),
];

/// Makes an `IstioOperator` of the `spec` of an `IstioControlPlane`.
pub(super) fn convert(root: &mut Node, notes: &mut Notes) {
    for (path, reason) in CONVERTED {
        drop_value(root, path, reason, notes);
    }
    if let Some(entry) = super::find(root, &["spec", "profile"])
        && matches!(&entry.node.value, Value::Text(profile) if profile == "sds")
    {
        drop_value(root, &["spec", "profile"], "the `sds` profile became `default`", notes);
    }
    if let Some(entry) = super::find(root, &["spec", "hub"])
        && matches!(&entry.node.value, Value::Text(hub) if hub.ends_with("/istio-release"))
    {
        drop_value(
            root,
            &["spec", "hub"],
            "the images of Istio 1.4 are not those that are installed",
            notes,
        );
    }
}

/// Drops the values that have no meaning today.
pub(super) fn drop_dead(root: &mut Node, notes: &mut Notes) {
    for (path, reason) in DEAD {
        drop_value(root, path, reason, notes);
    }
}

fn drop_value(root: &mut Node, path: &[&str], reason: &str, notes: &mut Notes) {
    if let Some(mark) = take(root, path) {
        let shown = path.strip_prefix(&["spec"]).filter(|rest| rest.len() > 1).unwrap_or(path);
        notes.push((mark, format!("`{}` is dropped: {reason}", shown.join("."))));
    }
}

/// Takes the entry that `path` leads to out of `node`, and the mappings below `spec` that it
/// leaves empty.
fn take(node: &mut Node, path: &[&str]) -> Option<Mark> {
    let (key, rest) = path.split_first()?;
    let Value::Map(entries) = &mut node.value else {
        return None;
    };
    let at = entries.iter().position(|entry| entry.key == *key)?;
    if rest.is_empty() {
        return Some(entries.remove(at).mark);
    }
    let mark = take(&mut entries[at].node, rest)?;
    let emptied = matches!(&entries[at].node.value, Value::Map(left) if left.is_empty());
    if emptied && *key != "spec" {
        entries.remove(at);
    }
    Some(mark)
}
