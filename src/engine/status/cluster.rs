//! One cluster: what was seen of it, against what the topology says.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::look::{GatewayLook, Look, Unseen};
use super::model::{
    Check, ClusterState, ClusterStatus, Finding, Gateway, Istiod, Level, ReplicaStatus, Tally,
};
use super::trust::{self, Anchor};
use crate::engine::local::{Local, Site};
use crate::engine::policy::env;
use crate::engine::wait::{pod_reason, rollout_missing};
use crate::error::beside;
use crate::istio::operator::GATEWAY;
use crate::istio::version::{self, Version};
use crate::kube::{Error, without};
use crate::plan::desired::{CROSS_NETWORK_GATEWAY, NETWORK_LABEL};
use crate::plan::object::{Key, label};

/// Judges a cluster; its links come later.
pub(super) fn cluster(
    local: &Local,
    site: &Site,
    seen: &Result<Look, Unseen>,
    anchor: &Anchor,
    now: Timestamp,
    findings: &mut Vec<Finding>,
) -> ClusterStatus {
    let mut status = ClusterStatus {
        context: site.context().to_owned(),
        cluster: site.cluster.to_string(),
        network: site.member.network.to_string(),
        namespace: site.namespace().to_owned(),
        server: site.entry.server.clone(),
        control_plane: site.member.control_plane.to_string(),
        state: ClusterState::Unreachable,
        reason: None,
        uid: None,
        kubernetes: None,
        istio: None,
        istiod: None,
        gateway: None,
        trust: trust::unknown(),
        links: Tally::default(),
    };
    let look = match seen {
        Ok(look) => look,
        Err(unseen) => {
            let failure = unseen.failure();
            let check = match unseen {
                Unseen::Unreachable(_) => Check::Reachable,
                Unseen::OtherCluster(_) => {
                    status.state = ClusterState::OtherCluster;
                    Check::Identity
                }
            };
            status.reason = Some(beside(&failure.message, site.context()).to_owned());
            let (context, text) = (Some(site.context()), failure.message.clone());
            let mut finding = Finding::new(Level::Problem, check, context, text);
            finding.hints.clone_from(&failure.hints);
            findings.push(finding);
            return status;
        }
    };
    let mut judge = Judge { local, site, look, findings };
    status.uid.clone_from(&look.uid);
    status.kubernetes = Some(look.kubernetes.git_version.clone());
    status.istio = istio(look);
    status.istiod = judge.istiod_figures();
    status.gateway = look.gateway.as_ref().and_then(|gateway| judge.gateway_figures(gateway));
    judge.unread();
    if look.is_fresh() {
        status.state = ClusterState::NotApplied;
        return status;
    }
    status.state = ClusterState::Member;
    judge.membership();
    judge.kubernetes(status.istio.as_deref());
    judge.istiod();
    if let Some(gateway) = &look.gateway {
        judge.gateway(gateway, status.gateway.as_ref());
    }
    let (trust, finding) = trust::trust(local, site, look, anchor, now);
    status.trust = trust;
    findings.extend(finding);
    status
}

/// The versions of the control plane: what its replicas say, else its Deployments, which may be
/// about to change.
fn istio(look: &Look) -> Option<String> {
    let told = look.replicas.iter().filter_map(|replica| replica.metrics.version.clone());
    let mut versions: BTreeSet<String> = told.collect();
    if versions.is_empty() {
        versions.extend(look.istiods.iter().flatten().filter_map(version::of_istiod));
    }
    let versions: Vec<String> = versions.into_iter().collect();
    (!versions.is_empty()).then(|| versions.join(","))
}

fn number(object: &Value, path: &str) -> Option<i64> {
    object.pointer(path).and_then(Value::as_i64)
}

/// Ready and wanted replicas of a Deployment.
fn replicas(deployment: &Value) -> (i64, i64) {
    let ready = number(deployment, "/status/readyReplicas").unwrap_or(0);
    (ready, number(deployment, "/spec/replicas").unwrap_or(1))
}

/// What a Deployment lacks to do its work.
fn missing(deployment: &Value) -> Option<String> {
    let (ready, wanted) = replicas(deployment);
    let short = (ready < wanted).then(|| format!("{ready} of {wanted} ready"));
    short.or_else(|| rollout_missing(deployment))
}

struct Judge<'a> {
    local: &'a Local,
    site: &'a Site,
    look: &'a Look,
    findings: &'a mut Vec<Finding>,
}

impl Judge<'_> {
    fn add(&mut self, level: Level, check: Check, text: impl Into<String>, hint: &str) {
        let context = self.site.context();
        let text = format!("`{context}`: {}", text.into());
        self.findings.push(Finding::new(level, check, Some(context), text).hint(hint));
    }

    fn problem(&mut self, check: Check, text: impl Into<String>, hint: &str) {
        self.add(Level::Problem, check, text, hint);
    }

    /// The flags by which kubectl looks at the control plane there.
    fn at(&self) -> String {
        format!("{} -n {}", self.site.same_cluster(), self.site.namespace())
    }

    fn unread(&mut self) {
        let Some(first) = self.look.unread.first() else { return };
        let forbidden = self.look.unread.iter().filter_map(|error| match error {
            Error::Forbidden { call, .. } => Some(format!("{} {}", call.verb, call.object)),
            _ => None,
        });
        let forbidden: Vec<String> = forbidden.collect();
        let text = if forbidden.len() == self.look.unread.len() {
            format!("the user of this context may not {}", forbidden.join(", "))
        } else {
            beside(&first.to_string(), self.site.context()).to_owned()
        };
        let context = Some(self.site.context());
        let text = format!("`{}`: {text}", self.site.context());
        let mut finding = Finding::new(Level::Problem, Check::Rights, context, text);
        finding.hints.extend(first.hint());
        self.findings.push(finding);
    }

    /// The cluster is in this mesh, under its name, in its network.
    fn membership(&mut self) {
        let context = self.site.context();
        let data = |key: &str| {
            let parent = self.look.parent.as_ref()?.as_ref()?;
            parent.get("data")?.get(key)?.as_str()
        };
        let mesh = data("mesh_id").filter(|mesh| *mesh != self.local.topology.mesh_id.as_ref());
        if let Some(mesh) = mesh {
            let text = format!("it belongs to the mesh `{mesh}`");
            let hint = format!("leave it out here: `{}`", without(context));
            self.problem(Check::Membership, text, &hint);
            return;
        }
        let istiods = self.look.istiods.iter().flatten();
        let mut names = istiods.filter_map(|istiod| env(istiod, "CLUSTER_ID"));
        if let Some(name) = names.find(|name| *name != self.site.cluster.as_ref()) {
            let text = format!(
                "its istiod calls the cluster `{name}`, and the topology `{}`",
                self.site.cluster
            );
            let hint =
                format!("keep the name: `cluster: {name}` under `{context}` in the topology");
            self.problem(Check::Membership, text, &hint);
        }
        let Some(Some(namespace)) = &self.look.namespace else { return };
        let network = self.site.member.network.as_ref();
        match label(namespace, NETWORK_LABEL) {
            Some(there) if there == network => {}
            there => {
                let there = there.map_or("no network".to_owned(), |n| format!("the network `{n}`"));
                let text = format!(
                    "its namespace {} has {there}, and the topology says `{network}`",
                    self.site.namespace()
                );
                self.problem(Check::Membership, text, &self.local.mend());
            }
        }
    }

    fn kubernetes(&mut self, istio: Option<&str>) {
        let Some(istio) = istio.and_then(Version::parse) else { return };
        let kubernetes = &self.look.kubernetes;
        let Some(oldest) = version::oldest_kubernetes(istio) else { return };
        if (kubernetes.major, kubernetes.minor) < (1, oldest) {
            let text = format!(
                "it runs Kubernetes {kubernetes}, and Istio {istio} supports 1.{oldest} and later"
            );
            let hint = "upgrade Kubernetes there before the next upgrade of Istio";
            self.add(Level::Warning, Check::KubernetesVersion, text, hint);
        }
    }

    fn istiod_figures(&self) -> Option<Istiod> {
        let istiods = self.look.istiods.as_ref()?;
        let (ready, wanted) =
            istiods.iter().map(replicas).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let replicas = self.look.replicas.iter().map(|replica| ReplicaStatus {
            pod: replica.pod.clone(),
            version: replica.metrics.version.clone(),
            ca_not_after: replica.metrics.ca_ends.and_then(|s| Timestamp::from_second(s).ok()),
        });
        Some(Istiod { ready, wanted, replicas: replicas.collect() })
    }

    fn istiod(&mut self) {
        let Some(istiods) = &self.look.istiods else { return };
        if istiods.is_empty() {
            let text = format!("there is no istiod in the namespace {}", self.site.namespace());
            let existing = "install Istio there again: the topology says `control_plane: existing`";
            let hint = if self.site.managed() { self.local.mend() } else { existing.to_owned() };
            self.problem(Check::Istiod, text, &hint);
        }
        for istiod in istiods {
            let key = Key::of(istiod);
            if replicas(istiod).1 == 0 {
                self.scaled_to_zero(&key);
                continue;
            }
            let Some(missing) = missing(istiod) else { continue };
            let reason = self.look.pods.iter().flatten().find_map(pod_reason);
            let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
            let text = format!("{key} is not ready: {missing}{reason}");
            let hint = format!("look at it: `kubectl{} describe pods -l app=istiod`", self.at());
            self.problem(Check::Istiod, text, &hint);
        }
    }

    fn scaled_to_zero(&mut self, key: &Key) {
        let start =
            format!("start it: `kubectl{} scale deployment/{} --replicas 1`", self.at(), key.name);
        let check = if key.name == GATEWAY { Check::Gateway } else { Check::Istiod };
        self.problem(check, format!("{key} is scaled to 0"), &start);
    }

    fn gateway_figures(&self, look: &GatewayLook) -> Option<Gateway> {
        let service = look.service.as_ref()?.as_ref();
        let deployment = look.deployment.as_ref()?.as_ref();
        let override_ = self.site.member.gateway.as_ref().map(|gateway| gateway.host.to_string());
        let addresses = match override_ {
            Some(address) => vec![address],
            None => service.map(addresses).unwrap_or_default(),
        };
        let (ready, wanted) = deployment.map_or((0, 0), replicas);
        let missing = match (service, deployment) {
            (None, _) | (_, None) => Some("missing"),
            _ if addresses.is_empty() => Some("no address"),
            _ if ready == 0 => Some("not ready"),
            _ if matches!(look.opening, Some(None)) => Some("not open"),
            _ => None,
        };
        Some(Gateway { addresses, ready, wanted, missing: missing.map(str::to_owned) })
    }

    fn gateway(&mut self, look: &GatewayLook, figures: Option<&Gateway>) {
        let Some(figures) = figures else { return };
        let (Some(Some(service)), Some(Some(deployment))) = (&look.service, &look.deployment)
        else {
            let text = format!(
                "there is no east-west gateway ({GATEWAY}), so other networks cannot reach its services"
            );
            self.problem(Check::Gateway, text, &self.local.mend());
            return;
        };
        if figures.addresses.is_empty() {
            let kind = service.pointer("/spec/type").and_then(Value::as_str).unwrap_or("ClusterIP");
            let context = self.site.context();
            let (text, hint) = if kind == "LoadBalancer" {
                let hint = format!(
                    "does this cluster have a load balancer? `kubectl{} describe service {GATEWAY}`",
                    self.at()
                );
                let text = "the east-west gateway has no address: no load balancer gave it one";
                (text.to_owned(), hint)
            } else {
                (
                    format!("the east-west gateway has no address: its Service is a {kind}"),
                    format!(
                        "give the address that other networks can use: `gateway: <address>` under `{context}` in the topology"
                    ),
                )
            };
            self.problem(Check::Gateway, text, &hint);
        }
        if replicas(deployment).1 == 0 {
            self.scaled_to_zero(&Key::of(deployment));
        } else if let Some(missing) = missing(deployment) {
            let hint = format!(
                "look at it: `kubectl{} describe pods -l istio=eastwestgateway`",
                self.at()
            );
            let text = format!("the east-west gateway is not ready: {missing}");
            self.problem(Check::Gateway, text, &hint);
        }
        if matches!(look.opening, Some(None)) {
            let text = format!(
                "the east-west gateway is not open to the mesh: there is no Gateway {}/{CROSS_NETWORK_GATEWAY}",
                self.site.namespace()
            );
            self.problem(Check::Gateway, text, &self.local.mend());
        }
        let network = self.site.member.network.as_ref();
        let own_address = self.site.member.gateway.is_some();
        if !own_address && label(service, NETWORK_LABEL) != Some(network) {
            let text = format!(
                "the Service {GATEWAY} lacks the label {NETWORK_LABEL}={network}, so other clusters do not find it"
            );
            self.problem(Check::Gateway, text, &self.local.mend());
        }
    }
}

/// The addresses of a Service's load balancer, IPs or hostnames.
fn addresses(service: &Value) -> Vec<String> {
    let ingress = service.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
    let text = |entry: &Value, key: &str| {
        entry[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let ingress = ingress.into_iter().flatten();
    ingress.filter_map(|entry| text(entry, "ip").or_else(|| text(entry, "hostname"))).collect()
}
