//! What a running istiod tells of itself: its metrics, and its list of remote clusters.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The label by which istiod's Deployments and pods are found.
pub const SELECTOR: &str = "app=istiod";
/// The container of istiod in its pod.
pub const CONTAINER: &str = "discovery";
/// The port of istiod's metrics (istio: `pilot/cmd/pilot-discovery/app/cmd.go`, `--monitoringAddr`).
pub const METRICS_PORT: u16 = 15014;
/// The command in istiod's container that lists its remote clusters as JSON.
pub const CLUSTERZ: [&str; 4] = ["pilot-discovery", "request", "GET", "/debug/clusterz"];

/// What istiod says of a remote cluster (istio: `pkg/kube/multicluster/cluster.go`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum SyncStatus {
    /// It has read the cluster, and watches it as far as it knows.
    Synced,
    /// It reads the cluster for the first time.
    Syncing,
    /// It gave up waiting for the first read; it goes on trying.
    Timeout,
    /// It stopped watching. The metric says so for good once a remote secret was updated.
    Closed,
    /// It does not know the cluster: there is no remote secret, or it did not accept it.
    Absent,
    /// A word that is not known here.
    Other,
}

impl SyncStatus {
    fn parse(text: &str) -> Self {
        match text {
            "synced" => Self::Synced,
            "syncing" => Self::Syncing,
            "timeout" => Self::Timeout,
            "closed" => Self::Closed,
            _ => Self::Other,
        }
    }
}

/// The state of remote clusters by their names.
pub type RemoteClusters = BTreeMap<String, SyncStatus>;

/// What is of interest among istiod's metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics {
    /// The version that istiod was built as.
    pub version: Option<String>,
    /// When the CA with which it signs ends, in seconds since 1970.
    pub ca_ends: Option<i64>,
    /// When the first of the roots that it hands out ends, in seconds since 1970.
    pub root_ends: Option<i64>,
    /// Its remote clusters; from Istio 1.29 on.
    pub clusters: RemoteClusters,
}

/// Reads metrics in the text format of Prometheus; lines of no interest are passed over.
pub fn metrics(text: &str) -> Metrics {
    let mut metrics = Metrics::default();
    let wanted = |line: &&str| {
        ["istio_build", "citadel_server_", "istiod_remote_cluster_sync_status"]
            .iter()
            .any(|name| line.starts_with(name))
    };
    for Sample { name, labels, value } in text.lines().filter(wanted).filter_map(sample) {
        match name {
            "istio_build" => metrics.version = labels.get("tag").cloned(),
            "citadel_server_cert_chain_expiry_timestamp" => metrics.ca_ends = seconds(value),
            "citadel_server_root_cert_expiry_timestamp" => metrics.root_ends = seconds(value),
            // One sample a cluster and state, 1 for the one that it is in.
            "istiod_remote_cluster_sync_status" if value > 0.0 => {
                if let (Some(cluster), Some(status)) = (labels.get("cluster"), labels.get("status"))
                {
                    metrics.clusters.insert(cluster.clone(), SyncStatus::parse(status));
                }
            }
            _ => {}
        }
    }
    metrics
}

/// Reads the answer to [`CLUSTERZ`], which has istiod's own cluster in it too; `None` if it is
/// something else.
pub fn clusterz(text: &str) -> Option<RemoteClusters> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Entry {
        id: String,
        sync_status: String,
    }
    let entries: Vec<Entry> = serde_json::from_str(text).ok()?;
    Some(entries.into_iter().map(|e| (e.id, SyncStatus::parse(&e.sync_status))).collect())
}

struct Sample<'a> {
    name: &'a str,
    labels: BTreeMap<&'a str, String>,
    value: f64,
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            rest = rest.trim_start_matches([',', ' ']);
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.insert(label, value);
            rest = after;
        }
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name, labels, value })
}

/// A label's value up to its closing quote, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

/// A moment of a metric; 0 stands for none.
#[expect(clippy::cast_possible_truncation, reason = "a time in seconds fits")]
fn seconds(value: f64) -> Option<i64> {
    (value.is_finite() && value > 0.0).then_some(value as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "\
# HELP istio_build Istio component build info
# TYPE istio_build gauge
istio_build{component=\"pilot\",tag=\"1.31.0\"} 1
citadel_server_cert_chain_expiry_seconds 6.30712444088132e+07
citadel_server_cert_chain_expiry_timestamp 1.858434988e+09
citadel_server_root_cert_expiry_timestamp 2.110722988e+09
istiod_remote_cluster_sync_status{cluster=\"east-2\",cluster_type=\"remote\",status=\"closed\"} 0
istiod_remote_cluster_sync_status{cluster=\"east-2\",cluster_type=\"remote\",status=\"synced\"} 1
istiod_remote_cluster_sync_status{cluster=\"east-2\",cluster_type=\"remote\",status=\"syncing\"} 0
istiod_remote_cluster_sync_status{cluster=\"west-1\",cluster_type=\"remote\",status=\"closed\"} 1
istiod_remote_cluster_sync_status{cluster=\"west-1\",cluster_type=\"remote\",status=\"synced\"} 0
istiod_remote_cluster_sync_status{cluster=\"gone\",cluster_type=\"remote\",status=\"synced\"} 0
istiod_uptime_seconds 9.5
";

    #[test]
    fn a_remote_cluster_is_in_the_state_that_is_one() {
        let metrics = metrics(METRICS);
        assert_eq!(metrics.version.as_deref(), Some("1.31.0"));
        assert_eq!(metrics.ca_ends, Some(1_858_434_988));
        assert_eq!(metrics.root_ends, Some(2_110_722_988));
        let expected = [("east-2", SyncStatus::Synced), ("west-1", SyncStatus::Closed)];
        let expected = expected.map(|(name, status)| (name.to_owned(), status));
        assert_eq!(metrics.clusters, BTreeMap::from(expected), "a deleted one has no state left");
    }

    #[test]
    fn damaged_metrics_tell_nothing() {
        for text in [
            "",
            "istio_build",
            "istio_build{tag=\"1",
            "istio_build{tag} 1",
            "istiod_remote_cluster_sync_status{cluster=\"a\"} 1",
            "citadel_server_root_cert_expiry_timestamp NaN",
            "citadel_server_root_cert_expiry_timestamp 0",
        ] {
            assert_eq!(metrics(text), Metrics::default(), "{text}");
        }
    }

    #[test]
    fn quotes_in_labels_are_read() {
        let sample = sample("m{a=\"x\\\"},y\\\\\",b=\"\"} 2 1700000000").unwrap();
        assert_eq!(sample.labels["a"], "x\"},y\\");
        assert_eq!((sample.labels["b"].as_str(), sample.value), ("", 2.0));
    }

    #[test]
    fn clusterz_lists_all_clusters() {
        let answer = r#"[{"id":"east-1","secretName":"","syncStatus":"synced"},
            {"id":"west-1","secretName":"istio-system/s","syncStatus":"timeout"}]"#;
        let clusters = clusterz(answer).unwrap();
        assert_eq!(clusters["east-1"], SyncStatus::Synced);
        assert_eq!(clusters["west-1"], SyncStatus::Timeout);
        assert_eq!(clusterz("not found"), None);
        assert_eq!(clusterz("{}"), None);
    }
}
