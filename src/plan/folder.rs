//! One cluster's objects as a folder of files: kustomize-ready, in the stages in which they are
//! applied.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use zeroize::Zeroizing;

use super::object::Key;
use super::order::Step;
use super::text::yaml;
use crate::istio::manifest::wants_injection;

/// The list of a folder's files, as kustomize wants it.
pub const KUSTOMIZATION: &str = "kustomization.yaml";
/// The folder of what istiod and the API server need.
pub const CONTROL_PLANE: &str = "control-plane";
/// The folder of what istiod injects or validates, so that it has to run first.
pub const GATEWAYS: &str = "gateways";
/// The folder of certificates, keys and tokens.
pub const SECRETS: &str = "secrets";
/// How to apply the folder.
pub const README: &str = "README.md";
/// What keeps the secrets out of git.
pub const GITIGNORE: &str = ".gitignore";

/// The files of a stage in the order in which they are applied.
const FILES: [(&str, &[&str]); 2] = [
    (CONTROL_PLANE, &["namespace.yaml", "rbac.yaml", "config.yaml", "crds.yaml", "istiod.yaml"]),
    (GATEWAYS, &["gateway.yaml", "routing.yaml"]),
];

/// Whose folder it is.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// The mesh ID.
    pub mesh_id: &'a str,
    /// The Istio cluster name.
    pub cluster: &'a str,
    /// The kubeconfig context, as a shell takes it.
    pub context: &'a str,
    /// The namespace of the control plane.
    pub namespace: &'a str,
}

/// The first line of every file of a mesh, but for what makes it a comment. A file that does not
/// begin with it is somebody else's.
pub fn mark(mesh_id: &str) -> String {
    format!("Rendered by kubectl multimesh for the mesh {mesh_id}: made anew by every render")
}

/// Whether a file begins with the mark of a mesh.
pub fn is_marked(text: &str, mesh_id: &str) -> bool {
    let line = text.lines().next().unwrap_or_default();
    let line = line.trim_start_matches(['#', ' ', '<', '!', '-']);
    line.strip_prefix(&mark(mesh_id)).is_some_and(|rest| matches!(rest, "" | " -->"))
}

/// The files of a cluster without its secrets, by their path in the cluster's folder.
pub fn files(owner: &Owner<'_>, objects: &[Arc<Value>]) -> BTreeMap<String, String> {
    let gateways: Vec<Key> =
        objects.iter().filter(|o| wants_injection(o)).map(|o| Key::of(o)).collect();
    let mut by_file: BTreeMap<(&str, &str), Vec<Value>> = BTreeMap::new();
    for object in objects {
        let mut object = Value::clone(object);
        leave_to_istiod(&mut object);
        by_file.entry(place(&object, &gateways)).or_default().push(object);
    }
    let mut files = BTreeMap::new();
    let mut stages = Vec::new();
    for (stage, names) in FILES {
        let there = names.iter().filter(|name| by_file.contains_key(&(stage, **name)));
        let there: Vec<&str> = there.copied().collect();
        if there.is_empty() {
            continue;
        }
        for name in &there {
            let objects = by_file.remove(&(stage, *name)).unwrap_or_default();
            files.insert(format!("{stage}/{name}"), text(owner, objects));
        }
        files.insert(format!("{stage}/{KUSTOMIZATION}"), kustomization(owner.mesh_id, &there));
        stages.push(stage);
    }
    files.insert(KUSTOMIZATION.to_owned(), kustomization(owner.mesh_id, &stages));
    files.insert(README.to_owned(), readme(owner, &stages, objects));
    files
}

/// The file of one secret, below the folder of the secrets.
pub fn secret(owner: &Owner<'_>, object: &Value) -> Zeroizing<String> {
    Zeroizing::new(text(owner, vec![object.clone()]))
}

/// What names the files of a folder for kustomize.
pub fn kustomization(mesh_id: &str, resources: &[&str]) -> String {
    let list: String = resources.iter().map(|name| format!("- {name}\n")).collect();
    // In any other order accounts could come after what needs them.
    format!(
        "# {}\napiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n\
         resources:\n{list}sortOptions:\n  order: fifo\n",
        mark(mesh_id)
    )
}

/// What keeps the folder of the secrets out of git.
pub fn gitignore(mesh_id: &str) -> String {
    format!(
        "# {}\n# Private keys and tokens in plain text: seal or encrypt them before they go to git.\n*\n",
        mark(mesh_id)
    )
}

/// The stage and the file of an object.
fn place(object: &Value, gateways: &[Key]) -> (&'static str, &'static str) {
    let step = Step::of(object);
    let key = Key::of(object);
    // The parts of a gateway are named after its Deployment.
    let of_gateway = gateways.iter().any(|gateway| {
        gateway.namespace == key.namespace
            && key
                .name
                .strip_prefix(&gateway.name)
                .is_some_and(|r| r.is_empty() || r.starts_with('-'))
    });
    match step {
        Step::Ground => (CONTROL_PLANE, "namespace.yaml"),
        Step::Definitions => (CONTROL_PLANE, "crds.yaml"),
        Step::Routing => (GATEWAYS, "routing.yaml"),
        Step::Gateways => (GATEWAYS, "gateway.yaml"),
        Step::ControlPlane | Step::Foundation if of_gateway => (GATEWAYS, "gateway.yaml"),
        Step::ControlPlane => (CONTROL_PLANE, "istiod.yaml"),
        // The apply set's parent belongs to the namespace.
        Step::Foundation if key.kind == "ConfigMap" && key.name == super::object::PARENT => {
            (CONTROL_PLANE, "namespace.yaml")
        }
        Step::Foundation if rank(&key.kind) < OTHERS => (CONTROL_PLANE, "rbac.yaml"),
        // After its account, which is in the same file.
        Step::Tokens => (CONTROL_PLANE, "rbac.yaml"),
        Step::Foundation => (CONTROL_PLANE, "config.yaml"),
    }
}

/// The rank of kinds that are neither accounts nor rights.
const OTHERS: usize = 6;

/// Where a kind stands in its file: a token's Secret is deleted by Kubernetes where its account is
/// not there yet.
fn rank(kind: &str) -> usize {
    const RIGHTS: [&str; OTHERS] =
        ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "Secret"];
    RIGHTS.iter().position(|one| *one == kind).unwrap_or(OTHERS)
}

/// Leaves out a failure policy that istiod replaces once it runs: applied a second time it would
/// be a conflict, or undone (istio: `pkg/webhooks/validation/controller`). Where the user gives
/// the CA of a webhook, istiod keeps away from it.
fn leave_to_istiod(object: &mut Value) {
    if object["kind"] != "ValidatingWebhookConfiguration" {
        return;
    }
    let webhooks = object.get_mut("webhooks").and_then(Value::as_array_mut);
    for webhook in webhooks.into_iter().flatten() {
        let given = webhook.pointer("/clientConfig/caBundle").and_then(Value::as_str);
        if given.is_none_or(str::is_empty)
            && let Some(fields) = webhook.as_object_mut()
        {
            fields.remove("failurePolicy");
        }
    }
}

/// A file of objects.
fn text(owner: &Owner<'_>, mut objects: Vec<Value>) -> String {
    objects.sort_by_cached_key(|object| {
        let key = Key::of(object);
        (Step::of(object), rank(&key.kind), key)
    });
    let header = format!("# {}\n# Cluster {}\n", mark(owner.mesh_id), owner.cluster);
    let documents: Vec<String> = objects.iter().map(yaml).collect();
    header + &documents.join("---\n")
}

/// How to apply the folder by hand.
fn readme(owner: &Owner<'_>, stages: &[&str], objects: &[Arc<Value>]) -> String {
    let Owner { mesh_id, cluster, context, namespace } = owner;
    let kubectl = format!("kubectl --context {context}");
    let apply = format!("{kubectl} apply --server-side");
    let mut first = vec![
        format!("{apply} -f {CONTROL_PLANE}/namespace.yaml"),
        format!("{apply} -k {SECRETS}"),
        format!("{apply} -k {CONTROL_PLANE}"),
    ];
    let istiods = objects.iter().filter(|o| o["kind"] == "Deployment" && !wants_injection(o));
    first.extend(istiods.filter_map(|istiod| {
        let name = istiod["metadata"]["name"].as_str()?;
        Some(format!("{kubectl} -n {namespace} rollout status deployment/{name}"))
    }));
    let gateways = stages.contains(&GATEWAYS);
    first.extend(gateways.then(|| format!("{apply} -k {GATEWAYS}")));
    let row = if gateways {
        format!(
            "| `{GATEWAYS}` | what istiod injects or validates, so that it has to run first |\n"
        )
    } else {
        String::new()
    };
    format!(
        "<!-- {mark} -->
# Cluster {cluster} of the mesh {mesh_id}

For the context `{context}`. To change something, change the mesh's topology or `base.yaml` and render again.

| folder | what is in it |
| --- | --- |
| `{CONTROL_PLANE}` | the namespace, accounts and rights, configuration, definitions, istiod |
{row}| `{SECRETS}` | only with `--secrets`: the intermediate CA and the tokens of the other clusters; not for git in plain text |

The first time, rendered with `--secrets`, in this folder. The intermediate CA has to be there before istiod starts,
which signs with a root of its own otherwise:

```sh
{first}
```

The links to the other clusters hold tokens that Kubernetes makes when the folders of those are applied. When they
are, run `kubectl multimesh render --secrets --out <folder>` as before, and then here:

```sh
{apply} -k {SECRETS}
```

From then on, whatever was rendered anew, and `secrets` likewise:

```sh
{apply} -k .
```

What feeds the cluster from git has to take the same order: the secrets with `{CONTROL_PLANE}`, then, when istiod runs,
the rest.
",
        mark = mark(mesh_id),
        first = first.join("\n"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const OWNER: Owner<'_> =
        Owner { mesh_id: "m1", cluster: "east-1", context: "east", namespace: "istio-system" };

    fn object(api_version: &str, kind: &str, name: &str) -> Value {
        json!({ "apiVersion": api_version, "kind": kind,
            "metadata": { "name": name, "namespace": "istio-system" } })
    }

    fn gateway() -> Value {
        let mut gateway = object("apps/v1", "Deployment", "gw");
        gateway["spec"] = json!({ "template": { "metadata": { "annotations": {
            "inject.istio.io/templates": "gateway" } } } });
        gateway
    }

    #[test]
    fn every_object_is_in_the_stage_that_can_take_it() {
        let objects = [
            object("v1", "Secret", "reader-token"),
            object("v1", "ServiceAccount", "reader"),
            object("v1", "ConfigMap", "kubectl-multimesh"),
            object("v1", "Namespace", "istio-system"),
            object("v1", "Service", "gw"),
            object("v1", "ServiceAccount", "gw-service-account"),
            object("v1", "Service", "gwen"),
            gateway(),
            object("networking.istio.io/v1", "Gateway", "cross-network-gateway"),
            object("apps/v1", "Deployment", "istiod"),
            object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "gateways"),
        ];
        let files = files(&OWNER, &objects.map(Arc::new));
        let place = |kind: &str, name: &str| {
            let at = |text: &str| text.find(&format!("kind: {kind}\nmetadata:\n  name: {name}\n"));
            let found: Vec<&str> =
                files.iter().filter_map(|(path, text)| at(text).map(|_| path.as_str())).collect();
            assert_eq!(found.len(), 1, "{kind} {name}: {found:?}");
            (found[0].to_owned(), at(&files[found[0]]).unwrap())
        };
        for (kind, name, path) in [
            ("Namespace", "istio-system", "control-plane/namespace.yaml"),
            ("ConfigMap", "kubectl-multimesh", "control-plane/namespace.yaml"),
            ("ServiceAccount", "reader", "control-plane/rbac.yaml"),
            ("Secret", "reader-token", "control-plane/rbac.yaml"),
            ("Service", "gwen", "control-plane/config.yaml"),
            ("CustomResourceDefinition", "gateways", "control-plane/crds.yaml"),
            ("Deployment", "istiod", "control-plane/istiod.yaml"),
            ("Deployment", "gw", "gateways/gateway.yaml"),
            ("Service", "gw", "gateways/gateway.yaml"),
            ("ServiceAccount", "gw-service-account", "gateways/gateway.yaml"),
            ("Gateway", "cross-network-gateway", "gateways/routing.yaml"),
        ] {
            assert_eq!(place(kind, name).0, path, "{kind} {name}");
        }
        let account = place("ServiceAccount", "reader").1;
        assert!(account < place("Secret", "reader-token").1, "its token would be deleted");
        assert!(files.values().all(|text| is_marked(text, "m1") && !is_marked(text, "m")));
        assert!(files["kustomization.yaml"].contains("- control-plane\n- gateways\n"));
        let readme = &files["README.md"];
        let at = |text: &str| readme.find(text).unwrap_or_else(|| panic!("{text}: {readme}"));
        assert!(at("-k secrets") < at("-k control-plane"));
        assert!(at("rollout status deployment/istiod") < at("-k gateways"));
    }

    #[test]
    fn a_policy_that_istiod_changes_is_left_to_it() {
        let hook = |bundle: &str| {
            json!({ "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration", "metadata": { "name": "v" },
            "webhooks": [{ "name": "w", "failurePolicy": "Ignore",
                "clientConfig": { "caBundle": bundle } }] })
        };
        let istiod =
            |object| files(&OWNER, &[Arc::new(object)])["control-plane/istiod.yaml"].clone();
        assert!(!istiod(hook("")).contains("failurePolicy"));
        assert!(istiod(hook("Q0E=")).contains("failurePolicy: Ignore"));
    }

    #[test]
    fn only_a_whole_mark_of_the_same_mesh_counts() {
        let mark = mark("m1");
        for text in [format!("# {mark}\nx"), format!("<!-- {mark} -->\n"), format!("# {mark}")] {
            assert!(is_marked(&text, "m1"), "{text}");
        }
        for text in [String::new(), format!("x\n# {mark}"), format!("# {mark} or not")] {
            assert!(!is_marked(&text, "m1"), "{text}");
        }
    }
}
