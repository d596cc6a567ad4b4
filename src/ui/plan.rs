//! What an apply would do, as a screen, as diffs, as JSON and as YAML.

mod cluster;
mod summary;
#[cfg(test)]
mod tests;

pub use summary::summary;

use std::collections::BTreeSet;

use self::cluster::{Length, body, certificate, heading, item, look, words};
use super::list::{NAMED, first, flow};
use super::{Tone, count, document};
use crate::error::Failure;
use crate::plan::diff::{self, Diff, Extent};
use crate::plan::document::{MeshPlan, refusal};
use crate::plan::outline::{Changes, ClusterOutline, ObjectChange, Outline, Standing};

/// Clusters from which on those that change alike are told together.
const MANY: usize = 5;

/// The whole mesh on a screen.
pub fn table(outline: &Outline) -> String {
    let mut text = beginning(outline);
    let members = members(outline);
    for alike in alike(outline, &members) {
        let [cluster, ..] = alike.as_slice() else { continue };
        text.push('\n');
        if alike.len() == 1 {
            heading(&mut text, cluster);
        } else {
            together(&mut text, &alike);
        }
        body(&mut text, cluster, &members, Length::Short);
    }
    end(&mut text, outline);
    text
}

/// The differences of every object that changes, cluster by cluster. Long objects that come or go
/// are a line.
pub fn diff(outline: &Outline) -> String {
    diffs(outline, Extent::Folded)
}

/// The same with all lines of all objects.
pub fn whole_diff(outline: &Outline) -> String {
    diffs(outline, Extent::Whole)
}

/// The plan as a JSON document.
pub fn json(outline: &Outline) -> Result<String, Failure> {
    document::json("the plan", &MeshPlan::of(outline))
}

/// The plan as a YAML document.
pub fn yaml(outline: &Outline) -> Result<String, Failure> {
    document::yaml("the plan", &MeshPlan::of(outline))
}

/// What stands above the clusters; nothing where there is nothing to say of any.
fn beginning(outline: &Outline) -> String {
    let mut text = String::new();
    let quiet = outline.clusters.iter().all(|cluster| !is_told(cluster));
    if quiet && outline.new_root.is_none() {
        return text;
    }
    let clusters = count(outline.clusters.len(), "cluster");
    let what = format!("mesh {}: plan for {clusters}, Istio {}", outline.mesh_id, outline.istio);
    flow(&mut text, "", 2, [Tone::Strong.paint(&what)]);
    if let Some(subject) = &outline.new_root {
        item(&mut text, '+', Tone::Good, "make", words(&format!("the root CA {subject}")));
    }
    text
}

/// What stands below the clusters that change: those that do not, and the figures.
fn end(text: &mut String, outline: &Outline) {
    let told = !text.is_empty();
    let quiet: Vec<String> = outline
        .clusters
        .iter()
        .filter(|cluster| !is_told(cluster))
        .map(|cluster| cluster.context.clone())
        .collect();
    if told && !quiet.is_empty() {
        let clusters = format!("= no changes in {}:", count(quiet.len(), "cluster"));
        text.push('\n');
        flow(text, &clusters, 2, first(quiet, 2 * NAMED));
    }
    if told {
        text.push('\n');
    }
    let summary = summary(outline);
    let (first, rest) = summary.split_once(' ').unwrap_or((&summary, ""));
    flow(text, &Tone::Strong.paint(first), 2, words(rest));
}

/// Whether there is something to say of a cluster.
fn is_told(cluster: &ClusterOutline) -> bool {
    !cluster.is_nothing() || matches!(cluster.standing, Standing::Unknown { .. })
}

fn members(outline: &Outline) -> Vec<&str> {
    let stay = outline.clusters.iter().filter(|c| !matches!(c.standing, Standing::Leaver(_)));
    stay.map(|cluster| cluster.cluster.as_str()).collect()
}

/// The clusters of which there is something to say; in a large mesh, those that change alike
/// together.
fn alike<'a>(outline: &'a Outline, members: &[&str]) -> Vec<Vec<&'a ClusterOutline>> {
    let mut groups: Vec<(String, Vec<&ClusterOutline>)> = Vec::new();
    for cluster in outline.clusters.iter().filter(|cluster| is_told(cluster)) {
        let mut all = String::new();
        body(&mut all, cluster, members, Length::Full);
        let member = matches!(cluster.standing, Standing::Member(_));
        let known = groups.iter_mut().find(|(other, _)| *other == all);
        match known.filter(|_| member && outline.clusters.len() >= MANY) {
            Some((_, alike)) => alike.push(cluster),
            None => groups.push((all, vec![cluster])),
        }
    }
    groups.into_iter().map(|(_, alike)| alike).collect()
}

/// The heading of clusters that change alike.
fn together(text: &mut String, alike: &[&ClusterOutline]) {
    let contexts = alike.iter().map(|cluster| cluster.context.clone()).collect();
    let networks: BTreeSet<&str> = alike.iter().map(|cluster| cluster.network.as_str()).collect();
    let mut pieces = first(contexts, NAMED);
    let networks = if networks.len() == 1 {
        format!("(network {})", networks.into_iter().collect::<String>())
    } else {
        format!("(on {})", count(networks.len(), "network"))
    };
    pieces.extend(words(&networks));
    flow(text, &Tone::Strong.paint(&format!("{}:", count(alike.len(), "cluster"))), 4, pieces);
}

fn diffs(outline: &Outline, extent: Extent) -> String {
    let mut text = beginning(outline);
    let members = members(outline);
    for cluster in outline.clusters.iter().filter(|cluster| is_told(cluster)) {
        text.push('\n');
        heading(&mut text, cluster);
        match &cluster.standing {
            Standing::Member(changes) => {
                certificate(&mut text, changes);
                for object in &changes.objects {
                    difference(&mut text, changes, object, extent);
                }
            }
            Standing::Leaver(_) | Standing::Unknown { .. } => {
                body(&mut text, cluster, &members, Length::Short);
            }
        }
    }
    end(&mut text, outline);
    text
}

/// What changes in an object, under its name.
fn difference(text: &mut String, changes: &Changes, object: &ObjectChange, extent: Extent) {
    let (sign, tone, verb) = look(object.verb);
    let link = object.link.as_ref().map(|cluster| format!(", the link to {cluster}"));
    let name = format!("{} ({}){}", object.key, object.api_version, link.unwrap_or_default());
    let (name, lines) = match diff::diff(changes, object, extent) {
        Diff::Lines(lines) => (name, lines),
        note => (format!("{name}: {note}"), Vec::new()),
    };
    text.push('\n');
    flow(text, &tone.paint(&format!("{sign} {verb}")), 4, words(&name));
    if let Some(refusal) = refusal(object) {
        flow(text, &Tone::Bad.paint("! refused:"), 4, words(&refusal));
    }
    for line in lines {
        let tone = match line.as_bytes().first() {
            Some(b'+') => Tone::Good,
            Some(b'-') => Tone::Bad,
            Some(b'@') => Tone::Strong,
            _ => Tone::Plain,
        };
        text.push_str(&tone.paint(&line));
        text.push('\n');
    }
}
