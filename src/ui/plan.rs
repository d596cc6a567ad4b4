//! What an apply would do, as a screen, as diffs, as JSON and as YAML.

use super::count;
use crate::error::Failure;
use crate::plan::diff::{Extent, diff as changes};
use crate::plan::document::MeshPlan;
use crate::plan::outline::{Outline, Standing};
use crate::plan::tally::Tally;

/// The whole mesh on a screen.
pub fn table(outline: &Outline) -> String {
    format!("{}\n", summary(outline))
}

/// The differences of every object that changes, cluster by cluster. Long objects that come or go
/// are a line.
pub fn diff(outline: &Outline) -> String {
    differences(outline, Extent::Folded)
}

/// The same with all lines of all objects.
pub fn whole_diff(outline: &Outline) -> String {
    differences(outline, Extent::Whole)
}

/// The plan as a JSON document.
pub fn json(outline: &Outline) -> Result<String, Failure> {
    serde_json::to_string_pretty(&MeshPlan::of(outline)).map_err(|e| unprintable(&e))
}

/// The plan as a YAML document.
pub fn yaml(outline: &Outline) -> Result<String, Failure> {
    serde_saphyr::to_string(&MeshPlan::of(outline)).map_err(|e| unprintable(&e))
}

fn unprintable(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("the plan cannot be printed in this form: {error}"))
}

/// The whole mesh in a line.
pub fn summary(outline: &Outline) -> String {
    let tally = Tally::of(outline);
    let clusters = tally.clusters;
    if outline.is_nothing() {
        let mesh = format!("mesh {}: no changes", outline.mesh_id);
        let known = clusters.total - clusters.unknown;
        return match (known, clusters.unknown) {
            (_, 0) => format!("{mesh}; {} as the topology says", are(known, "cluster")),
            (0, unknown) => {
                format!("{mesh} known; {} could not be looked at", count(unknown, "cluster"))
            }
            (known, unknown) => format!(
                "{mesh}; {} as the topology says, {} could not be looked at",
                are(known, "cluster"),
                count(unknown, "cluster")
            ),
        };
    }
    let Tally { objects, links, certificates, .. } = tally;
    let whole = [
        to_do("cluster", &[(clusters.change, "change"), (clusters.leave, "leave")]),
        to_do(
            "object",
            &[
                (objects.create, "create"),
                (objects.update, "update"),
                (objects.adopt, "adopt"),
                (objects.prune, "prune"),
                (tally.deletes, "delete"),
            ],
        ),
    ];
    let mut parts = vec![whole.into_iter().flatten().collect::<Vec<_>>().join(", ")];
    parts.extend(outline.new_root.is_some().then(|| "1 root CA to make".to_owned()));
    parts.extend(to_do(
        "intermediate CA",
        &[
            (certificates.issue, "issue"),
            (certificates.renew, "renew"),
            (certificates.store, "store"),
        ],
    ));
    parts.extend(to_do(
        "link",
        &[(links.add, "add"), (links.update, "update"), (links.drop, "drop")],
    ));
    if tally.refused > 0 {
        parts.push(format!("{} would be refused", count(tally.refused, "object")));
    }
    if clusters.unknown > 0 {
        parts.push(format!("{} could not be looked at", count(clusters.unknown, "cluster")));
    }
    parts.retain(|part| !part.is_empty());
    format!("plan: {}", parts.join("; "))
}

/// `2 objects to create, 1 to prune`.
fn to_do(noun: &str, verbs: &[(usize, &str)]) -> Option<String> {
    let mut verbs = verbs.iter().filter(|(n, _)| *n > 0);
    let (n, verb) = verbs.next()?;
    let first = format!("{} to {verb}", count(*n, noun));
    Some(verbs.fold(first, |text, (n, verb)| format!("{text}, {n} to {verb}")))
}

fn are(n: usize, noun: &str) -> String {
    format!("{} {}", count(n, noun), if n == 1 { "is" } else { "are" })
}

fn differences(outline: &Outline, extent: Extent) -> String {
    let mut text = String::new();
    for cluster in &outline.clusters {
        let Standing::Member(member) = &cluster.standing else { continue };
        for object in &member.objects {
            text += &format!("{}\n{}\n", object.key, changes(object, extent));
        }
    }
    text
}
