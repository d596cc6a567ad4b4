//! `version`: the tool, istioctl, and what clusters run; against API servers that say what no real
//! one does.

use hyper::Method;
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::apiserver::{ApiServer, Fault, status};
use super::kubeconfig::Kubeconfig;
use super::sandbox::{BINARY, Run, Sandbox};
use super::{refused, shop, topology};

const DEPLOYMENTS: &str = "/apis/apps/v1/deployments";

/// As an API server says it.
const NO_RIGHTS: &str = "deployments.apps is forbidden: User \"me\" cannot list resource \"deployments\" in \
                         API group \"apps\" at the cluster scope";

/// The version of these sources.
const OURS: &str = env!("CARGO_PKG_VERSION");

/// What was told, without the place of the binary.
fn told(run: &Run) -> String {
    let told = run.told().replace(BINARY, "[binary]");
    told.replace(&format!("kubectl-multimesh  {OURS:7}"), "kubectl-multimesh  [ours] ")
}

/// An API server of that version; `{}` for what no test looks at.
async fn cluster(version: &'static str, istiods: &[(&str, &str)]) -> ApiServer {
    let server = ApiServer::start().await;
    server.inject(Method::GET, "/version", usize::MAX, Fault::Body(version));
    let items: Vec<Value> = istiods
        .iter()
        .map(|(namespace, image)| {
            json!({
                "metadata": { "name": "istiod", "namespace": namespace },
                "spec": { "template": { "spec": { "containers": [
                    { "name": "discovery", "image": image },
                ] } } },
            })
        })
        .collect();
    server.put(
        DEPLOYMENTS,
        json!({ "kind": "DeploymentList", "apiVersion": "apps/v1",
        "metadata": {}, "items": items }),
    );
    let uid = json!({ "metadata": { "name": "kube-system", "uid": server.address().to_string() } });
    server.put("/api/v1/namespaces/kube-system", uid);
    server
}

const V1_30: &str = r#"{"major": "1", "minor": "30", "gitVersion": "v1.30.4-eks-1"}"#;
const V1_36: &str = r#"{"major": "1", "minor": "36", "gitVersion": "v1.36.3"}"#;
const V1_37: &str = r#"{"major": "1", "minor": "37+", "gitVersion": "v1.37.0"}"#;

#[test]
fn the_plain_form_asks_nobody_and_is_always_an_answer() {
    let sandbox = Sandbox::new();
    let before = sandbox.tree();
    assert_snapshot!(told(&sandbox.run(&["version"]).expect(0)), @r#"
    exit 0
    --- stdout
    PROGRAM            VERSION  STATE    PATH
    kubectl-multimesh  [ours]   ok       [binary]
    istioctl           -        missing  -

    notes:
      there is no `istioctl` on PATH, and it renders what the clusters get
        hint: install the istioctl of the Istio version that you want (https://istio.io/latest/docs/setup/getting-started/#download)
        hint: or name it: `--istioctl <path>`
    "#);
    sandbox.istioctl_of("1.28.3", "exit 1");
    assert_snapshot!(told(&sandbox.run(&["version"]).expect(0)), @r#"
    exit 0
    --- stdout
    PROGRAM            VERSION  STATE    PATH
    kubectl-multimesh  [ours]   ok       [binary]
    istioctl           1.28.3   too old  [dir]/bin/istioctl

    notes:
      istioctl 1.28.3 ([dir]/bin/istioctl) is too old: Istio 1.29 is the oldest that works
        hint: install a newer istioctl, or name another: `--istioctl <path>`
    "#);
    sandbox.istioctl("echo hello\n");
    let run = sandbox.run(&["version"]).expect(0);
    assert!(run.stdout.contains("istioctl           -        not usable"), "{}", run.stdout);
    assert!(run.stdout.contains("does not tell its version"), "{}", run.stdout);
    sandbox.good_istioctl();
    assert_snapshot!(told(&sandbox.run(&["version"]).expect(0)), @r#"
    exit 0
    --- stdout
    PROGRAM            VERSION  STATE  PATH
    kubectl-multimesh  [ours]   ok     [binary]
    istioctl           1.31.1   ok     [dir]/bin/istioctl
    "#);
    let mut after = sandbox.tree();
    after.retain(|path, _| before.contains_key(path) && !path.ends_with("bin"));
    assert!(after.iter().all(|(path, about)| before[path] == *about), "something was written");

    let json: Value =
        serde_json::from_str(&sandbox.run(&["version", "-o", "json"]).expect(0).stdout).unwrap();
    assert_eq!((&json["apiVersion"], &json["kind"]), (&"multimesh/v1".into(), &"Versions".into()));
    assert_eq!(json["tool"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(json["istioctl"]["state"], "ok");
    assert_eq!(json["istioctl"]["version"], "1.31.1");
    assert_eq!(json["clusters"], json!([]));
    // The flag says what it always said.
    let flag = sandbox.run(&["--version"]).expect(0);
    assert_eq!(flag.stdout, format!("kubectl multimesh {}\n", env!("CARGO_PKG_VERSION")));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_cluster_has_a_word_and_one_that_is_silent_hides_no_other() {
    let good = cluster(V1_36, &[("istio-system", "r.io/pilot:1.31.0-distroless")]).await;
    let old = cluster(V1_30, &[("istio-system", "r.io/pilot:1.31.0")]).await;
    let new = cluster(V1_37, &[("istio-system", "r.io/pilot:1.31.0")]).await;
    let past = cluster(V1_36, &[("istio-system", "r.io/pilot:1.28.3")]).await;
    let skewed = cluster(V1_36, &[("mesh", "r.io/pilot:1.29.2")]).await;
    let bare = cluster(V1_30, &[]).await;
    let opaque = cluster(V1_36, &[("istio-system", "r.io/pilot@sha256:ab")]).await;
    let shut = cluster(V1_36, &[]).await;
    shut.inject(Method::GET, "/apis/apps/", usize::MAX, status(403, "Forbidden", NO_RIGHTS));
    let clusters = [
        ("east-good", &good),
        ("east-k8s-old", &old),
        ("east-k8s-new", &new),
        ("east-istio-old", &past),
        ("east-istioctl-far", &skewed),
        ("east-bare", &bare),
        ("east-opaque", &opaque),
        ("east-shut", &shut),
    ];
    let kubeconfig = clusters
        .iter()
        .fold(Kubeconfig::default(), |all, (context, server)| all.context(context, &server.url()))
        .unreachable("east-silent", "https://10.1.0.1:6443")
        .unreachable("west", "https://10.1.0.2:6443");
    let sandbox = Sandbox::with(&kubeconfig);
    sandbox.good_istioctl();
    let before = sandbox.tree();
    // Without a mesh those of the kubeconfig are meant.
    let run = sandbox.run(&["version", "--contexts", "/east/"]).expect(3);
    assert_eq!(sandbox.tree(), before, "something was written");
    assert_snapshot!(told(&run));

    let run = sandbox.run(&["version", "--contexts", "/east/", "-o", "json"]).expect(3);
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    let word = |context: &str, key: &str| {
        let mut clusters = json["clusters"].as_array().unwrap().iter();
        clusters.find(|it| it["context"] == context).unwrap()[key].clone()
    };
    for (context, state) in [
        ("east-good", "supported"),
        ("east-k8s-old", "tooOld"),
        ("east-k8s-new", "newerThanTested"),
        ("east-istio-old", "tooOld"),
        ("east-istioctl-far", "newerThanTested"),
        ("east-bare", "noIstio"),
        ("east-opaque", "unknown"),
        ("east-shut", "unknown"),
        ("east-silent", "unreachable"),
    ] {
        assert_eq!(word(context, "state"), state, "{context}");
    }
    assert_eq!(word("east-istioctl-far", "istioctlAhead"), 2);
    assert_eq!(word("east-good", "istioctlAhead"), 0);
    assert_eq!(word("east-bare", "istioctlAhead"), Value::Null);
    assert_eq!(json["meshId"], Value::Null);
    for (_, server) in &clusters {
        assert!(server.received().iter().all(|it| it.method == Method::GET), "it wrote");
    }
    let good = ["version", "--contexts", "east-good,east-bare", "-o", "yaml"];
    let yaml: Value = serde_yaml::from_str(&sandbox.run(&good).expect(0).stdout).unwrap();
    assert_eq!(yaml["clusters"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contexts_are_those_of_the_mesh_where_it_has_some() {
    let (east, west) = (cluster(V1_36, &[]).await, cluster(V1_36, &[]).await);
    let kubeconfig =
        Kubeconfig::default().context("east", &east.url()).context("west", &west.url());
    let sandbox = shop(&kubeconfig, "  east: {network: network-east}\n");
    let contexts = |sandbox: &Sandbox, arguments: &[&str]| {
        let run = sandbox.run(&[&["version", "-o", "json"], arguments].concat()).expect(0);
        let json: Value = serde_json::from_str(&run.stdout).unwrap();
        let contexts = json["clusters"].as_array().unwrap().iter();
        let contexts = contexts.map(|it| it["context"].as_str().unwrap().to_owned());
        (json["meshId"].clone(), contexts.collect::<Vec<_>>())
    };
    assert_eq!(contexts(&sandbox, &["--contexts", "/./"]), ("shop".into(), vec!["east".into()]));
    assert_eq!(west.received().len(), 0, "it is not of the mesh");
    assert_snapshot!(refused(&sandbox, &["version", "--contexts", "west"]).expect(64).told(), @r#"
    exit 64
    error: `west` matches no context
    hint: the contexts are `east`
    "#);

    // As `init` leaves it.
    topology(&sandbox, "mesh_id: shop\ncontexts:\n");
    let both = vec!["east".to_owned(), "west".to_owned()];
    assert_eq!(contexts(&sandbox, &["--contexts", "/./"]), (Value::Null, both));
    assert_snapshot!(refused(&sandbox, &["version", "--contexts", "north"]).expect(64).told(), @r#"
    exit 64
    error: `north` matches no context, and there is no mesh, so those of the kubeconfig are meant
    hint: list them: `kubectl config get-contexts -o name`
    "#);
    let run = refused(&sandbox, &["version", "--contexts", "easst"]).expect(64);
    assert!(run.stderr.contains("did you mean `east`?"), "{}", run.stderr);
    // A mesh that was named is the one that is meant.
    let run = refused(&sandbox, &["version", "--contexts", "east", "--mesh", "other"]).expect(64);
    assert!(run.stderr.contains("there is no mesh `other`"), "{}", run.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_not_look_everywhere_is_told_of_the_meshs_namespace() {
    let server = cluster(V1_36, &[]).await;
    server.inject(Method::GET, DEPLOYMENTS, usize::MAX, status(403, "Forbidden", NO_RIGHTS));
    let istiod = json!({
        "metadata": { "name": "istiod", "namespace": "mesh" },
        "spec": { "template": { "spec": { "containers": [
            { "name": "discovery", "image": "r.io/pilot:1.30.2" },
        ] } } },
    });
    server.put("/apis/apps/v1/namespaces/mesh/deployments/istiod", istiod);
    let kubeconfig = Kubeconfig::default().context("east", &server.url());
    let sandbox = shop(&kubeconfig, "  east: {network: network-east, namespace: mesh}\n");
    let run = sandbox.run(&["version", "--contexts", "east"]).expect(0);
    assert!(run.stdout.contains("east     v1.36.3     1.30.2  supported"), "{}", run.stdout);
}
