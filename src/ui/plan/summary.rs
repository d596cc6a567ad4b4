//! A plan in one line.

use super::super::count;
use crate::plan::outline::Outline;
use crate::plan::tally::Tally;

/// The whole mesh in a line.
pub fn summary(outline: &Outline) -> String {
    let tally = Tally::of(outline);
    if outline.is_nothing() {
        return nothing(&outline.mesh_id, &tally);
    }
    let Tally { clusters, objects, links, certificates, deletes, refused } = tally;
    let clusters_and_objects = [
        to_do("cluster", &[(clusters.change, "change"), (clusters.leave, "leave")]),
        to_do(
            "object",
            &[
                (objects.create, "create"),
                (objects.update, "update"),
                (objects.adopt, "adopt"),
                (objects.prune, "prune"),
                (deletes, "delete"),
            ],
        ),
    ];
    let root = outline.new_root.is_some().then(|| "1 root CA to make".to_owned());
    let certificates = [
        (certificates.issue, "issue"),
        (certificates.renew, "renew"),
        (certificates.store, "store"),
    ];
    let links = [(links.add, "add"), (links.update, "update"), (links.drop, "drop")];
    let parts = [
        clusters_and_objects.into_iter().flatten().reduce(|a, b| format!("{a}, {b}")),
        root,
        to_do("intermediate CA", &certificates),
        to_do("link", &links),
        (refused > 0).then(|| format!("{} would be refused", count(refused, "object"))),
        (clusters.unknown > 0).then(|| not_planned(clusters.unknown)),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!("plan: {}", parts.join("; "))
}

fn nothing(mesh_id: &str, tally: &Tally) -> String {
    let unknown = tally.clusters.unknown;
    let known = tally.clusters.total - unknown;
    let are = if known == 1 { "is" } else { "are" };
    let known_are = format!("{} {are} as the topology says", count(known, "cluster"));
    match (known, unknown) {
        (_, 0) => format!("mesh {mesh_id}: no changes; {known_are}"),
        (0, unknown) => format!("mesh {mesh_id}: {}", not_planned(unknown)),
        (_, unknown) => format!("mesh {mesh_id}: {known_are}; {}", not_planned(unknown)),
    }
}

fn not_planned(clusters: usize) -> String {
    format!("{} cannot be planned", count(clusters, "cluster"))
}

/// `2 objects to create, 1 to prune`.
fn to_do(noun: &str, verbs: &[(usize, &str)]) -> Option<String> {
    let mut verbs = verbs.iter().filter(|(n, _)| *n > 0);
    let (n, verb) = verbs.next()?;
    let first = format!("{} to {verb}", count(*n, noun));
    Some(verbs.fold(first, |text, (n, verb)| format!("{text}, {n} to {verb}")))
}
