//! The status of a mesh as a screen, as JSON and as YAML.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::list::flow;
use super::table::{remark, shorten, table as lay_out, width};
use super::{Tone, count, document};
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

/// The screen; `wide` adds columns, and who reads whom. Otherwise a terminal of `columns` gets a table
/// that fits, if one can be had by telling once what is the same in all rows.
pub fn table(status: &MeshStatus, wide: bool, columns: Option<usize>) -> String {
    let mut headings = HEADINGS.to_vec();
    if wide {
        headings.extend(WIDE_HEADINGS);
    }
    let mut rows: Vec<_> = status.clusters.iter().map(|cluster| row(cluster, wide)).collect();
    let mut screen = headline(status);
    if let Some(columns) = columns.filter(|_| !wide) {
        let shared = narrow(&mut headings, &mut rows, columns);
        if !shared.is_empty() {
            let _ = writeln!(screen, "all clusters: {}", shared.join(", "));
        }
    }
    screen.push('\n');
    screen += &lay_out(&headings, rows);
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
            for finding in findings {
                remark(&mut screen, &finding.message, &finding.hints);
            }
        }
    }
    screen
}

/// The status as a JSON document.
pub fn json(status: &MeshStatus) -> Result<String, Failure> {
    document::json("the status", status)
}

/// The status as a YAML document.
pub fn yaml(status: &MeshStatus) -> Result<String, Failure> {
    document::yaml("the status", status)
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
    let networks: BTreeSet<&str> =
        status.clusters.iter().map(|cluster| cluster.network.as_str()).collect();
    let (clusters, networks) = (summary.clusters, networks.len());
    let mut facts =
        vec![format!("{} on {}", count(clusters, "cluster"), count(networks, "network"))];
    if summary.links.expected > 0 {
        facts.push(format!("{} of {} links up", summary.links.up, summary.links.expected));
    }
    if let Some(root) = &status.root {
        let print: String = root.fingerprint.chars().take(16).collect();
        facts.push(format!("root CA {print}, {} days left", root.days_left));
    }
    let mesh = Tone::Strong.paint(&format!("MESH {}", status.mesh_id));
    let mut text = format!("{mesh}  {verdict}{counts}\n");
    let all = facts.join("; ");
    flow(&mut text, "", 2, all.split(' '));
    text
}

/// Takes out columns that are the same in all rows, or as the context, until the table fits. Gives what
/// they said.
fn narrow(headings: &mut Vec<&str>, rows: &mut [Vec<String>], columns: usize) -> Vec<String> {
    let mut shared = Vec::new();
    for (heading, name) in [("CLUSTER", ""), ("KUBERNETES", "Kubernetes"), ("ISTIO", "Istio")] {
        let Some(index) = headings.iter().position(|it| *it == heading) else { continue };
        let same = match (name, rows.first()) {
            (_, None) => false,
            ("", Some(_)) => rows.iter().all(|row| row[index] == row[0]),
            (_, Some(first)) => rows.iter().all(|row| row[index] == first[index]),
        };
        if same && width(headings, rows) > columns {
            if !name.is_empty() {
                shared.push(format!("{name} {}", rows[0][index]));
            }
            headings.remove(index);
            for row in rows.iter_mut() {
                row.remove(index);
            }
        }
    }
    for heading in ["CLUSTER", "CONTEXT"] {
        shorten(headings, rows, heading, columns);
    }
    shared
}

fn row(cluster: &ClusterStatus, wide: bool) -> Vec<String> {
    let text = |value: Option<&String>| value.map_or_else(|| NOTHING.to_owned(), String::clone);
    let kubernetes = match cluster.state {
        ClusterState::Unreachable => "unreachable".to_owned(),
        ClusterState::OtherCluster => "other cluster".to_owned(),
        ClusterState::Member | ClusterState::NotApplied => text(cluster.kubernetes.as_ref()),
    };
    let istiod = match &cluster.istiod {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::status::{
        API_VERSION, Check, Istiod, KIND, ReplicaStatus, Summary, Tally, TokenState,
    };

    fn cluster(context: &str, network: &str) -> ClusterStatus {
        ClusterStatus {
            context: context.into(),
            cluster: context.trim_start_matches("context-").into(),
            network: network.into(),
            namespace: "istio-system".into(),
            server: format!("https://{context}:6443"),
            control_plane: "managed".into(),
            state: ClusterState::Member,
            reason: None,
            uid: Some("0123".into()),
            kubernetes: Some("v1.36.3".into()),
            istio: Some("1.31.0".into()),
            istiod: Some(Istiod {
                ready: 2,
                wanted: 2,
                replicas: vec![ReplicaStatus {
                    pod: "istiod-a".into(),
                    version: Some("1.31.0".into()),
                    ca_not_after: None,
                }],
            }),
            gateway: Some(Gateway {
                addresses: vec!["a.elb".into(), "b.elb".into()],
                ready: 1,
                wanted: 1,
                missing: None,
            }),
            trust: Trust {
                state: TrustState::Ok,
                root: Some("ab".repeat(32)),
                not_after: Some("2028-05-01T12:00:00Z".parse().unwrap()),
                days_left: Some(730),
            },
            links: Tally { up: 0, expected: 1 },
        }
    }

    fn link(from: &str, to: &str, state: LinkState, reason: Option<&str>) -> LinkStatus {
        LinkStatus {
            from: from.into(),
            to: to.into(),
            state,
            reason: reason.map(str::to_owned),
            istiod: None,
            secret: None,
            token: TokenState::Unchecked,
        }
    }

    /// One cluster that is well but for a link, and one that does not answer.
    fn status() -> MeshStatus {
        let mut away = cluster("context-west", "network-west");
        away.state = ClusterState::Unreachable;
        (away.kubernetes, away.istio, away.istiod, away.gateway) = (None, None, None, None);
        away.trust =
            Trust { state: TrustState::Unknown, root: None, not_after: None, days_left: None };
        MeshStatus {
            api_version: API_VERSION,
            kind: KIND,
            observed_at: "2026-05-01T12:00:00Z".parse().unwrap(),
            mesh_id: "shop".into(),
            verdict: Verdict::Degraded,
            summary: Summary {
                clusters: 2,
                reachable: 1,
                control_planes_ready: 1,
                links: Tally { up: 0, expected: 2 },
                problems: 1,
                warnings: 0,
            },
            root: None,
            networks: vec!["network-east".into(), "network-west".into()],
            clusters: vec![cluster("context-east", "network-east"), away],
            links: vec![
                link("context-east", "context-west", LinkState::Down, Some("token refused")),
                link("context-west", "context-east", LinkState::Unknown, None),
            ],
            left_out: Vec::new(),
            findings: vec![Finding {
                level: Level::Problem,
                check: Check::Reachable,
                context: Some("context-west".into()),
                message: "`context-west`: no answer".into(),
                hints: vec!["look".into()],
            }],
        }
    }

    /// What a terminal without colours shows.
    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn the_screen_has_a_verdict_a_row_a_cluster_and_what_is_wrong() {
        assert_eq!(
            plain(&table(&status(), false, None)),
            "\
MESH shop  DEGRADED: 1 problem
2 clusters on 2 networks; 0 of 2 links up

CONTEXT       CLUSTER  NETWORK       KUBERNETES   ISTIO   ISTIOD  GATEWAY     TRUST    LINKS
context-east  east     network-east  v1.36.3      1.31.0  2/2     a.elb (+1)  ok 730d  0/1
context-west  west     network-west  unreachable  -       -       -           -        0/1

problems:
  `context-west`: no answer
    hint: look
"
        );
    }

    #[test]
    fn a_narrow_terminal_is_told_once_what_all_rows_say() {
        let mut status = status();
        status.clusters[1] = cluster("context-west", "network-west");
        status.clusters.iter_mut().for_each(|one| one.cluster.clone_from(&one.context));
        status.findings.clear();
        let screen = |columns| plain(&table(&status, false, columns));
        assert_eq!(
            screen(Some(80)),
            "\
MESH shop  DEGRADED: 1 problem
2 clusters on 2 networks; 0 of 2 links up
all clusters: Kubernetes v1.36.3

CONTEXT       NETWORK       ISTIO   ISTIOD  GATEWAY     TRUST    LINKS
context-east  network-east  1.31.0  2/2     a.elb (+1)  ok 730d  0/1
context-west  network-west  1.31.0  2/2     a.elb (+1)  ok 730d  0/1
"
        );
        assert_eq!(screen(Some(200)), screen(None), "there is room for everything");
        status.clusters[1].kubernetes = Some("v1.35.0".into());
        status.clusters[1].cluster = "west".into();
        let narrow = plain(&table(&status, false, Some(20)));
        assert!(narrow.contains("CLUSTER") && narrow.contains("v1.35.0"), "{narrow}");
    }

    #[test]
    fn wide_tells_who_reads_whom() {
        let screen = plain(&table(&status(), true, Some(80)));
        assert!(screen.contains("istiod-a (1.31.0)"), "{screen}");
        assert!(
            screen.contains(
                "\
LINKS (row reads column)  east  west
east                      .     x token refused
west                      ?     .
"
            ),
            "{screen}"
        );
    }

    #[test]
    fn json_and_yaml_are_one_document() {
        let json: serde_json::Value = serde_json::from_str(&json(&status()).unwrap()).unwrap();
        let yaml: serde_json::Value = serde_saphyr::from_str(&yaml(&status()).unwrap()).unwrap();
        assert_eq!(json, yaml);
        assert_eq!(json["apiVersion"], "multimesh/v1");
        assert_eq!(json["kind"], "MeshStatus");
        assert_eq!(json["verdict"], "degraded");
        assert_eq!(json["clusters"][1]["state"], "unreachable");
        assert_eq!(json["clusters"][0]["trust"]["notAfter"], "2028-05-01T12:00:00Z");
        assert_eq!(json["links"][0]["token"], "unchecked");
        assert_eq!(json["findings"][0]["check"], "reachable");
    }
}
