//! What a teardown would do to a cluster, from one look at it.

use std::collections::BTreeMap;

use futures::future::{BoxFuture, FutureExt as _};
use serde_json::Value;

use crate::engine::fleet::{self, REQUESTS};
use crate::engine::observe::Observed;
use crate::kube::{Cluster, Error, FIELD_MANAGER, Inventory};
use crate::plan::leftover::{self, CONFIG_LABEL};
use crate::plan::object::{
    GROUP_KINDS, Key, TOOLING, annotation, group, is_ours, label, member_selector, set_id,
};
use crate::plan::removal::{Removal, Scene, decide};

const DEFINITIONS_API: &str = "apiextensions.k8s.io/v1";
const DEFINITION: &str = "CustomResourceDefinition";
/// What the tooling annotation of our apply sets starts with.
const OUR_TOOLING: &str = "kubectl-multimesh/";
/// The group of the Gateway API.
const GATEWAY_API: &str = "gateway.networking.k8s.io";

/// Looks at everything that the decision about a cluster needs.
pub(in crate::engine) async fn look(
    cluster: &Cluster,
    namespace: &str,
    seen: &Observed,
) -> Result<Removal, Error> {
    let id = set_id(namespace);
    let own_ground = seen.namespace.as_ref().is_some_and(|ns| is_ours(ns, &id));
    let (leftovers, users, classes, inventory, pods) = futures::try_join!(
        async {
            if is_managed(seen) {
                leftovers(cluster, namespace, seen).await
            } else {
                Ok(Vec::new())
            }
        },
        custom_resources(cluster, seen, &id),
        gateways_by_class(cluster),
        async {
            if own_ground { cluster.inventory(namespace).await } else { Ok(Inventory::default()) }
        },
        injected_pods(cluster, seen, &id),
    )?;
    let mut users = users;
    users.extend(classes);
    let unlisted: Vec<String> = inventory.unlisted.into_iter().map(|(group, _)| group).collect();
    Ok(decide(&Scene {
        manager: FIELD_MANAGER,
        namespace,
        ours: &seen.ours,
        parent: seen.parent.as_ref(),
        ground: seen.namespace.as_ref(),
        istiods: &seen.istiods,
        leftovers: &leftovers,
        users: &users,
        contents: &inventory.objects,
        unlisted: &unlisted,
        pods: &pods,
    }))
}

/// Whether the tool installed the control plane, which may be half gone already: an existing one
/// of somebody else brings its webhook itself.
fn is_managed(seen: &Observed) -> bool {
    const WEBHOOK: &str = "MutatingWebhookConfiguration";
    let kinds = seen.parent.as_ref().and_then(|parent| annotation(parent, GROUP_KINDS));
    kinds.is_some_and(|kinds| kinds.contains(WEBHOOK))
        || seen.ours.iter().any(|(key, object)| {
            key.kind == WEBHOOK
                || (key.kind == "Deployment" && label(object, "app") == Some("istiod"))
        })
}

async fn leftovers(
    cluster: &Cluster,
    namespace: &str,
    seen: &Observed,
) -> Result<Vec<Value>, Error> {
    let made = |object: &Value| object["metadata"]["creationTimestamp"].as_str().map(str::to_owned);
    let since = seen.ours.values().chain(&seen.parent).filter_map(made).min();
    let everywhere = format!("{CONFIG_LABEL}=true");
    let gateway_api = cluster.preferred_version(GATEWAY_API).await?;
    let mut lists: Vec<BoxFuture<'_, Result<Vec<Value>, Error>>> = vec![
        cluster.list("v1", "ConfigMap", None, Some(&everywhere)).boxed(),
        cluster.list("v1", "ConfigMap", Some(namespace), None).boxed(),
        cluster.list("v1", "Secret", Some(namespace), None).boxed(),
        cluster.list("coordination.k8s.io/v1", "Lease", Some(namespace), None).boxed(),
        cluster.list("certificates.k8s.io/v1beta1", "ClusterTrustBundle", None, None).boxed(),
    ];
    if let Some(version) = &gateway_api {
        lists.push(cluster.list(version, "GatewayClass", None, None).boxed());
    }
    let found = fleet::try_all(REQUESTS, lists).await?.into_iter().flatten();
    let left = found.filter(|object| leftover::is_leftover(object, namespace, since.as_deref()));
    let by_key: BTreeMap<Key, Value> = left.map(|object| (Key::of(&object), object)).collect();
    Ok(by_key.into_values().collect())
}

/// The custom resources of the definitions that are ours, by the definition's name.
async fn custom_resources(
    cluster: &Cluster,
    seen: &Observed,
    id: &str,
) -> Result<BTreeMap<String, Vec<Value>>, Error> {
    if !seen.ours.keys().any(|key| key.kind == DEFINITION) {
        return Ok(BTreeMap::new());
    }
    let selector = member_selector(id);
    let definitions = cluster.list(DEFINITIONS_API, DEFINITION, None, Some(&selector)).await?;
    let lists = definitions.iter().filter_map(|definition| {
        let name = definition["metadata"]["name"].as_str()?;
        let spec = &definition["spec"];
        let versions = spec["versions"].as_array()?;
        let served = versions.iter().find(|version| version["served"] == true)?;
        let api_version = format!("{}/{}", spec["group"].as_str()?, served["name"].as_str()?);
        let kind = spec.pointer("/names/kind")?.as_str()?;
        Some(async move {
            let objects = cluster.list_metadata(&api_version, kind, None, None).await?;
            Ok::<_, Error>((name.to_owned(), objects))
        })
    });
    Ok(fleet::try_all(REQUESTS, lists).await?.into_iter().collect())
}

/// The Gateways of the Gateway API, by the name of their class.
async fn gateways_by_class(cluster: &Cluster) -> Result<BTreeMap<String, Vec<Value>>, Error> {
    let mut by_class: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let Some(version) = cluster.preferred_version(GATEWAY_API).await? else {
        return Ok(by_class);
    };
    for gateway in cluster.list(&version, "Gateway", None, None).await? {
        if let Some(class) = gateway.pointer("/spec/gatewayClassName").and_then(Value::as_str) {
            by_class.entry(class.to_owned()).or_default().push(gateway);
        }
    }
    Ok(by_class)
}

/// The pods that our istiod may have injected: injection labels them.
async fn injected_pods(cluster: &Cluster, seen: &Observed, id: &str) -> Result<Vec<Value>, Error> {
    if !seen.istiods.iter().any(|istiod| is_ours(istiod, id)) {
        return Ok(Vec::new());
    }
    let selector = "service.istio.io/canonical-name";
    cluster.list_metadata("v1", "Pod", None, Some(selector)).await
}

/// Whose the objects of the apply set in a namespace are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// This mesh's, as far as anything says.
    Us,
    /// Another tool's, by the name that it gives itself, which may be empty.
    Tool(String),
    /// Another mesh's.
    Mesh(String),
}

/// Finds out whose the objects are, for the mesh of that ID.
pub(super) fn owner(seen: &Observed, mesh_id: &str) -> Owner {
    let mesh = match &seen.parent {
        Some(parent) => {
            let tooling = annotation(parent, TOOLING).unwrap_or_default();
            if !tooling.starts_with(OUR_TOOLING) {
                return Owner::Tool(tooling.to_owned());
            }
            seen.mesh_id().map(str::to_owned)
        }
        None => configured_mesh(seen),
    };
    mesh.filter(|mesh| mesh != mesh_id).map_or(Owner::Us, Owner::Mesh)
}

/// The mesh that the control plane is configured for.
fn configured_mesh(seen: &Observed) -> Option<String> {
    let mut maps = seen.ours.values().filter(|o| o["kind"] == "ConfigMap" && group(o).is_empty());
    maps.find_map(|map| {
        let mesh: Value = serde_saphyr::from_str(map.pointer("/data/mesh")?.as_str()?).ok()?;
        Some(mesh.pointer("/defaultConfig/meshId")?.as_str()?.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::KubernetesVersion;
    use crate::plan::object::mark;
    use serde_json::json;
    use tokio::time::Instant;

    fn seen(objects: Vec<Value>) -> Observed {
        let marked = objects.into_iter().map(|mut object| {
            mark(&mut object, "set");
            (Key::of(&object), object)
        });
        Observed {
            at: Instant::now(),
            uid: String::new(),
            kubernetes: KubernetesVersion { git_version: "v1.36.3".into(), major: 1, minor: 36 },
            ours: marked.collect(),
            parent: None,
            namespace: None,
            cacerts: None,
            istiods: Vec::new(),
            remote_secrets: Vec::new(),
            lease: None,
        }
    }

    #[test]
    fn the_mesh_is_known_without_the_record_of_it() {
        let config = json!({ "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "istio", "namespace": "istio-system" },
            "data": { "mesh": "defaultConfig:\n  meshId: m1\n" } });
        let applied = seen(vec![config]);
        assert_eq!(owner(&applied, "m1"), Owner::Us);
        assert_eq!(owner(&applied, "m2"), Owner::Mesh("m1".into()));
        assert_eq!(owner(&seen(Vec::new()), "m2"), Owner::Us);
    }

    #[test]
    fn the_parent_says_whose_an_apply_set_is() {
        let with = |tooling: &str, mesh: &str| {
            let parent = json!({ "metadata": { "annotations": { TOOLING: tooling } },
                "data": { "mesh_id": mesh } });
            owner(&Observed { parent: Some(parent), ..seen(Vec::new()) }, "m1")
        };
        assert_eq!(with("kubectl-multimesh/1.0.0", "m1"), Owner::Us);
        assert_eq!(with("kubectl-multimesh/1.0.0", "m2"), Owner::Mesh("m2".into()));
        assert_eq!(with("kubectl/1.30", "m1"), Owner::Tool("kubectl/1.30".into()));
        assert_eq!(with("", "m1"), Owner::Tool(String::new()));
    }

    #[test]
    fn a_control_plane_is_ours_while_anything_of_it_is_there() {
        let webhook = json!({ "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration", "metadata": { "name": "istio" } });
        assert!(is_managed(&seen(vec![webhook])));
        let gateway = json!({ "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "istio-eastwestgateway" } });
        let mut beside_an_existing_one = seen(vec![gateway]);
        assert!(!is_managed(&beside_an_existing_one));
        beside_an_existing_one.parent = Some(json!({ "metadata": { "annotations": {
            GROUP_KINDS: "Deployment.apps,MutatingWebhookConfiguration.admissionregistration.k8s.io" } } }));
        assert!(is_managed(&beside_an_existing_one));
    }
}
