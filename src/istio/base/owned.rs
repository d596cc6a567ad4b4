//! Values that the topology decides, and that a base or overlay therefore may not set.

use super::{Role, find};
use crate::topology::Place;
use crate::topology::yaml::Document;

/// A value in a base or overlay that belongs to the topology.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedValue {
    /// Its key's place.
    pub place: Place,
    /// Its path, with dots; `spec.` is left out as in Istio's documentation.
    pub path: String,
    /// Who decides it.
    pub reason: &'static str,
}

/// Keys that lead to a value, and why the value is owned.
type Owned = (&'static [&'static str], &'static str);

const MESH_ID: &str = "the mesh ID is `mesh_id` of the topology";
const CLUSTER: &str = "every cluster has its own name, `cluster` of a context in the topology";
const NETWORK: &str = "every cluster has its own network, `network` of a context in the topology";
const GATEWAYS: &str = "the gateways of the networks are found by themselves; an address that \
                        others see differently is `gateway` of a context in the topology";
const NAMESPACE: &str = "the namespace is `namespace` of a context in the topology";
const SECURED: &str = "connections to the control plane are always secured, no Istio since 1.6 \
                       has the choice";
const GATEWAY_NETWORK: &str = "the network of a gateway is `network` of its context in the \
                               topology, and no Istio ever read this variable";

/// Below `spec.values`: the keys, and why they are owned.
const VALUES: &[Owned] = &[
    (&["global", "meshID"], MESH_ID),
    (&["global", "multiCluster", "clusterName"], CLUSTER),
    (&["global", "network"], NETWORK),
    (&["global", "meshNetworks"], GATEWAYS),
    (&["pilot", "meshNetworks"], GATEWAYS),
    (&["global", "istioNamespace"], NAMESPACE),
    (&["global", "controlPlaneSecurityEnabled"], SECURED),
    (&["gateway", "istio-ingressgateway", "env", "ISTIO_MESH_NETWORK"], GATEWAY_NETWORK),
    (&["gateways", "istio-ingressgateway", "env", "ISTIO_MESH_NETWORK"], GATEWAY_NETWORK),
];

/// Below `spec`.
const SPEC: &[Owned] = &[(&["namespace"], NAMESPACE)];

/// The owned values of a file, in its order.
pub(super) fn find_all(document: &Document<'_>) -> Vec<OwnedValue> {
    let parents: [(&[&str], &[Owned]); 3] = [
        (&["spec", "values"], VALUES),
        (&["spec", "unvalidatedValues"], VALUES),
        (&["spec"], SPEC),
    ];
    let mut found = Vec::new();
    for (parent, owned) in parents {
        for (keys, reason) in owned {
            let path = [parent, keys].concat();
            if let Some(entry) = find(&document.root, &path) {
                let place = document.place(entry.mark);
                found.push(OwnedValue { place, path: path[1..].join("."), reason });
            }
        }
    }
    found.sort_by_key(|value| (value.place.line, value.place.column));
    found
}

/// One line for every value.
pub(super) fn listed(values: &[OwnedValue], role: Role) -> String {
    values
        .iter()
        .map(|OwnedValue { place, path, reason }| {
            format!("{place}: `{path}` may not be set in the {role}: {reason}")
        })
        .collect::<Vec<_>>()
        .join("\n")
}
