mod document;
mod secrets;

use std::collections::BTreeMap;

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::*;
use crate::plan::object::{Key, mark};
use crate::plan::outline::{CertificateChange, Leaving, Verb};
use crate::plan::removal::{Ground, Reason, Removal, Stage, Stay, Target};

fn cluster(name: &str, standing: Standing) -> ClusterOutline {
    ClusterOutline {
        context: format!("context-{name}"),
        cluster: name.into(),
        network: format!("network-{name}"),
        namespace: "istio-system".into(),
        server: format!("https://{name}.example.com:6443"),
        standing,
    }
}

fn member(
    name: &str,
    certificate: Option<CertificateChange>,
    objects: Vec<ObjectChange>,
) -> ClusterOutline {
    cluster(name, Standing::Member(Changes { certificate, objects, unchanged: 40 }))
}

fn outline(clusters: Vec<ClusterOutline>) -> Outline {
    Outline { mesh_id: "shop".into(), istio: "1.31.0".into(), new_root: None, clusters }
}

fn live(api: &str, kind: &str, name: &str, value: &str) -> Value {
    let mut object = json!({ "apiVersion": api, "kind": kind,
        "metadata": { "name": name, "uid": "u" }, "data": { "key": value } });
    if !kind.starts_with("Cluster") && kind != "Namespace" && kind != "CustomResourceDefinition" {
        object["metadata"]["namespace"] = json!("istio-system");
    }
    mark(&mut object, "set");
    object
}

fn change(verb: Verb, api: &str, kind: &str, name: &str) -> ObjectChange {
    let object = live(api, kind, name, "old");
    ObjectChange {
        verb,
        key: Key::of(&object),
        api_version: api.into(),
        link: None,
        before: (verb != Verb::Create).then(|| object.clone()),
        after: (verb != Verb::Prune).then(|| std::sync::Arc::new(live(api, kind, name, "new"))),
        refusal: None,
    }
}

fn link(verb: Verb, to: &str) -> ObjectChange {
    let mut change = change(verb, "v1", "Secret", &format!("istio-remote-secret-{to}"));
    change.link = Some(to.into());
    change
}

/// What a cluster that joins gets.
fn everything() -> Vec<ObjectChange> {
    let mut objects = vec![
        change(Verb::Create, "v1", "Namespace", "istio-system"),
        change(Verb::Create, "v1", "ConfigMap", "kubectl-multimesh"),
        change(Verb::Create, "v1", "Secret", "cacerts"),
    ];
    for kind in ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"]
    {
        objects.extend((0..4).map(|n| change(Verb::Create, "v1", kind, &n.to_string())));
    }
    for kind in ["Deployment", "HorizontalPodAutoscaler", "Service", "NetworkPolicy"] {
        objects.extend((0..2).map(|n| change(Verb::Create, "apps/v1", kind, &n.to_string())));
    }
    objects
}

fn removal() -> Removal {
    let target =
        |stage, api: &str, kind: &str, name: &str| Target::new(stage, &live(api, kind, name, ""));
    let mut targets: Vec<Target> = vec![
        target(
            Stage::Webhooks,
            "admissionregistration.k8s.io/v1",
            "MutatingWebhookConfiguration",
            "w",
        ),
        target(Stage::Workloads, "apps/v1", "Deployment", "istiod"),
        target(Stage::Workloads, "apps/v1", "Deployment", "istio-eastwestgateway"),
    ];
    for kind in ["ConfigMap", "ServiceAccount", "Service", "Secret", "HorizontalPodAutoscaler"] {
        targets.extend((0..3).map(|n| target(Stage::Foundation, "v1", kind, &n.to_string())));
    }
    Removal {
        targets,
        ground: Ground::Delete,
        parent: true,
        stays: vec![Stay {
            key: Key::of(&live(
                "v1",
                "CustomResourceDefinition",
                "gateways.networking.istio.io",
                "",
            )),
            reason: Reason::InUse(vec![Key::of(&live("v1", "Gateway", "theirs", ""))]),
        }],
        orphans: BTreeMap::from([("demo".into(), 2)]),
    }
}

/// A mesh in which everything happens that can happen.
fn eventful() -> Outline {
    let mut north = everything();
    north.extend([link(Verb::Create, "east"), link(Verb::Create, "west")]);
    let mut refused = change(Verb::Update, "apps/v1", "Deployment", "istiod");
    refused.refusal = Some("admission webhook \"policy.example.com\" denied the request: replicas must be at least 2 in production".into());
    let mut outline = outline(vec![
        member("north", Some(CertificateChange::Issue), north),
        member("east", Some(CertificateChange::Renew), vec![
            change(Verb::Adopt, "v1", "ServiceAccount", "istio-reader-service-account"),
            change(Verb::Update, "v1", "ConfigMap", "istio"),
            refused,
            change(Verb::Prune, "v1", "ConfigMap", "istio-canary"),
            link(Verb::Create, "north"),
            link(Verb::Update, "west"),
            link(Verb::Prune, "old"),
        ]),
        member("west", None, Vec::new()),
        cluster("south", Standing::Unknown {
            reason: "`context-south`: the API server at https://south.example.com:6443 refused the connection".into(),
            hints: vec!["check that it is running: `kubectl --context context-south version`".into()],
        }),
        cluster("old", Standing::Leaver(Leaving {
            links: vec!["east".into(), "west".into()],
            revokes: true,
            removal: Some(removal()),
        })),
        cluster("kept", Standing::Leaver(Leaving {
            links: vec!["east".into()],
            revokes: true,
            removal: None,
        })),
    ]);
    outline.new_root = Some("O=shop, CN=Root CA".into());
    outline
}

/// Twenty clusters, all of which get everything.
fn fleet() -> Outline {
    let names: Vec<String> = (1..=20).map(|n| format!("c{n}")).collect();
    let clusters = names.iter().map(|name| {
        let mut objects = everything();
        let peers = names.iter().filter(|peer| *peer != name);
        objects.extend(peers.map(|peer| link(Verb::Create, peer)));
        member(name, Some(CertificateChange::Issue), objects)
    });
    outline(clusters.collect())
}

/// What a terminal without colours shows, which has 80 columns.
fn plain(text: &str) -> String {
    let text = anstream::adapter::strip_str(text).to_string();
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
        assert!(!line.ends_with(' '), "{line:?}");
    }
    text
}

#[test]
fn the_screen_tells_all_that_happens() {
    assert_snapshot!(plain(&table(&eventful())), @r#"
    mesh shop: plan for 6 clusters, Istio 1.31.0
      + make the root CA O=shop, CN=Root CA

    context-north  cluster north, network network-north,
        https://north.example.com:6443
      + issue an intermediate CA
      + create 27: 1 Namespace, 1 ConfigMap, 1 Secret, 4 ServiceAccounts,
          4 ClusterRoles, 4 ClusterRoleBindings, 4 CustomResourceDefinitions,
          2 Deployments, 2 HorizontalPodAutoscalers, 2 Services, 2 NetworkPolicies
      + add 2 links to east, west

    context-east  cluster east, network network-east, https://east.example.com:6443
      ~ renew its intermediate CA
      ~ update 2: ConfigMap istio-system/istio, Deployment istio-system/istiod
      ! adopt 1: ServiceAccount istio-system/istio-reader-service-account
      - prune 1: ConfigMap istio-system/istio-canary
      + add 1 link to north
      ~ update 1 link to west
      - drop 1 link to old
      ! refused: Deployment istio-system/istiod: admission webhook
          "policy.example.com" denied the request: replicas must be at least 2 in
          production

    context-south  cluster south, network network-south,
        https://south.example.com:6443
      ? cannot be planned: `context-south`: the API server at
          https://south.example.com:6443 refused the connection
        hint: check that it is running: `kubectl --context context-south version`

    context-old  cluster old, network network-old, https://old.example.com:6443
      - leaves the mesh
      - drop 2 links to east, west
      - revoke its credentials: the token that its peers hold stops working
      deletes 20 objects
        Namespace istio-system
        Deployment istio-system/istiod,
        Deployment istio-system/istio-eastwestgateway
        1 MutatingWebhookConfiguration, 3 ConfigMaps, 3 ServiceAccounts, 3 Services,
        3 Secrets, 3 HorizontalPodAutoscalers
      stays
        CustomResourceDefinition gateways.networking.istio.io: needed by 1 object of
          yours: Gateway istio-system/theirs
      2 pods with a sidecar: no control plane any more, until they are re-created
        without one
        demo (2)

    context-kept  cluster kept, network network-kept, https://kept.example.com:6443
      - leaves the mesh
      - drop 1 link to east
      - revoke its credentials: the token that its peers hold stops working
      its control plane is kept

    = no changes in 1 cluster: context-west

    plan: 2 clusters to change, 2 to leave, 27 objects to create, 2 to update, 1 to
      adopt, 1 to prune, 20 to delete; 1 root CA to make; 1 intermediate CA to
      issue, 1 to renew; 3 links to add, 1 to update, 4 to drop; 1 object would be
      refused; 1 cluster cannot be planned
    "#);
}

#[test]
fn a_fleet_fits_the_screen() {
    assert_snapshot!(plain(&table(&fleet())), @r#"
    mesh shop: plan for 20 clusters, Istio 1.31.0

    20 clusters: context-c1, context-c2, context-c3, context-c4, context-c5,
        context-c6, context-c7, context-c8 and 12 more (on 20 networks)
      + issue an intermediate CA
      + create 27: 1 Namespace, 1 ConfigMap, 1 Secret, 4 ServiceAccounts,
          4 ClusterRoles, 4 ClusterRoleBindings, 4 CustomResourceDefinitions,
          2 Deployments, 2 HorizontalPodAutoscalers, 2 Services, 2 NetworkPolicies
      + add 19 links to every other cluster

    plan: 20 clusters to change, 540 objects to create; 20 intermediate CAs to
      issue; 380 links to add
    "#);
}

#[test]
fn diffs_follow_the_clusters() {
    let mut outline = eventful();
    outline.clusters.remove(0);
    assert_snapshot!(plain(&diff(&outline)), @r#"
    mesh shop: plan for 5 clusters, Istio 1.31.0
      + make the root CA O=shop, CN=Root CA

    context-east  cluster east, network network-east, https://east.example.com:6443
      ~ renew its intermediate CA

    ! adopt ServiceAccount istio-system/istio-reader-service-account (v1)
    @@ -6,4 +6,4 @@ data
       name: istio-reader-service-account
       namespace: istio-system
     data:
    -  key: old
    +  key: new

    ~ update ConfigMap istio-system/istio (v1)
    @@ -6,4 +6,4 @@ data
       name: istio
       namespace: istio-system
     data:
    -  key: old
    +  key: new

    ~ update Deployment istio-system/istiod (apps/v1)
    ! refused: admission webhook "policy.example.com" denied the request: replicas
        must be at least 2 in production
    @@ -6,4 +6,4 @@ data
       name: istiod
       namespace: istio-system
     data:
    -  key: old
    +  key: new

    - prune ConfigMap istio-system/istio-canary (v1)
    -apiVersion: v1
    -kind: ConfigMap
    -metadata:
    -  labels:
    -    applyset.kubernetes.io/part-of: set
    -  name: istio-canary
    -  namespace: istio-system
    -data:
    -  key: old

    + create Secret istio-system/istio-remote-secret-north (v1), the link to north
    +apiVersion: v1
    +kind: Secret
    +metadata:
    +  labels:
    +    applyset.kubernetes.io/part-of: set
    +  name: istio-remote-secret-north
    +  namespace: istio-system
    +data:
    +  key: sha256:11507a0e…

    ~ update Secret istio-system/istio-remote-secret-west (v1), the link to west
    @@ -6,4 +6,4 @@ data
       name: istio-remote-secret-west
       namespace: istio-system
     data:
    -  key: sha256:cba06b57…
    +  key: sha256:11507a0e…

    - prune Secret istio-system/istio-remote-secret-old (v1), the link to old
    -apiVersion: v1
    -kind: Secret
    -metadata:
    -  labels:
    -    applyset.kubernetes.io/part-of: set
    -  name: istio-remote-secret-old
    -  namespace: istio-system
    -data:
    -  key: sha256:cba06b57…

    context-south  cluster south, network network-south,
        https://south.example.com:6443
      ? cannot be planned: `context-south`: the API server at
          https://south.example.com:6443 refused the connection
        hint: check that it is running: `kubectl --context context-south version`

    context-old  cluster old, network network-old, https://old.example.com:6443
      - leaves the mesh
      - drop 2 links to east, west
      - revoke its credentials: the token that its peers hold stops working
      deletes 20 objects
        Namespace istio-system
        Deployment istio-system/istiod,
        Deployment istio-system/istio-eastwestgateway
        1 MutatingWebhookConfiguration, 3 ConfigMaps, 3 ServiceAccounts, 3 Services,
        3 Secrets, 3 HorizontalPodAutoscalers
      stays
        CustomResourceDefinition gateways.networking.istio.io: needed by 1 object of
          yours: Gateway istio-system/theirs
      2 pods with a sidecar: no control plane any more, until they are re-created
        without one
        demo (2)

    context-kept  cluster kept, network network-kept, https://kept.example.com:6443
      - leaves the mesh
      - drop 1 link to east
      - revoke its credentials: the token that its peers hold stops working
      its control plane is kept

    = no changes in 1 cluster: context-west

    plan: 1 cluster to change, 2 to leave, 2 objects to update, 1 to adopt, 1 to
      prune, 20 to delete; 1 root CA to make; 1 intermediate CA to renew; 1 link to
      add, 1 to update, 4 to drop; 1 object would be refused; 1 cluster cannot be
      planned
    "#);
}

#[test]
fn nothing_to_do_is_a_line() {
    let quiet = outline(vec![member("east", None, Vec::new()), member("west", None, Vec::new())]);
    let line = "mesh shop: no changes; 2 clusters are as the topology says\n";
    assert_eq!(plain(&table(&quiet)), line);
    assert_eq!(plain(&diff(&quiet)), line);
}

#[test]
fn what_cannot_be_planned_is_never_called_unchanged() {
    let away = || {
        let reason = "`context-north`: no answer".into();
        cluster("north", Standing::Unknown { reason, hints: Vec::new() })
    };
    let some = outline(vec![member("east", None, Vec::new()), away()]);
    assert_snapshot!(plain(&table(&some)), @r#"
    mesh shop: plan for 2 clusters, Istio 1.31.0

    context-north  cluster north, network network-north,
        https://north.example.com:6443
      ? cannot be planned: `context-north`: no answer

    = no changes in 1 cluster: context-east

    mesh shop: 1 cluster is as the topology says; 1 cluster cannot be planned
    "#);
    let none = outline(vec![away()]);
    assert_eq!(summary(&none), "mesh shop: 1 cluster cannot be planned");
}

#[test]
fn a_cluster_that_joins_changes_the_others_alike() {
    let mut fleet = fleet();
    for cluster in &mut fleet.clusters[..19] {
        cluster.standing = Standing::Member(Changes {
            objects: vec![link(Verb::Create, "c20")],
            ..Changes::default()
        });
    }
    fleet.clusters[4].standing = Standing::Member(Changes::default());
    assert_snapshot!(plain(&table(&fleet)), @r#"
    mesh shop: plan for 20 clusters, Istio 1.31.0

    18 clusters: context-c1, context-c2, context-c3, context-c4, context-c6,
        context-c7, context-c8, context-c9 and 10 more (on 18 networks)
      + add 1 link to c20

    context-c20  cluster c20, network network-c20, https://c20.example.com:6443
      + issue an intermediate CA
      + create 27: 1 Namespace, 1 ConfigMap, 1 Secret, 4 ServiceAccounts,
          4 ClusterRoles, 4 ClusterRoleBindings, 4 CustomResourceDefinitions,
          2 Deployments, 2 HorizontalPodAutoscalers, 2 Services, 2 NetworkPolicies
      + add 19 links to every other cluster

    = no changes in 1 cluster: context-c5

    plan: 19 clusters to change, 27 objects to create; 1 intermediate CA to issue;
      37 links to add
    "#);
}

#[test]
fn clusters_that_differ_behind_a_shortened_list_are_told_apart() {
    let prunes = |last: &str| {
        let names = ["1", "2", "3", "4", "5", "6", "7", "8", last];
        names.map(|name| change(Verb::Prune, "v1", "ConfigMap", name)).to_vec()
    };
    let members = ["a", "b", "c", "d", "e"]
        .map(|n| member(n, None, prunes(if n == "c" { "y" } else { "x" })));
    let screen = plain(&table(&outline(members.to_vec())));
    assert!(
        screen
            .contains("\n4 clusters: context-a, context-b, context-d, context-e (on 4 networks)\n"),
        "{screen}"
    );
    assert!(screen.contains("\ncontext-c  cluster c,"), "{screen}");
    assert_eq!(screen.matches("ConfigMap istio-system/8 and 1 more").count(), 2, "{screen}");
}

#[test]
fn many_changed_objects_are_counted_by_kind() {
    let objects = (1..=9).map(|n| change(Verb::Update, "v1", "ConfigMap", &n.to_string()));
    let screen = plain(&table(&outline(vec![member("east", None, objects.collect())])));
    assert!(screen.contains("  ~ update 9: 9 ConfigMaps\n"), "{screen}");
}

#[test]
fn a_command_is_not_broken() {
    let hints =
        vec![format!("look at it, where it is: `kubectl --context {} get nodes`", "x".repeat(30))];
    let away = cluster("north", Standing::Unknown { reason: "no answer".into(), hints });
    let screen = plain(&table(&outline(vec![away])));
    assert!(
        screen.contains(&format!("`kubectl --context {} get nodes`\n", "x".repeat(30))),
        "{screen}"
    );
}
