//! From what was seen of each cluster to the status of the mesh: pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::cluster::cluster;
use super::link::{Seen, links};
use super::model::{
    API_VERSION, Check, ClusterState, ClusterStatus, Finding, KIND, Level, LinkState, MeshStatus,
    Summary, Tally, Verdict,
};
use super::token::Reviews;
use super::trust::Anchor;
use crate::engine::local::Local;
use crate::istio::remote_secret;

/// Judges a mesh. `seen` has the clusters that were looked at, in the order of the topology.
pub(super) fn build(
    local: &Local,
    seen: &[Seen<'_>],
    reviews: &Reviews,
    now: Timestamp,
) -> MeshStatus {
    let anchor = Anchor::find(local, seen.iter().filter_map(|(_, look)| look.as_ref().ok()));
    let mut findings = Vec::new();
    let mut clusters: Vec<ClusterStatus> = seen
        .iter()
        .map(|(site, look)| cluster(local, site, look, &anchor, now, &mut findings))
        .collect();
    let (links, about_links) = links(local, seen, reviews);
    for cluster in &mut clusters {
        let own = links.iter().filter(|link| link.from == cluster.context);
        let up = own.clone().filter(|link| link.state == LinkState::Up).count();
        cluster.links = Tally { up, expected: own.count() };
    }
    findings.extend(about_links);
    findings.extend(fresh(&clusters, &local.same_run));
    findings.extend(same_clusters(&clusters));
    findings.extend(istio_versions(&clusters));
    if clusters.iter().any(|cluster| cluster.state == ClusterState::Member) {
        findings.extend(anchor.findings(local, now));
    }
    findings.extend(strangers(local, seen));
    let left_out: Vec<String> = local
        .sites
        .iter()
        .map(|site| site.context().to_owned())
        .filter(|context| !clusters.iter().any(|cluster| cluster.context == *context))
        .collect();
    findings.extend(selection(&left_out));
    findings.sort_by_key(|finding| finding.level);
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let problems = count(Level::Problem);
    let ready = |c: &&ClusterStatus| {
        c.istiod.as_ref().is_some_and(|istiod| istiod.wanted > 0 && istiod.ready >= istiod.wanted)
    };
    let summary = Summary {
        clusters: clusters.len(),
        reachable: seen.iter().filter(|(_, look)| look.is_ok()).count(),
        control_planes_ready: clusters.iter().filter(ready).count(),
        links: Tally {
            up: clusters.iter().map(|c| c.links.up).sum(),
            expected: clusters.iter().map(|c| c.links.expected).sum(),
        },
        problems,
        warnings: count(Level::Warning),
    };
    let networks: BTreeSet<&str> =
        local.sites.iter().map(|site| site.member.network.as_ref()).collect();
    MeshStatus {
        api_version: API_VERSION,
        kind: KIND,
        observed_at: now,
        mesh_id: local.topology.mesh_id.to_string(),
        verdict: if problems == 0 { Verdict::Healthy } else { Verdict::Degraded },
        summary,
        root: anchor.root(now),
        networks: networks.into_iter().map(str::to_owned).collect(),
        clusters,
        links,
        left_out,
        findings,
    }
}

/// Clusters that nothing was applied to.
fn fresh(clusters: &[ClusterStatus], same_run: &str) -> Option<Finding> {
    let fresh = clusters.iter().filter(|cluster| cluster.state == ClusterState::NotApplied);
    let contexts: Vec<&str> = fresh.map(|cluster| cluster.context.as_str()).collect();
    let (one, text) = match contexts.as_slice() {
        [] => return None,
        [one] => (Some(*one), format!("`{one}` is not in the mesh yet: nothing was applied to it")),
        several => (
            None,
            format!("{} are not in the mesh yet: nothing was applied to them", quoted(several)),
        ),
    };
    let finding = Finding::new(Level::Problem, Check::Membership, one, text);
    Some(finding.hint(format!("bring them in: `kubectl multimesh apply{same_run}`")))
}

/// Contexts that lead to one cluster.
fn same_clusters(clusters: &[ClusterStatus]) -> Vec<Finding> {
    let mut by_uid: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for cluster in clusters {
        if let Some(uid) = &cluster.uid {
            by_uid.entry(uid).or_default().push(&cluster.context);
        }
    }
    let several = by_uid.into_iter().filter(|(_, contexts)| contexts.len() > 1);
    let finding = several.map(|(uid, contexts)| {
        let names = quoted(&contexts);
        let text = format!("{names} are the same cluster (kube-system has the UID {uid})");
        Finding::new(Level::Problem, Check::Identity, None, text).hint(
            "point one to its own cluster in your kubeconfig, or leave one of them in the topology",
        )
    });
    finding.collect()
}

fn istio_versions(clusters: &[ClusterStatus]) -> Option<Finding> {
    let mut by_version: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for cluster in clusters.iter().filter(|c| c.state == ClusterState::Member) {
        if let Some(istio) = &cluster.istio {
            by_version.entry(istio).or_default().push(&cluster.context);
        }
    }
    if by_version.len() < 2 {
        return None;
    }
    let list: Vec<String> = by_version
        .iter()
        .map(|(version, contexts)| format!("{version} on {}", quoted(contexts)))
        .collect();
    let text = format!("the clusters run different versions of Istio: {}", list.join("; "));
    let finding = Finding::new(Level::Warning, Check::IstioVersion, None, text);
    Some(finding.hint("bring all clusters to one version"))
}

/// Remote secrets for clusters that the topology does not have.
fn strangers(local: &Local, seen: &[Seen<'_>]) -> Vec<Finding> {
    let known: BTreeSet<&str> = local.sites.iter().map(|site| site.cluster.as_ref()).collect();
    let mut findings = Vec::new();
    for (site, look) in seen {
        let secrets = look.as_ref().ok().and_then(|look| look.remote_secrets.as_ref());
        for secret in secrets.into_iter().flatten() {
            let name = secret["metadata"]["name"].as_str().unwrap_or_default();
            let clusters = remote_secret::clusters(secret);
            for cluster in clusters.into_iter().filter(|cluster| !known.contains(cluster)) {
                let (context, namespace) = (site.context(), site.namespace());
                let text = format!(
                    "`{context}`: the Secret {namespace}/{name} links it with a cluster `{cluster}`, \
                     which the topology does not have"
                );
                let (level, check) = (Level::Note, Check::RemoteSecret);
                let finding = Finding::new(level, check, Some(context), text);
                findings.push(finding.hint(format!(
                    "if nobody needs it: `kubectl{} -n {namespace} delete secret {name}`",
                    site.same_cluster()
                )));
            }
        }
    }
    findings
}

fn selection(left_out: &[String]) -> Option<Finding> {
    if left_out.is_empty() {
        return None;
    }
    let names: Vec<&str> = left_out.iter().take(5).map(String::as_str).collect();
    let more = left_out.len() - names.len();
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let (verb, them) = if left_out.len() == 1 { ("was", "it") } else { ("were", "them") };
    let text =
        format!("{}{more} {verb} left out, and so were the links with {them}", quoted(&names));
    Some(Finding::new(Level::Note, Check::Selection, None, text))
}

fn quoted(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
