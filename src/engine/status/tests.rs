//! Verdicts, without a cluster: what is said of a mesh that is well, and when a part of it is not.

use jiff::Timestamp;
use serde_json::{Value, json};

use self::mesh::{Mesh, TOPOLOGY, remote, token};
use super::look::{GatewayLook, Replica, Unseen};
use super::token::{Review, Reviews};
use super::*;
use crate::error::Failure;
use crate::istio::istiod::Metrics;
use crate::kube::KubernetesVersion;
use crate::pki::issue;
use crate::topology::ClusterName;

mod mesh;

#[test]
fn a_mesh_that_is_well_has_nothing_to_say() {
    let status = Mesh::new().status();
    assert_eq!(status.findings, []);
    assert_eq!(status.verdict, Verdict::Healthy);
    assert_eq!(status.summary.links, Tally { up: 6, expected: 6 });
    assert_eq!(status.summary.control_planes_ready, 3);
    let days = status.clusters[0].trust.days_left.unwrap();
    assert_eq!(
        status.facts(),
        [
            "3 of 3 control planes ready (Istio 1.31.0)".to_owned(),
            format!("1 root CA in all clusters, intermediates valid for {days} days"),
            "2 networks, gateways at 10.0.0.7, 10.0.0.7, 10.0.0.7".into(),
            "6 of 6 links up".into(),
        ]
    );
}

#[test]
fn one_network_needs_no_gateway() {
    let mesh = Mesh::of("mesh_id: shop\ncontexts: {east-1: {}, east-2: {}}\n");
    let status = mesh.status();
    assert_eq!(status.verdict, Verdict::Healthy, "{:#?}", status.findings);
    assert!(status.clusters.iter().all(|cluster| cluster.gateway.is_none()));
    assert!(status.facts().contains(&"1 network, no east-west gateways needed".to_owned()));
}

#[test]
fn a_cluster_that_does_not_answer_is_a_row_with_the_reason() {
    let mut mesh = Mesh::new();
    let failure = Failure::new("`west-1`: the API server at https://w refused the connection");
    mesh.looks[2] = Err(Unseen::Unreachable(failure.hint("start it")));
    let finding = mesh.only(Level::Problem);
    assert_eq!((finding.check, finding.context.as_deref()), (Check::Reachable, Some("west-1")));
    let status = mesh.status();
    let row = &status.clusters[2];
    assert_eq!(row.state, ClusterState::Unreachable);
    assert_eq!(row.reason.as_deref(), Some("the API server at https://w refused the connection"));
    assert_eq!(status.summary.links, Tally { up: 4, expected: 6 }, "peers go on reading it");
    assert!(
        status.links.iter().filter(|l| l.from == "west-1").all(|l| l.state == LinkState::Unknown)
    );
}

#[test]
fn clusters_that_were_never_applied_are_told_once() {
    let mut mesh = Mesh::new();
    for index in [1, 2] {
        let look = mesh.look(index);
        (look.parent, look.cacerts) = (Some(None), Some(None));
        (look.istiods, look.replicas) = (Some(Vec::new()), Vec::new());
    }
    let finding = mesh.only(Level::Problem);
    assert!(
        finding.message.starts_with("`east-2`, `west-1` are not in the mesh yet"),
        "{finding:?}"
    );
    let status = mesh.status();
    assert_eq!(status.summary.links, Tally { up: 0, expected: 6 });
}

#[test]
fn istiod_s_word_decides_about_a_link() {
    for (word, reason) in [
        (SyncStatus::Syncing, "syncing"),
        (SyncStatus::Timeout, "timeout"),
        (SyncStatus::Closed, "closed"),
        (SyncStatus::Absent, "not registered"),
    ] {
        let mut mesh = Mesh::new();
        for index in [0, 1] {
            mesh.look(index).replicas[0].clusters.insert("west-1".into(), word);
        }
        let finding = mesh.only(Level::Problem);
        let start = "`east-1`, `east-2` do not read `west-1`: ";
        assert!(finding.message.starts_with(start), "{}", finding.message);
        let status = mesh.status();
        let link = status.links.iter().find(|l| l.from == "east-1" && l.to == "west-1").unwrap();
        assert_eq!((link.state, link.reason.as_deref()), (LinkState::Down, Some(reason)));
        assert_eq!(status.clusters[0].links, Tally { up: 1, expected: 2 });
    }
}

#[test]
fn the_worst_replica_decides() {
    let mut mesh = Mesh::new();
    let mut clusters = mesh.look(0).replicas[0].clusters.clone();
    clusters.insert("west-1".into(), SyncStatus::Timeout);
    let late =
        Replica { pod: "istiod-1".into(), metrics: Metrics::default(), clusters, unsure: None };
    mesh.look(0).replicas.push(late);
    assert!(mesh.only(Level::Problem).message.starts_with("`east-1` does not read `west-1`"));
}

#[test]
fn a_replica_that_cannot_be_asked_makes_links_unknown() {
    let mut mesh = Mesh::new();
    let replica = &mut mesh.look(0).replicas[0];
    replica.clusters.clear();
    replica.unsure = Some(Failure::new("`east-1`: cannot run it").hint("look"));
    let finding = mesh.only(Level::Problem);
    let text = "`east-1`: its istiod could not be asked for its links: cannot run it";
    assert_eq!(finding.message, text, "once for both links");
    assert_eq!(mesh.status().clusters[0].links, Tally { up: 0, expected: 2 });
}

#[test]
fn a_missing_remote_secret_is_told_unless_istiod_reads_the_cluster_all_the_same() {
    let mut mesh = Mesh::new();
    mesh.look(0).remote_secrets.as_mut().unwrap().retain(|s| s["data"]["west-1"].is_null());
    assert_eq!(mesh.status().findings, [], "istiod takes kubeconfigs from files too");
    mesh.look(0).replicas[0].clusters.remove("west-1");
    let finding = mesh.only(Level::Problem);
    assert!(finding.message.ends_with("there is no remote secret for it"), "{finding:?}");
}

#[test]
fn a_refused_token_is_down_though_istiod_says_synced() {
    let mut mesh = Mesh::new();
    let refused = Review::Refused("Token has been invalidated".into());
    mesh.reviews = Reviews::default().with("west-1", &token("west-1"), refused).with(
        "east-1",
        &token("east-1"),
        Review::Valid,
    );
    let finding = mesh.only(Level::Problem);
    assert_eq!(
        finding.message,
        "`east-1`, `east-2` do not read `west-1`: its API server refuses the token in the remote \
         secret (Token has been invalidated)"
    );
    let status = mesh.status();
    let token = |from: &str, to: &str| {
        status.links.iter().find(|l| l.from == from && l.to == to).unwrap().token
    };
    assert_eq!(token("east-1", "west-1"), TokenState::Refused);
    assert_eq!(token("west-1", "east-1"), TokenState::Valid);
    assert_eq!(token("west-1", "east-2"), TokenState::Unchecked);
    let printed = serde_json::to_string(&status).unwrap();
    assert!(!printed.contains("token-of-"), "tokens are not part of the answer");
}

#[test]
fn a_token_that_may_not_be_reviewed_is_a_note() {
    let mut mesh = Mesh::new();
    let review = Review::Unchecked(Failure::new("`west-1`: forbidden").hint("ask"));
    mesh.reviews = Reviews::default().with("west-1", &token("west-1"), review);
    assert_eq!(mesh.only(Level::Note).check, Check::Token);
    assert_eq!(mesh.status().summary.links, Tally { up: 6, expected: 6 });
}

#[test]
fn a_remote_secret_that_leads_elsewhere_is_a_warning() {
    let mut mesh = Mesh::new();
    mesh.local.sites[2].member.server = Some("https://10.1.1.1:6443".into());
    let finding = mesh.only(Level::Warning);
    assert_eq!(
        finding.message,
        "`east-1`, `east-2`: the remote secret for `west-1` leads to https://west-1.example:6443, \
         and should lead to https://10.1.1.1:6443"
    );
    mesh.local.sites[2].member.server = Some("https://west-1.example:6443/".into());
    assert_eq!(mesh.status().findings, [], "a slash at the end leads to the same");
}

#[test]
fn leftovers_and_duplicates_among_remote_secrets_are_told() {
    let mut mesh = Mesh::new();
    let mut old = remote(&mesh.local.sites[1]);
    old["metadata"]["name"] = json!("by-hand");
    mesh.look(0).remote_secrets.as_mut().unwrap().push(old);
    assert!(mesh.only(Level::Warning).message.contains("several remote secrets"));
    let mut mesh = Mesh::new();
    let mut gone = mesh.local.sites[1].clone();
    gone.cluster = ClusterName::new("gone").unwrap();
    let secret = remote(&gone);
    mesh.look(0).remote_secrets.as_mut().unwrap().push(secret);
    assert!(mesh.only(Level::Note).message.contains("a cluster `gone`"));
}

#[test]
fn a_cluster_without_registry_join_has_no_links() {
    let mesh =
        Mesh::of(&TOPOLOGY.replace("network-west}", "network-west, disableRegistryJoin: true}"));
    let status = mesh.status();
    assert_eq!(status.verdict, Verdict::Healthy);
    assert_eq!(status.summary.links, Tally { up: 2, expected: 2 });
    assert_eq!(status.clusters[2].links, Tally::default());
}

#[test]
fn contexts_that_were_left_out_are_named() {
    let mut mesh = Mesh::new();
    mesh.looks.truncate(2);
    let status = mesh.status();
    assert_eq!(status.verdict, Verdict::Healthy);
    assert_eq!(status.left_out, ["west-1"]);
    assert_eq!(status.summary.links, Tally { up: 2, expected: 2 });
    let note = "`west-1` was left out, and so were the links with it";
    assert_eq!(status.findings[0].message, note);
}

#[test]
fn every_kind_of_broken_trust_has_its_word() {
    let state = |mesh: &Mesh| mesh.status().clusters[0].trust.state;

    let mut mesh = Mesh::new();
    mesh.look(0).cacerts = Some(None);
    assert_eq!(mesh.only(Level::Problem).check, Check::Trust);
    assert_eq!(state(&mesh), TrustState::NoCacerts);

    let mut mesh = Mesh::new();
    let other = issue::root("Other", mesh.now).unwrap();
    let foreign = issue::intermediate(&other, "east-1", "istio-system", mesh.now).unwrap();
    mesh.set_cacerts(0, &foreign);
    assert!(mesh.only(Level::Problem).message.contains("another root"));
    assert_eq!(state(&mesh), TrustState::OtherRoot);

    let mut mesh = Mesh::new();
    mesh.look(0).cacerts = Some(Some(json!({ "data": { "ca-cert.pem": "aGk=" } })));
    assert!(mesh.only(Level::Problem).message.contains("no key `ca-key.pem`"));
    assert_eq!(state(&mesh), TrustState::NotUsable);

    let mut mesh = Mesh::new();
    mesh.look(0).replicas[0].metrics.root_ends = Some(4_000_000_000);
    assert!(mesh.only(Level::Problem).message.contains("signs with another root"));
    assert_eq!(state(&mesh), TrustState::NotLoaded);

    let mut mesh = Mesh::new();
    mesh.look(0).replicas[0].metrics.ca_ends = Some(1_700_000_000);
    assert!(mesh.only(Level::Warning).message.contains("has not taken over"));

    let mut mesh = Mesh::new();
    mesh.look(0).cacerts = None;
    assert_eq!(state(&mesh), TrustState::Unknown);
}

#[test]
fn an_intermediate_is_told_before_and_after_its_end() {
    let mut mesh = Mesh::new();
    let last = issue::intermediate(&mesh.root, "east-1", "istio-system", mesh.now).unwrap();
    let end = last.certificate().unwrap().not_after;
    mesh.now = Timestamp::from_second(end.as_second() - 20 * 86_400).unwrap();
    let status = mesh.status();
    assert_eq!(status.verdict, Verdict::Healthy);
    assert_eq!(status.summary.warnings, 3, "{:#?}", status.findings);
    assert!(status.findings[0].message.contains("ends in 20 days"), "{:#?}", status.findings);
    mesh.now = Timestamp::from_second(end.as_second() + 86_400).unwrap();
    let status = mesh.status();
    assert_eq!(status.verdict, Verdict::Degraded);
    assert!(status.clusters.iter().all(|c| c.trust.state == TrustState::Expired));
}

#[test]
fn without_a_root_here_the_clusters_are_compared_with_each_other() {
    let mut mesh = Mesh::new();
    std::fs::remove_dir_all(mesh.local.home.certs()).unwrap();
    assert_eq!(mesh.only(Level::Note).check, Check::Root);
    let other = issue::root("Other", mesh.now).unwrap();
    let foreign = issue::intermediate(&other, "west-1", "istio-system", mesh.now).unwrap();
    mesh.set_cacerts(2, &foreign);
    let status = mesh.status();
    assert_eq!(status.clusters[2].trust.state, TrustState::OtherRoot);
    assert_eq!(status.clusters[0].trust.state, TrustState::Ok);
}

#[test]
fn a_control_plane_that_is_not_ready_says_why() {
    let mut mesh = Mesh::new();
    let look = mesh.look(0);
    look.istiods.as_mut().unwrap()[0]["status"]["readyReplicas"] = json!(0);
    look.replicas.clear();
    look.pods = Some(vec![json!({ "metadata": { "name": "p" }, "status": { "containerStatuses": [
        { "name": "discovery", "state": { "waiting": { "reason": "ImagePullBackOff" } } } ] } })]);
    assert_eq!(
        mesh.only(Level::Problem).message,
        "`east-1`: Deployment istio-system/istiod is not ready: 0 of 1 ready (pod p, container \
         discovery: ImagePullBackOff)"
    );
    mesh.look(0).istiods.as_mut().unwrap()[0]["spec"]["replicas"] = json!(0);
    assert!(mesh.only(Level::Problem).message.ends_with("is scaled to 0"));
    mesh.look(0).istiods = Some(Vec::new());
    assert!(mesh.only(Level::Problem).message.contains("there is no istiod"));
}

#[test]
fn a_gateway_lacks_an_address_a_pod_an_opening_or_its_network() {
    let gateway = |mesh: &Mesh| mesh.status().clusters[2].gateway.clone().unwrap();
    let change = |how: fn(&mut GatewayLook)| {
        let mut mesh = Mesh::new();
        how(mesh.look(2).gateway.as_mut().unwrap());
        assert_eq!(mesh.only(Level::Problem).check, Check::Gateway);
        gateway(&mesh).missing
    };
    let service = |look: &mut GatewayLook, path: &str, value: Value| {
        *look.service.as_mut().unwrap().as_mut().unwrap().pointer_mut(path).unwrap() = value;
    };
    assert_eq!(change(|look| look.service = Some(None)).as_deref(), Some("missing"));
    assert_eq!(change(|look| look.opening = Some(None)).as_deref(), Some("not open"));
    let mut mesh = Mesh::new();
    service(mesh.look(2).gateway.as_mut().unwrap(), "/status/loadBalancer/ingress", json!([]));
    assert!(mesh.only(Level::Problem).message.contains("no load balancer gave it one"));
    assert_eq!(gateway(&mesh).missing.as_deref(), Some("no address"));
    let name = json!([{ "hostname": "a.elb" }, { "hostname": "b.elb" }]);
    service(mesh.look(2).gateway.as_mut().unwrap(), "/status/loadBalancer/ingress", name);
    assert_eq!(mesh.status().findings, []);
    assert_eq!(gateway(&mesh).addresses, ["a.elb", "b.elb"]);
    service(mesh.look(2).gateway.as_mut().unwrap(), "/metadata/labels", json!({}));
    assert!(mesh.only(Level::Problem).message.contains("lacks the label"));
}

#[test]
fn an_address_of_the_topology_stands_for_the_load_balancer_s() {
    let mut mesh =
        Mesh::of(&TOPOLOGY.replace("network-west}", "network-west, gateway: nat.example}"));
    let look = mesh.look(2).gateway.as_mut().unwrap();
    let service = look.service.as_mut().unwrap().as_mut().unwrap();
    service["status"] = json!({});
    service["metadata"]["labels"] = json!({});
    let status = mesh.status();
    assert_eq!(status.findings, []);
    assert_eq!(status.clusters[2].gateway.as_ref().unwrap().addresses, ["nat.example"]);
}

#[test]
fn versions_that_do_not_fit_are_warnings() {
    let mut mesh = Mesh::new();
    mesh.look(0).kubernetes =
        KubernetesVersion { git_version: "v1.31.9".into(), major: 1, minor: 31 };
    assert_eq!(
        mesh.only(Level::Warning).message,
        "`east-1`: it runs Kubernetes v1.31.9, and Istio 1.31 supports 1.32 and later"
    );
    let mut mesh = Mesh::new();
    mesh.look(2).replicas[0].metrics.version = Some("1.30.2".into());
    assert_eq!(
        mesh.only(Level::Warning).message,
        "the clusters run different versions of Istio: 1.30.2 on `west-1`; 1.31.0 on `east-1`, `east-2`"
    );
}

#[test]
fn a_cluster_of_another_mesh_name_or_network_is_told() {
    let mut mesh = Mesh::new();
    mesh.look(0).parent = Some(Some(json!({ "data": { "mesh_id": "other" } })));
    assert!(mesh.only(Level::Problem).message.contains("belongs to the mesh `other`"));
    let mut mesh = Mesh::new();
    let containers = "/spec/template/spec/containers/0/env";
    let istiod = &mut mesh.look(0).istiods.as_mut().unwrap()[0];
    let container = istiod.pointer_mut(containers.trim_end_matches("/env")).unwrap();
    container["env"] = json!([{ "name": "CLUSTER_ID", "value": "Kubernetes" }]);
    assert!(mesh.only(Level::Problem).message.contains("calls the cluster `Kubernetes`"));
    let mut mesh = Mesh::new();
    mesh.look(0).namespace = Some(Some(json!({ "metadata": {} })));
    assert!(mesh.only(Level::Problem).message.contains("has no network"));
    let mut mesh = Mesh::new();
    mesh.look(1).uid = Some("uid-of-east-1".into());
    assert!(mesh.only(Level::Problem).message.contains("are the same cluster"));
}

#[test]
fn the_worst_findings_come_first() {
    let mut mesh = Mesh::new();
    mesh.looks.truncate(2);
    mesh.look(0).kubernetes.minor = 20;
    mesh.look(1).cacerts = Some(None);
    let levels: Vec<Level> = mesh.status().findings.iter().map(|f| f.level).collect();
    assert_eq!(levels, [Level::Problem, Level::Warning, Level::Note]);
    let facts = mesh.status().facts();
    assert_eq!(facts.iter().filter(|fact| fact.starts_with("not yet: ")).count(), 2, "{facts:#?}");
}

/// What the end of an apply would wait for.
fn awaited(change: impl FnOnce(&mut super::look::Look)) -> Vec<String> {
    let mut mesh = Mesh::new();
    change(mesh.look(0));
    let looks = std::mem::take(&mut mesh.looks);
    let visit = |(site, look)| Visit { site, cluster: None, look };
    let visits: Vec<Visit<'_>> = mesh.local.sites.iter().zip(looks).map(visit).collect();
    late(&visits).into_iter().map(|(_, site, what)| format!("{}: {what}", site.context())).collect()
}

#[test]
fn an_apply_waits_for_what_istiod_does_not_read_yet() {
    assert_eq!(awaited(|_| ()), [""; 0]);
    let unread = awaited(|look| {
        look.replicas[0].clusters.remove("west-1");
    });
    assert_eq!(unread, ["east-1: istiod reading `west-1`"]);
    assert_eq!(awaited(|look| look.replicas.clear()), ["east-1: a ready replica of istiod"]);
    let unlisted = awaited(|look| {
        look.replicas.clear();
        look.pods = None;
    });
    assert_eq!(unlisted, ["east-1: istiod reading `east-2`, `west-1`"], "it may well be ready");
}
