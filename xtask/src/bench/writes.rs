//! Whether anything was written, by the API servers' own count of their requests.
//!
//! Their counters do not tell who asked. What controllers and istiods write by themselves (leases,
//! elections) is known from a window of time in which nothing else happens: a counter that moves
//! in it is left out afterwards. Reviews of rights and tokens are asked by POST and write nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use multimesh_lab::Cluster;

use super::ground::Ground;
use super::measure::go_on;

/// Leases are renewed every ten seconds.
const QUIET: Duration = Duration::from_secs(12);
/// A write that happens by itself once in a while may fall into any window, but not into all.
const WINDOWS: usize = 3;
const VERBS: [&str; 6] = ["POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"];

/// Writes by cluster, verb and resource.
type Counts = BTreeMap<String, u64>;

/// Does something, and returns the writes that came with it each time.
pub(super) fn during(
    ground: &Ground<'_>,
    clusters: &[Cluster],
    work: impl Fn() -> Result<(), String>,
) -> Result<Vec<String>, String> {
    let mut before = count(ground, clusters)?;
    for _ in 0..QUIET.as_secs() {
        go_on()?;
        thread::sleep(Duration::from_secs(1));
    }
    let mut after = count(ground, clusters)?;
    let by_themselves = moved(&before, &after);
    let mut every_time: Option<BTreeSet<String>> = None;
    for _ in 0..WINDOWS {
        before = after;
        work()?;
        after = count(ground, clusters)?;
        let seen: BTreeSet<String> =
            moved(&before, &after).difference(&by_themselves).cloned().collect();
        every_time = Some(match every_time {
            Some(others) => others.intersection(&seen).cloned().collect(),
            None => seen,
        });
    }
    Ok(every_time.into_iter().flatten().collect())
}

fn moved(before: &Counts, after: &Counts) -> BTreeSet<String> {
    let grown = after.iter().filter(|(key, count)| before.get(*key) != Some(*count));
    grown.map(|(key, _)| key.clone()).collect()
}

fn count(ground: &Ground<'_>, clusters: &[Cluster]) -> Result<Counts, String> {
    let mut counts = Counts::new();
    for cluster in clusters {
        let metrics = ground.kubectl(cluster, &["get", "--raw", "/metrics"])?;
        let before = counts.len();
        for line in metrics.lines() {
            if let Some((key, count)) = write(line) {
                *counts.entry(format!("{} {key}", cluster.context)).or_default() += count;
            }
        }
        if counts.len() == before {
            return Err(format!("{}: the API server counts no writes at all", cluster.context));
        }
    }
    Ok(counts)
}

/// Reads a line of metrics that counts writes.
fn write(line: &str) -> Option<(String, u64)> {
    let (labels, count) = line.strip_prefix("apiserver_request_total{")?.rsplit_once("} ")?;
    let label = |name: &str| {
        let start = labels.find(&format!("{name}=\""))? + name.len() + 2;
        labels[start..].split('"').next()
    };
    let (verb, resource) = (label("verb")?, label("resource")?);
    if !VERBS.contains(&verb) || resource.ends_with("reviews") {
        return None;
    }
    let subresource = label("subresource").filter(|it| !it.is_empty());
    let subresource = subresource.map_or_else(String::new, |it| format!("/{it}"));
    let count: f64 = count.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    Some((format!("{verb} {resource}{subresource}"), count as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_writes_are_counted() {
        let line = |verb: &str, resource: &str| {
            format!(
                "apiserver_request_total{{code=\"200\",component=\"apiserver\",dry_run=\"\",\
                 group=\"\",resource=\"{resource}\",scope=\"resource\",subresource=\"status\",\
                 verb=\"{verb}\",version=\"v1\"}} 7"
            )
        };
        assert_eq!(write(&line("APPLY", "secrets")), Some(("APPLY secrets/status".into(), 7)));
        assert_eq!(write(&line("LIST", "secrets")), None);
        assert_eq!(write(&line("POST", "selfsubjectaccessreviews")), None);
        assert_eq!(write("# HELP apiserver_request_total Counter"), None);
    }
}
