//! All objects that a cluster of the mesh should hold, but for the remote secrets.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::object::{self, GROUP_KINDS, Key, PARENT, SET_ID, TOOLING};
use crate::istio::operator::{GATEWAY, GATEWAY_PORT};
use crate::istio::{manifest, remote_secret};
use crate::pki::Cacerts;

/// The label that gives a namespace, a gateway or a pod its network.
pub const NETWORK_LABEL: &str = "topology.istio.io/network";
/// What the name of the reader's ClusterRole starts with
/// (istio: `manifests/charts/istio-control/istio-discovery/templates/reader-clusterrole.yaml`).
const READER_ROLE: &str = "istio-reader-clusterrole";
/// The Gateway that opens the east-west gateway for services of the mesh
/// (istio: `samples/multicluster/expose-services.yaml`).
pub const CROSS_NETWORK_GATEWAY: &str = "cross-network-gateway";

/// What a cluster is in the mesh.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The mesh ID.
    pub mesh_id: &'a str,
    /// The Istio cluster name.
    pub cluster: &'a str,
    /// The network.
    pub network: &'a str,
    /// The namespace of the control plane.
    pub namespace: &'a str,
    /// The account as which peers read this cluster.
    pub reader: &'a str,
    /// Whether the cluster takes part in links.
    pub joined: bool,
    /// Whether it needs an east-west gateway.
    pub gateway: bool,
    /// Whether the topology gives its gateway an address of its own.
    pub own_address: bool,
    /// The version of Istio.
    pub istio: &'a str,
    /// Whether the namespace is the tool's: it made it, or makes it now.
    pub own_namespace: bool,
}

/// What istioctl rendered for clusters that share a base; the objects that are the same in all of
/// them are made ready once, as they are large.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Rendering(Vec<Rendered>);

#[derive(Debug, Serialize, Deserialize)]
enum Rendered {
    /// Marked as a member of the apply set already.
    Same(Arc<Value>),
    /// With placeholders.
    Personal(Value),
}

impl Rendering {
    /// Sorts out what differs from cluster to cluster; `namespace` is the control plane's.
    pub fn new(objects: Vec<Value>, namespace: &str) -> Self {
        let id = object::set_id(namespace);
        let sort = |mut object: Value| {
            if object["kind"] == "Namespace" || manifest::is_personal(&object) {
                return Rendered::Personal(object);
            }
            select_whatever_network(&mut object);
            object::mark(&mut object, &id);
            Rendered::Same(Arc::new(object))
        };
        Self(objects.into_iter().map(sort).collect())
    }

    /// The objects, those with placeholders as well.
    fn objects(&self) -> impl Iterator<Item = &Value> {
        self.0.iter().map(|rendered| match rendered {
            Rendered::Same(object) => object,
            Rendered::Personal(object) => object,
        })
    }
}

/// Builds the objects, marked as members of the cluster's apply set. `rendered` still has
/// istioctl's placeholders; `cacerts` is left out where somebody else's is kept.
pub fn desired(
    place: &Place<'_>,
    rendering: &Rendering,
    cacerts: Option<&Cacerts>,
) -> Vec<Arc<Value>> {
    let id = object::set_id(place.namespace);
    let marked = |mut object: Value| {
        // A namespace of somebody else gets the network label and stays theirs.
        if place.own_namespace || object["kind"] != "Namespace" {
            object::mark(&mut object, &id);
        }
        Arc::new(object)
    };
    let mut objects = vec![marked(namespace(place))];
    objects.extend(cacerts.map(|cacerts| marked(cacerts_secret(place, cacerts))));
    objects.extend(rendering.0.iter().map(|rendered| match rendered {
        Rendered::Same(object) => Arc::clone(object),
        Rendered::Personal(object) => marked(personal(place, object)),
    }));
    if place.joined {
        objects.extend(reader(place, rendering).into_iter().map(marked));
    }
    if place.gateway {
        objects.push(marked(cross_network_gateway(place)));
    }
    objects.insert(1, Arc::new(parent(place, &id, &objects)));
    objects
}

fn personal(place: &Place<'_>, rendered: &Value) -> Value {
    let mut object = manifest::personalize(rendered, place.cluster, place.network);
    select_whatever_network(&mut object);
    if place.own_address && object["kind"] == "Service" && object["metadata"]["name"] == GATEWAY {
        hide_service(&mut object);
    }
    object
}

/// Takes the network out of what an object selects pods by. A Deployment can never select others
/// than those that it was made for, so a changed network would cost the gateway all its pods.
fn select_whatever_network(object: &mut Value) {
    let path =
        if object["kind"] == "Service" { "/spec/selector" } else { "/spec/selector/matchLabels" };
    if let Some(selector) = object.pointer_mut(path).and_then(Value::as_object_mut)
        && selector.len() > 1
    {
        selector.remove(NETWORK_LABEL);
    }
}

/// Takes the network off the gateway's Service, so that istiod does not use its address beside
/// the one that the topology gives.
fn hide_service(service: &mut Value) {
    if let Some(labels) = service["metadata"]["labels"].as_object_mut() {
        labels.remove(NETWORK_LABEL);
    }
}

fn namespace(place: &Place<'_>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": place.namespace, "labels": { NETWORK_LABEL: place.network } },
    })
}

/// The apply set's parent, which also tells a colleague's laptop what this cluster is.
fn parent(place: &Place<'_>, id: &str, members: &[Arc<Value>]) -> Value {
    let mut kinds: BTreeSet<String> = members.iter().map(|m| Key::of(m).group_kind()).collect();
    // Links come and go without the parent being written again.
    kinds.insert("Secret".to_owned());
    let kinds: Vec<String> = kinds.into_iter().collect();
    let mut parent = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": PARENT,
            "namespace": place.namespace,
            "labels": { SET_ID: id },
            "annotations": {
                TOOLING: concat!("kubectl-multimesh/v", env!("CARGO_PKG_VERSION")),
                GROUP_KINDS: kinds.join(","),
            },
        },
        "data": {
            "mesh_id": place.mesh_id,
            "cluster": place.cluster,
            "network": place.network,
            "istio": place.istio,
        },
    });
    object::stamp(&mut parent);
    parent
}

/// The parent as it names more kinds than its own; none where it names them already.
pub fn naming(parent: &Value, kinds: &BTreeSet<String>) -> Option<Value> {
    let own = object::annotation(parent, GROUP_KINDS).unwrap_or_default();
    let own: BTreeSet<String> = own.split(',').map(str::to_owned).collect();
    if kinds.is_subset(&own) {
        return None;
    }
    let all: Vec<String> = own.union(kinds).cloned().collect();
    let mut parent = parent.clone();
    parent["metadata"]["annotations"][GROUP_KINDS] = json!(all.join(","));
    object::stamp(&mut parent);
    Some(parent)
}

/// What the parent of a cluster that left the mesh says of its control plane, where that stays.
const LEFT: (&str, &str) = ("left", "kept");

/// Whether a parent says that its cluster left the mesh and keeps its control plane.
pub fn is_kept(parent: &Value) -> bool {
    parent["data"][LEFT.0] == LEFT.1
}

/// A live parent as it is applied to say so.
pub fn kept(parent: &Value) -> Value {
    let metadata = &parent["metadata"];
    let mut kept = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": { SET_ID: metadata["labels"][SET_ID] },
            "annotations": {
                TOOLING: metadata["annotations"][TOOLING],
                GROUP_KINDS: metadata["annotations"][GROUP_KINDS],
            },
        },
        "data": parent["data"],
    });
    kept["data"][LEFT.0] = json!(LEFT.1);
    object::stamp(&mut kept);
    kept
}

fn cacerts_secret(place: &Place<'_>, cacerts: &Cacerts) -> Value {
    let data: serde_json::Map<String, Value> = cacerts
        .entries()
        .into_iter()
        .map(|(name, content)| (name.to_owned(), BASE64_STANDARD.encode(content).into()))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "cacerts", "namespace": place.namespace },
        "type": "Opaque",
        "data": data,
    })
}

/// The account as which peers read this cluster, where the rendered charts do not bring it, and
/// the Secret that its token is put into.
fn reader(place: &Place<'_>, rendering: &Rendering) -> Vec<Value> {
    let mut objects = Vec::new();
    if let Some(role) = reader_role(rendering).filter(|_| !brings_account(rendering, place.reader))
    {
        objects.push(json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": { "name": place.reader, "namespace": place.namespace },
        }));
        objects.push(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": { "name": format!("multimesh-reader-{}-{}", place.reader, place.namespace) },
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": role,
            },
            "subjects": [{
                "kind": "ServiceAccount",
                "name": place.reader,
                "namespace": place.namespace,
            }],
        }));
    }
    objects.push(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": remote_secret::token_secret_name(place.reader),
            "namespace": place.namespace,
            "annotations": { "kubernetes.io/service-account.name": place.reader },
        },
        "type": object::ACCOUNT_TOKEN,
    }));
    objects
}

/// The reader's ClusterRole, whose name carries the revision and the namespace. An existing
/// control plane is not rendered: its reader is there already.
fn reader_role(rendering: &Rendering) -> Option<&str> {
    let mut roles = rendering.objects().filter(|o| o["kind"] == "ClusterRole");
    roles.find_map(|o| o["metadata"]["name"].as_str().filter(|n| n.starts_with(READER_ROLE)))
}

fn brings_account(rendering: &Rendering, name: &str) -> bool {
    rendering.objects().any(|o| o["kind"] == "ServiceAccount" && o["metadata"]["name"] == name)
}

fn cross_network_gateway(place: &Place<'_>) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": { "name": CROSS_NETWORK_GATEWAY, "namespace": place.namespace },
        "spec": {
            "selector": { "istio": "eastwestgateway" },
            "servers": [{
                "port": { "number": GATEWAY_PORT, "name": "tls", "protocol": "TLS" },
                "tls": { "mode": "AUTO_PASSTHROUGH" },
                "hosts": ["*.local"],
            }],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::object::{annotation, is_ours, label, set_id};

    fn place(gateway: bool, own_namespace: bool) -> Place<'static> {
        Place {
            mesh_id: "m1",
            cluster: "east-1",
            network: "network-east",
            namespace: "istio-system",
            reader: "reader",
            joined: true,
            gateway,
            own_address: false,
            istio: "1.31.0",
            own_namespace,
        }
    }

    fn rendering(objects: Vec<Value>) -> Rendering {
        Rendering::new(objects, "istio-system")
    }

    fn rendered() -> Vec<Value> {
        vec![json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": { "name": "istio-reader-clusterrole-canary-istio-system" },
        })]
    }

    fn names(objects: &[Arc<Value>]) -> Vec<String> {
        objects.iter().map(|o| Key::of(o).to_string()).collect()
    }

    #[test]
    fn a_cluster_gets_all_that_links_and_networks_need() {
        let objects = desired(&place(true, true), &rendering(rendered()), None);
        assert_eq!(
            names(&objects),
            [
                "Namespace istio-system",
                "ConfigMap istio-system/kubectl-multimesh",
                "ClusterRole istio-reader-clusterrole-canary-istio-system",
                "ServiceAccount istio-system/reader",
                "ClusterRoleBinding multimesh-reader-reader-istio-system",
                "Secret istio-system/reader-istio-remote-secret-token",
                "Gateway istio-system/cross-network-gateway",
            ]
        );
        assert_eq!(label(&objects[0], NETWORK_LABEL), Some("network-east"));
        assert_eq!(objects[4]["roleRef"]["name"], "istio-reader-clusterrole-canary-istio-system");
        let kinds = annotation(&objects[1], GROUP_KINDS).unwrap();
        assert!(
            kinds.contains("Gateway.networking.istio.io") && kinds.contains("Secret"),
            "{kinds}"
        );
    }

    #[test]
    fn a_parent_tells_that_its_control_plane_stays_until_it_is_applied_again() {
        let objects = desired(&place(false, true), &rendering(rendered()), None);
        let parent = &objects[1];
        let mut live = Value::clone(parent);
        live["metadata"]["resourceVersion"] = json!("7");
        live["metadata"]["labels"]["theirs"] = json!("x");
        let kept = kept(&live);
        assert!(is_kept(&kept) && !is_kept(&live));
        assert_ne!(annotation(&kept, object::DIGEST), annotation(parent, object::DIGEST));
        let mut same = kept.clone();
        same["data"].as_object_mut().unwrap().remove("left");
        same["metadata"]["annotations"][object::DIGEST] =
            parent["metadata"]["annotations"][object::DIGEST].clone();
        assert_eq!(same, **parent, "and nothing else of it changes");
    }

    #[test]
    fn a_namespace_of_somebody_else_stays_theirs() {
        let id = set_id("istio-system");
        let objects = desired(&place(false, false), &rendering(rendered()), None);
        assert!(!is_ours(&objects[0], &id));
        assert!(objects[2..].iter().all(|o| is_ours(o, &id)));
        assert!(!names(&objects).iter().any(|n| n.contains("cross-network")));
    }

    #[test]
    fn pods_are_selected_whatever_their_network() {
        let labels = json!({ "app": "gateway", NETWORK_LABEL: "network-east" });
        let object = |kind: &str, selector: &Value| {
            json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": kind },
                "spec": { "selector": selector } })
        };
        let rendered = vec![
            object("Service", &labels),
            object("Deployment", &json!({ "matchLabels": labels })),
        ];
        let objects = desired(&place(true, true), &rendering(rendered), None);
        let selector =
            |kind: &str| &objects.iter().find(|o| o["kind"] == kind).unwrap()["spec"]["selector"];
        assert_eq!(selector("Service"), &json!({ "app": "gateway" }));
        assert_eq!(selector("Deployment"), &json!({ "matchLabels": { "app": "gateway" } }));
    }

    #[test]
    fn the_reader_that_the_charts_bring_is_not_made_twice() {
        let mut rendered = rendered();
        rendered.push(json!({ "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": "reader", "namespace": "istio-system" } }));
        let objects = desired(&place(false, true), &rendering(rendered), None);
        let accounts = objects.iter().filter(|o| o["kind"] == "ServiceAccount").count();
        assert_eq!(accounts, 1);
    }
}
