//! A mesh of three clusters that is well, for tests to break.

use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::super::build::build;
use super::super::link::Seen;
use super::super::look::{GatewayLook, Look, Replica, Unseen};
use super::super::token::Reviews;
use super::super::{Finding, Level, Local, MeshStatus, Site, SyncStatus, Verdict};
use crate::engine::home::Home;
use crate::engine::state::State;
use crate::istio::istiod::{Metrics, RemoteClusters};
use crate::istio::remote_secret::{self, Credential};
use crate::kube::kubeconfig::Sources;
use crate::kube::{ContextEntry, Kubeconfig, KubernetesVersion};
use crate::pki::{Cacerts, Root, Store, issue};
use crate::plan::desired::{self, Place};
use crate::topology::{self, ClusterName};

const NOW: &str = "2026-05-01T12:00:00Z";
pub(super) const TOPOLOGY: &str = "\
mesh_id: shop
contexts:
  east-1: {network: network-east}
  east-2: {network: network-east}
  west-1: {network: network-west}
";

/// A mesh with what would be seen of it.
pub(super) struct Mesh {
    _dir: TempDir,
    pub(super) local: Local,
    pub(super) root: Root,
    pub(super) looks: Vec<Result<Look, Unseen>>,
    pub(super) reviews: Reviews,
    pub(super) now: Timestamp,
}

impl Mesh {
    pub(super) fn new() -> Self {
        Self::of(TOPOLOGY)
    }

    pub(super) fn of(topology: &str) -> Self {
        let now = NOW.parse().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let home = Home { dir: dir.path().into(), topology: dir.path().join("topology.yaml") };
        let root = issue::root("Example", now).unwrap();
        Store::open(home.certs()).create_root(&root).unwrap();
        let topology = topology::parse(topology, Path::new("topology.yaml")).unwrap();
        let sites: Vec<Site> = topology
            .members
            .iter()
            .map(|member| Site {
                cluster: ClusterName::new(member.context.as_str()).unwrap(),
                entry: entry(member.context.as_str()),
                member: member.clone(),
                selected: true,
                overlay: None,
            })
            .collect();
        let nowhere = Sources { explicit: None, variable: None, home: None };
        let kubeconfig = Kubeconfig::load_from(&nowhere).unwrap();
        let state = State::new("shop");
        let (leavers, given_up) = (Vec::new(), Vec::new());
        let (same_mesh, same_run) = (" --dir shop".into(), " --dir shop --contexts a".into());
        let local = Local {
            home,
            topology,
            sites,
            leavers,
            given_up,
            kubeconfig,
            state,
            same_mesh,
            same_run,
        };
        let looks = local.sites.iter().map(|site| Ok(good(&local, site, &root, now))).collect();
        Self { _dir: dir, local, root, looks, reviews: Reviews::default(), now }
    }

    pub(super) fn look(&mut self, index: usize) -> &mut Look {
        self.looks[index].as_mut().ok().unwrap()
    }

    pub(super) fn set_cacerts(&mut self, index: usize, cacerts: &Cacerts) {
        self.look(index).cacerts = Some(Some(cacerts_secret(cacerts)));
        let ca_ends = cacerts.certificate().unwrap().not_after.as_second();
        let root_ends = cacerts.roots().unwrap()[0].not_after.as_second();
        let metrics = &mut self.look(index).replicas[0].metrics;
        (metrics.ca_ends, metrics.root_ends) = (Some(ca_ends), Some(root_ends));
    }

    pub(super) fn status(&self) -> MeshStatus {
        let seen: Vec<Seen<'_>> = self.local.sites.iter().zip(&self.looks).collect();
        build(&self.local, &seen, &self.reviews, self.now)
    }

    /// The only finding of this level, after a check of the verdict.
    pub(super) fn only(&self, level: Level) -> Finding {
        let status = self.status();
        let wanted = if level == Level::Problem { Verdict::Degraded } else { Verdict::Healthy };
        assert_eq!(status.verdict, wanted, "{:#?}", status.findings);
        match status.findings.as_slice() {
            [one] => {
                assert_eq!(one.level, level, "{one:#?}");
                assert!(!one.hints.is_empty(), "{one:#?}");
                for hint in &one.hints {
                    let keeps = |program: &str, flags: &str| {
                        !hint.contains(program) || hint.contains(&format!("{flags}`"))
                    };
                    assert!(
                        keeps("`kubectl multimesh", " apply --dir shop --contexts a"),
                        "{hint}"
                    );
                    let at = "`kubectl --kubeconfig 'my kube/config' --context ";
                    assert!(!hint.contains("`kubectl --") || hint.contains(at), "{hint}");
                }
                one.clone()
            }
            several => panic!("{several:#?}"),
        }
    }
}

fn entry(name: &str) -> ContextEntry {
    ContextEntry {
        name: name.into(),
        kubeconfig: Some("my kube/config".into()),
        cluster: name.into(),
        user: name.into(),
        server: format!("https://{name}.example:6443"),
        tls_server_name: None,
        namespace: None,
        proxy_url: None,
        insecure_skip_tls_verify: false,
    }
}

fn cacerts_secret(cacerts: &Cacerts) -> Value {
    let place = Place {
        mesh_id: "shop",
        cluster: "x",
        network: "network-east",
        namespace: "istio-system",
        reader: "reader",
        joined: false,
        gateway: false,
        own_address: false,
        istio: "1.31.0",
        own_namespace: true,
    };
    let objects = desired::desired(&place, &desired::Rendering::default(), Some(cacerts));
    let mut objects = objects.iter().filter(|object| object["metadata"]["name"] == "cacerts");
    Value::clone(objects.next().unwrap())
}

fn deployment(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name, "namespace": "istio-system", "generation": 1 },
        "spec": { "replicas": 1, "template": { "spec": { "containers": [
            { "name": "discovery", "image": image },
        ] } } },
        "status": { "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1,
            "readyReplicas": 1, "availableReplicas": 1 },
    })
}

pub(super) fn token(cluster: &str) -> String {
    format!("token-of-{cluster}")
}

pub(super) fn remote(peer: &Site) -> Value {
    let credential = Credential {
        cluster: peer.cluster.to_string(),
        server: peer.peer_server().to_owned(),
        tls_server_name: None,
        proxy_url: None,
        ca: "CA".into(),
        token: Zeroizing::new(token(peer.cluster.as_ref())),
    };
    remote_secret::secret(&credential, "istio-system")
}

/// A cluster as it should be.
fn good(local: &Local, site: &Site, root: &Root, now: Timestamp) -> Look {
    let cacerts = issue::intermediate(root, site.cluster.as_ref(), "istio-system", now).unwrap();
    let network = json!({ "topology.istio.io/network": site.member.network.as_ref() });
    let peers: Vec<&Site> =
        local.sites.iter().filter(|peer| peer.context() != site.context()).collect();
    let clusters: RemoteClusters =
        peers.iter().map(|peer| (peer.cluster.to_string(), SyncStatus::Synced)).collect();
    let gateway = GatewayLook {
        deployment: Some(Some(deployment("istio-eastwestgateway", "auto"))),
        service: Some(Some(json!({
            "kind": "Service", "metadata": { "name": "istio-eastwestgateway", "labels": network },
            "spec": { "type": "LoadBalancer" },
            "status": { "loadBalancer": { "ingress": [{ "ip": "10.0.0.7" }] } },
        }))),
        opening: Some(Some(json!({ "kind": "Gateway" }))),
    };
    Look {
        kubernetes: KubernetesVersion { git_version: "v1.36.3".into(), major: 1, minor: 36 },
        uid: Some(format!("uid-of-{}", site.context())),
        namespace: Some(Some(json!({ "metadata": { "labels": network } }))),
        parent: Some(Some(json!({ "data": { "mesh_id": "shop" } }))),
        cacerts: Some(Some(cacerts_secret(&cacerts))),
        remote_secrets: Some(peers.into_iter().map(remote).collect()),
        istiods: Some(vec![deployment("istiod", "localhost/istio/pilot:1.31.0")]),
        pods: Some(Vec::new()),
        replicas: vec![Replica {
            pod: "istiod-0".into(),
            metrics: Metrics {
                version: Some("1.31.0".into()),
                ca_ends: Some(cacerts.certificate().unwrap().not_after.as_second()),
                root_ends: Some(root.certificate.not_after.as_second()),
                clusters: clusters.clone(),
            },
            clusters,
            unsure: None,
        }],
        gateway: local.many_networks().then_some(gateway),
        unread: Vec::new(),
    }
}
