//! The status of a mesh as a screen, as JSON and as YAML.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::table::table as lay_out;
use super::{Tone, count};
use crate::engine::status::{
    ClusterState, ClusterStatus, Finding, Gateway, Level, LinkState, LinkStatus, MeshStatus, Trust,
    TrustState, Verdict,
};
use crate::error::Failure;

/// What stands for something that is not there, or not known.
const NOTHING: &str = "-";
const HEADINGS: [&str; 9] =
    ["CONTEXT", "CLUSTER", "NETWORK", "KUBERNETES", "ISTIO", "ISTIOD", "GATEWAY", "TRUST", "LINKS"];
const WIDE_HEADINGS: [&str; 5] = ["SERVER", "UID", "ROOT", "CA ENDS", "ISTIOD PODS"];

/// The screen; `wide` adds columns, and who reads whom.
pub fn table(status: &MeshStatus, wide: bool) -> String {
    let mut screen = headline(status);
    screen.push('\n');
    let mut headings = HEADINGS.to_vec();
    if wide {
        headings.extend(WIDE_HEADINGS);
    }
    screen += &lay_out(&headings, status.clusters.iter().map(|cluster| row(cluster, wide)));
    if wide && !status.links.is_empty() {
        screen.push('\n');
        screen += &matrix(status);
    }
    for (level, title, tone) in [
        (Level::Problem, "problems", Tone::Bad),
        (Level::Warning, "warnings", Tone::Warning),
        (Level::Note, "notes", Tone::Strong),
    ] {
        let findings: Vec<&Finding> =
            status.findings.iter().filter(|finding| finding.level == level).collect();
        if !findings.is_empty() {
            let _ = write!(screen, "\n{}:\n", tone.paint(title));
            findings.into_iter().for_each(|finding| tell(&mut screen, finding));
        }
    }
    screen
}

/// The status as a JSON document.
pub fn json(status: &MeshStatus) -> Result<String, Failure> {
    serde_json::to_string_pretty(status).map_err(|e| unprintable(&e))
}

/// The status as a YAML document.
pub fn yaml(status: &MeshStatus) -> Result<String, Failure> {
    serde_saphyr::to_string(status).map_err(|e| unprintable(&e))
}

fn unprintable(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("the status cannot be printed in this form: {error}"))
}

fn tell(screen: &mut String, finding: &Finding) {
    let _ = writeln!(screen, "  {}", finding.message);
    for hint in &finding.hints {
        let _ = writeln!(screen, "    hint: {hint}");
    }
}

fn headline(status: &MeshStatus) -> String {
    let summary = &status.summary;
    let verdict = match status.verdict {
        Verdict::Healthy => Tone::Good.paint("HEALTHY"),
        Verdict::Degraded => Tone::Bad.paint("DEGRADED"),
    };
    let mut counts = Vec::new();
    for (n, noun) in [(summary.problems, "problem"), (summary.warnings, "warning")] {
        if n > 0 {
            counts.push(count(n, noun));
        }
    }
    let counts = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
    let mut facts = vec![format!(
        "{} on {}",
        count(summary.clusters, "cluster"),
        count(status.networks.len(), "network")
    )];
    if summary.links.expected > 0 {
        facts.push(format!("{} of {} links up", summary.links.up, summary.links.expected));
    }
    if let Some(root) = &status.root {
        let print: String = root.fingerprint.chars().take(16).collect();
        facts.push(format!("root CA {print}, {} days left", root.days_left));
    }
    let mesh = Tone::Strong.paint(&format!("MESH {}", status.mesh_id));
    format!("{mesh}  {verdict}{counts}\n{}\n", facts.join("; "))
}

fn row(cluster: &ClusterStatus, wide: bool) -> Vec<String> {
    let text = |value: Option<&String>| value.map_or_else(|| NOTHING.to_owned(), String::clone);
    let away = cluster.state == ClusterState::Unreachable;
    let kubernetes =
        if away { "unreachable".to_owned() } else { text(cluster.kubernetes.as_ref()) };
    let istiod = match &cluster.istiod {
        Some(istiod) if istiod.wanted == 0 => "none".to_owned(),
        Some(istiod) => format!("{}/{}", istiod.ready, istiod.wanted),
        None => NOTHING.to_owned(),
    };
    let trust = if cluster.state == ClusterState::NotApplied {
        "not applied".to_owned()
    } else {
        trust(&cluster.trust)
    };
    let links = match cluster.links.expected {
        0 => NOTHING.to_owned(),
        expected => format!("{}/{expected}", cluster.links.up),
    };
    let mut row = vec![
        cluster.context.clone(),
        cluster.cluster.clone(),
        cluster.network.clone(),
        kubernetes,
        text(cluster.istio.as_ref()),
        istiod,
        cluster.gateway.as_ref().map_or_else(|| NOTHING.to_owned(), gateway),
        trust,
        links,
    ];
    if wide {
        let print = |print: &String| print.chars().take(16).collect::<String>();
        let pods =
            cluster.istiod.iter().flat_map(|istiod| &istiod.replicas).map(|replica| match &replica
                .version
            {
                Some(version) => format!("{} ({version})", replica.pod),
                None => replica.pod.clone(),
            });
        let pods: Vec<String> = pods.collect();
        row.extend([
            cluster.server.clone(),
            text(cluster.uid.as_ref()),
            text(cluster.trust.root.as_ref().map(print).as_ref()),
            text(cluster.trust.not_after.map(|end| end.to_string()).as_ref()),
            if pods.is_empty() { NOTHING.to_owned() } else { pods.join(", ") },
        ]);
    }
    row
}

fn gateway(gateway: &Gateway) -> String {
    let address = match gateway.addresses.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        [first, rest @ ..] => Some(format!("{first} (+{})", rest.len())),
    };
    match (address, &gateway.missing) {
        (Some(address), None) => address,
        (Some(address), Some(missing)) => format!("{address} ({missing})"),
        (None, Some(missing)) => missing.clone(),
        (None, None) => NOTHING.to_owned(),
    }
}

fn trust(trust: &Trust) -> String {
    let word = match trust.state {
        TrustState::Ok => "ok",
        TrustState::NoCacerts => "no cacerts",
        TrustState::OtherRoot => "other root",
        TrustState::Expired => "expired",
        TrustState::NotUsable => "not usable",
        TrustState::NotLoaded => "not loaded",
        TrustState::Unknown => NOTHING,
    };
    match (trust.state, trust.days_left) {
        (TrustState::Ok, Some(days)) => format!("{word} {days}d"),
        _ => word.to_owned(),
    }
}

/// Who reads whom: row reads column, by their cluster names.
fn matrix(status: &MeshStatus) -> String {
    let by_pair: BTreeMap<(&str, &str), &LinkStatus> =
        status.links.iter().map(|link| ((link.from.as_str(), link.to.as_str()), link)).collect();
    let mut headings = vec!["LINKS (row reads column)"];
    headings.extend(status.clusters.iter().map(|cluster| cluster.cluster.as_str()));
    let rows = status.clusters.iter().map(|from| {
        let mut row = vec![from.cluster.clone()];
        row.extend(status.clusters.iter().map(|to| {
            let link = by_pair.get(&(from.context.as_str(), to.context.as_str()));
            link.map_or_else(|| ".".to_owned(), |link| cell(link))
        }));
        row
    });
    lay_out(&headings, rows)
}

fn cell(link: &LinkStatus) -> String {
    let reason = link.reason.as_deref().unwrap_or_default();
    match link.state {
        LinkState::Up => "ok".to_owned(),
        LinkState::Down => format!("x {reason}"),
        LinkState::Unknown => "?".to_owned(),
    }
}
