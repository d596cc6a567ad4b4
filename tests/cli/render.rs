//! `render` without any cluster: what is in the folders, what stays of an earlier render, and what
//! is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use insta::assert_snapshot;

use super::kubeconfig::Kubeconfig;
use super::sandbox::Sandbox;
use super::{refused, three_contexts, topology};

const OUT: [&str; 3] = ["render", "--out", "clusters"];
const TWO_NETWORKS: &str = "mesh_id: shop
contexts:
  east: {network: 'on'}
  arn:aws:eks:eu-west-1:1:cluster/west: {network: network-west}
";

/// A user with a mesh of two networks, an istioctl that renders a little of everything, and no
/// kubeconfig.
fn user() -> Sandbox {
    with(Sandbox::new())
}

fn with(sandbox: Sandbox) -> Sandbox {
    sandbox.run(&["init", "--mesh-id", "shop"]).expect(0);
    topology(&sandbox, TWO_NETWORKS);
    let object = |api: &str, kind: &str, name: &str, more: &str| {
        format!(
            "echo '---'\necho '{{apiVersion: {api}, kind: {kind}, metadata: {{name: {name}, namespace: istio-system}}{more}}}'\n"
        )
    };
    let injected =
        ", spec: {template: {metadata: {annotations: {inject.istio.io/templates: gateway}}}}";
    let hook = ", webhooks: [{name: w, failurePolicy: Ignore}]";
    let admission = "admissionregistration.k8s.io/v1";
    let extensions = "apiextensions.k8s.io/v1";
    sandbox.istioctl_of(
        "1.31.1",
        &[
            object(extensions, "CustomResourceDefinition", "gateways.networking.istio.io", ""),
            object("v1", "ConfigMap", "istio", ", data: {mode: 0644, answer: \"yes\"}"),
            object("v1", "ServiceAccount", "istiod", ""),
            object("apps/v1", "Deployment", "istiod", ""),
            object(admission, "ValidatingWebhookConfiguration", "v", hook),
            object("apps/v1", "Deployment", "istio-eastwestgateway", injected),
            object("v1", "Service", "istio-eastwestgateway", ""),
        ]
        .concat(),
    );
    sandbox
}

/// The files below a folder.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    files
}

fn out(sandbox: &Sandbox) -> PathBuf {
    sandbox.path("home/clusters")
}

#[test]
fn a_folder_for_each_cluster_and_no_kubeconfig_is_needed() {
    let sandbox = user();
    assert_snapshot!(sandbox.run(&OUT).expect(0).told(), @r#"
exit 0
[seconds] east                                  rendered
[seconds] arn:aws:eks:eu-west-1:1:cluster/west  rendered
mesh shop: 2 clusters rendered to clusters: 22 files, 22 new or changed
  east: clusters/east
  arn:aws:eks:eu-west-1:1:cluster/west: clusters/west
next: apply each folder as its README.md says
"#);
    let east: Vec<String> = files(&out(&sandbox).join("east")).into_iter().collect();
    assert_eq!(
        east,
        [
            "README.md",
            "control-plane/config.yaml",
            "control-plane/crds.yaml",
            "control-plane/istiod.yaml",
            "control-plane/kustomization.yaml",
            "control-plane/namespace.yaml",
            "control-plane/rbac.yaml",
            "gateways/gateway.yaml",
            "gateways/kustomization.yaml",
            "gateways/routing.yaml",
            "kustomization.yaml",
        ]
    );
    assert_eq!(files(&out(&sandbox)).len(), 2 * east.len());
    let text = |name: &str| fs::read_to_string(out(&sandbox).join("east").join(name)).unwrap();
    // As a reader of YAML 1.1 such as kubectl has to get it.
    assert!(text("control-plane/namespace.yaml").contains("topology.istio.io/network: \"on\"\n"));
    assert!(text("control-plane/config.yaml").contains("answer: \"yes\"\n  mode: 420\n"));
    assert!(!text("control-plane/istiod.yaml").contains("failurePolicy"));
    assert!(text("gateways/gateway.yaml").contains("kind: Service\n"));
    assert_snapshot!(text("README.md"), @r#"
<!-- Rendered by kubectl multimesh for the mesh shop: made anew by every render -->
# Cluster east of the mesh shop

For the context `east`. To change something, change the mesh's topology or `base.yaml` and render again.

| folder | what is in it |
| --- | --- |
| `control-plane` | the namespace, accounts and rights, configuration, definitions, istiod |
| `gateways` | what istiod injects or validates, so that it has to run first |
| `secrets` | only with `--secrets`: the intermediate CA and the tokens of the other clusters; not for git in plain text |

The first time, rendered with `--secrets`, in this folder. The intermediate CA has to be there before istiod starts,
which signs with a root of its own otherwise:

```sh
kubectl --context east apply --server-side -f control-plane/namespace.yaml
kubectl --context east apply --server-side -k secrets
kubectl --context east apply --server-side -k control-plane
kubectl --context east -n istio-system rollout status deployment/istiod
kubectl --context east apply --server-side -k gateways
```

The links to the other clusters hold tokens that Kubernetes makes when the folders of those are applied. When they
are, run `kubectl multimesh render --secrets --out <folder>` as before, and then here:

```sh
kubectl --context east apply --server-side -k secrets
```

From then on, whatever was rendered anew, and `secrets` likewise:

```sh
kubectl --context east apply --server-side -k .
```

What feeds the cluster from git has to take the same order: the secrets with `control-plane`, then, when istiod runs,
the rest.
"#);
    let key = fs::read_to_string(sandbox.mesh("shop").join("certs/root-key.pem")).unwrap();
    let key: Vec<&str> = key.lines().filter(|l| l.len() > 20 && !l.starts_with("---")).collect();
    for (path, about) in sandbox.tree() {
        assert!(path.ends_with("root-key.pem") || !key.iter().any(|line| about.contains(line)));
    }
}

#[test]
fn the_second_render_writes_nothing() {
    let sandbox = user();
    sandbox.run(&OUT).expect(0);
    let before = rendered(&sandbox);
    let run = sandbox.run(&OUT).expect(0);
    assert!(run.stderr.contains("22 files, none changed"), "{}", run.stderr);
    assert!(rendered(&sandbox) == before, "something was written");
}

#[test]
fn what_nothing_wants_any_more_goes_and_what_somebody_made_stays() {
    let sandbox = user();
    sandbox.run(&OUT).expect(0);
    sandbox.write("home/clusters/west/theirs.yaml", "a: 1\n");
    sandbox.write("home/clusters/notes.txt", "notes");
    sandbox.write("home/clusters/other/kustomization.yaml", "resources: []\n");
    topology(&sandbox, "mesh_id: shop\ncontexts:\n  east: {network: network-east}\n");
    let run = sandbox.run(&OUT).expect(0);
    assert!(
        run.stderr.contains("west` is of a cluster that the topology does not list"),
        "{}",
        run.stderr
    );
    assert!(out(&sandbox).join("west/control-plane").exists());
    let run = sandbox.run(&[&OUT[..], &["--prune"]].concat()).expect(0);
    assert!(run.stderr.contains(" removed"), "{}", run.stderr);
    let left = files(&out(&sandbox));
    for name in ["west/theirs.yaml", "notes.txt", "other/kustomization.yaml"] {
        assert!(left.contains(name), "{name}: {left:?}");
    }
    assert_eq!(left.iter().filter(|name| !name.starts_with("east/")).count(), 3, "{left:?}");
    assert!(!out(&sandbox).join("west/control-plane").exists());
}

#[test]
fn only_the_selected_clusters_are_rendered() {
    let sandbox = user();
    sandbox.run(&[&OUT[..], &["--contexts", "east"]].concat()).expect(0);
    assert!(out(&sandbox).join("east").is_dir() && !out(&sandbox).join("west").exists());
    sandbox.run(&[&OUT[..], &["--contexts", "^east"]].concat()).expect(0);
    assert_eq!(files(&out(&sandbox)).len(), 22);
}

#[test]
fn files_of_somebody_else_are_in_the_way() {
    let sandbox = user();
    sandbox.write("home/clusters/east/kustomization.yaml", "resources: []\n");
    assert_snapshot!(refused_with_cache(&sandbox, &OUT), @r#"
exit 1
error: nothing was written, because files are in the way that no render of the mesh `shop` made:
  `clusters/east/kustomization.yaml`
hint: name another folder: `--out <folder>`
hint: or, if nobody needs them, move them away: `mv clusters/east/kustomization.yaml clusters/east/kustomization.yaml.old`
"#);

    let sandbox = user();
    sandbox.run(&OUT).expect(0);
    topology(&sandbox, &TWO_NETWORKS.replace("shop", "bank"));
    let told = refused_with_cache(&sandbox, &OUT);
    assert!(told.contains("that no render of the mesh `bank` made"), "{told}");
    assert!(told.contains("and 17 more"), "{told}");
}

/// Everything that was rendered or is in the way of it.
fn rendered(sandbox: &Sandbox) -> BTreeMap<PathBuf, String> {
    let mut tree = sandbox.tree();
    tree.retain(|path, _| path.starts_with(out(sandbox)));
    tree
}

/// As `refused`, but what istioctl gave is kept for the next run.
fn refused_with_cache(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let before = rendered(sandbox);
    let run = sandbox.run(arguments).expect(1);
    assert!(rendered(sandbox) == before, "something was written: {}", run.stderr);
    run.told()
}

#[test]
fn the_mesh_directory_is_no_place_for_it() {
    let sandbox = user();
    let mesh = sandbox.mesh("shop");
    std::os::unix::fs::symlink(&mesh, sandbox.path("home/link")).unwrap();
    let inside = mesh.join("clusters");
    let inside = ["render", "--out", inside.to_str().unwrap()];
    assert_snapshot!(refused(&sandbox, &inside).expect(64).told(), @r#"
exit 64
error: the files of a render do not go into the mesh directory `[dir]/home/.config/multimesh/shop`, which holds the keys of the mesh
hint: name a folder elsewhere: `--out <folder>`
"#);
    refused(&sandbox, &["render", "--out", "link/a/b"]).expect(64);
    refused(&sandbox, &["render", "--out", "link/../shop/x"]).expect(64);
    // The folder of a cluster would be the mesh directory.
    topology(&sandbox, "mesh_id: shop\ncontexts:\n  shop: {network: flat}\n");
    let around = mesh.parent().unwrap().to_str().unwrap();
    refused(&sandbox, &["render", "--out", around]).expect(64);
    refused(&sandbox, &["render"]).expect(64);
}

#[test]
fn a_folder_that_cannot_be_made() {
    let sandbox = user();
    sandbox.write("home/file", "text");
    let run = sandbox.run(&["render", "--out", "file/clusters"]).expect(1);
    let told: Vec<&str> = run.stderr.lines().rev().take(2).collect();
    assert_snapshot!(told.join("\n"), @r"
hint: name a folder that you may write to: `--out <folder>`
error: cannot write `file/clusters/east`: a part of the path is not a directory
");
}

#[test]
fn secrets_need_the_clusters() {
    let sandbox = with(Sandbox::with(&three_contexts()));
    topology(&sandbox, "mesh_id: shop\ncontexts:\n  context-east-1: {network: flat}\n");
    let run = sandbox.run(&[&OUT[..], &["--secrets"]].concat()).expect(1);
    assert!(run.stderr.contains("error: `context-east-1`: "), "{}", run.stderr);
    assert!(!out(&sandbox).exists());
    sandbox.run(&OUT).expect(0);

    let sandbox = with(Sandbox::with(&Kubeconfig::default()));
    let run = refused(&sandbox, &[&OUT[..], &["--secrets"]].concat()).expect(1);
    assert!(run.stderr.contains("`east`"), "{}", run.stderr);
}

#[test]
fn a_context_that_may_have_been_renamed_is_told() {
    let sandbox = user();
    let record = "{uid: u, cluster: store, network: n, namespace: istio-system, server: 's'}";
    let state = format!("format: 1\nmesh_id: shop\ncontexts: {{gone: {record}}}\n");
    fs::write(sandbox.mesh("shop").join("state.yaml"), state).unwrap();
    let run = sandbox.run(&OUT).expect(0);
    let note = run.stderr.lines().find(|line| line.starts_with("note:")).unwrap().to_owned();
    assert_snapshot!(note, @"note: `gone` has left the topology, and `east` or `arn:aws:eks:eu-west-1:1:cluster/west` is new: if that is the same cluster, keep its name by `cluster: store`");
}
