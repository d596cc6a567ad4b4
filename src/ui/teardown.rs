//! What a teardown is about to do, and what it has done.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Tone, count};
use crate::plan::object::Key;
use crate::plan::removal::{Ground, Reason, Removal, Stage, Stay};

/// Columns of a list of kinds.
const WIDTH: usize = 90;
/// Objects of the user that are shown.
const OBJECTS: usize = 5;

/// One cluster in the preview.
pub struct Cluster<'a> {
    /// The kubeconfig context.
    pub context: &'a str,
    /// The API server.
    pub server: &'a str,
    /// The namespace of its control plane.
    pub namespace: &'a str,
    /// What goes and what stays.
    pub removal: &'a Removal,
}

/// A cluster that stays in the mesh, in the preview.
pub struct Peer<'a> {
    /// The kubeconfig context.
    pub context: &'a str,
    /// The API server.
    pub server: &'a str,
    /// The remote secrets that it loses, with the clusters that they are for.
    pub links: Vec<(Key, String)>,
}

/// The preview of a teardown.
pub fn preview(mesh_id: &str, clusters: &[Cluster<'_>], peers: &[Peer<'_>]) -> String {
    let what = format!("mesh {mesh_id}: teardown of {}", count(clusters.len(), "cluster"));
    let mut text = format!("{}\n", Tone::Strong.paint(&what));
    for cluster in clusters {
        heading(&mut text, cluster.context, cluster.server);
        goes(&mut text, cluster.namespace, cluster.removal);
        text.push_str(&stays(&cluster.removal.stays, "  "));
        orphans(&mut text, &cluster.removal.orphans);
    }
    for peer in peers {
        heading(&mut text, peer.context, peer.server);
        line(&mut text, "  stays in the mesh and loses");
        for (key, clusters) in &peer.links {
            line(&mut text, &format!("    {key}, the link to {clusters}"));
        }
    }
    text
}

/// What stays in a cluster and why, a line an object.
pub fn stays(stays: &[Stay], indent: &str) -> String {
    let mut text = String::new();
    if stays.is_empty() {
        return text;
    }
    line(&mut text, &format!("{indent}{}", Tone::Warning.paint("stays")));
    for Stay { key, reason } in stays {
        line(&mut text, &format!("{indent}  {key}: {}", why(reason)));
    }
    text
}

fn heading(text: &mut String, context: &str, server: &str) {
    line(text, "");
    line(text, &format!("{}  {server}", Tone::Strong.paint(context)));
}

fn goes(text: &mut String, namespace: &str, removal: &Removal) {
    if removal.is_nothing() {
        line(text, "  nothing to delete");
        return;
    }
    let deletes = format!("deletes {}", count(removal.count(), "object"));
    line(text, &format!("  {}", Tone::Bad.paint(&deletes)));
    match removal.ground {
        Ground::Clean => {}
        Ground::Delete => line(text, &format!("    Namespace {namespace}")),
        Ground::Release => {
            line(text, &format!("    and the mesh's labels on the Namespace {namespace}"));
        }
    }
    let of = |stage| removal.targets.iter().filter(move |target| target.stage == stage);
    let (running, other): (Vec<_>, Vec<_>) = removal
        .targets
        .iter()
        .filter(|target| target.stage != Stage::Leftovers)
        .map(|target| &target.key)
        .partition(|key| key.group == "apps");
    let running: Vec<String> = running.into_iter().map(ToString::to_string).collect();
    wrapped(text, &running);
    wrapped(text, &by_kind(other.into_iter()));
    let mut left = by_kind(of(Stage::Leftovers).map(|target| &target.key));
    if let Some(first) = left.first_mut() {
        first.insert_str(0, "made by istiod: ");
    }
    wrapped(text, &left);
}

/// How many there are of each kind, in the order of deletion.
fn by_kind<'a>(keys: impl Iterator<Item = &'a Key>) -> Vec<String> {
    let mut kinds: Vec<(&str, usize)> = Vec::new();
    for key in keys {
        match kinds.iter_mut().find(|(kind, _)| *kind == key.kind) {
            Some((_, count)) => *count += 1,
            None => kinds.push((&key.kind, 1)),
        }
    }
    kinds.into_iter().map(|(kind, n)| format!("{n} {}", plural(kind, n))).collect()
}

fn plural(kind: &str, n: usize) -> String {
    match kind.strip_suffix('y') {
        _ if n == 1 => kind.to_owned(),
        Some(stem) if !kind.ends_with("ay") => format!("{stem}ies"),
        _ if kind.ends_with('s') => format!("{kind}es"),
        _ => format!("{kind}s"),
    }
}

/// The items separated by commas, on lines of a readable length.
fn wrapped(text: &mut String, items: &[String]) {
    let mut current = String::new();
    for (n, item) in items.iter().enumerate() {
        let comma = if n + 1 < items.len() { "," } else { "" };
        if !current.is_empty() && current.len() + item.len() > WIDTH {
            line(text, &format!("    {current}"));
            current.clear();
        }
        let space = if current.is_empty() { "" } else { " " };
        current.extend([space, item, comma]);
    }
    if !current.is_empty() {
        line(text, &format!("    {current}"));
    }
}

fn why(reason: &Reason) -> String {
    match reason {
        Reason::InUse(objects) => {
            format!("needed by {} of yours: {}", count(objects.len(), "object"), keys(objects))
        }
        Reason::OtherIstio(istiod) => {
            format!("the Istio that somebody else installed ({istiod}) works with it")
        }
        Reason::Holds(objects) => {
            format!(
                "it holds {} that the mesh did not make: {}",
                count(objects.len(), "object"),
                keys(objects)
            )
        }
        Reason::Foreign => "it was not made by the mesh".to_owned(),
        Reason::Unknown(groups) => {
            format!("what it holds cannot be told, as these do not answer: {}", groups.join(", "))
        }
    }
}

fn orphans(text: &mut String, orphans: &BTreeMap<String, usize>) {
    if orphans.is_empty() {
        return;
    }
    let pods = count(orphans.values().sum(), "pod");
    let namespaces: Vec<String> = orphans.iter().map(|(ns, n)| format!("{ns} ({n})")).collect();
    let lose = format!(
        "{pods} with a sidecar: no control plane any more, until they are re-created without one"
    );
    line(text, &format!("  {}", Tone::Warning.paint(&lose)));
    line(text, &format!("    {}", namespaces.join(", ")));
}

fn keys(keys: &[Key]) -> String {
    let names: Vec<String> = keys.iter().map(ToString::to_string).collect();
    let shown = &names[..names.len().min(OBJECTS)];
    let more = names.len() - shown.len();
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", shown.join(", "))
}

fn line(text: &mut String, content: &str) {
    let written = writeln!(text, "{content}");
    debug_assert!(written.is_ok(), "a String takes all that is written to it");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::removal::Target;
    use serde_json::json;

    fn target(stage: Stage, kind: &str, name: &str) -> Target {
        Target::new(
            stage,
            &json!({ "apiVersion": "v1", "kind": kind,
                "metadata": { "name": name, "namespace": "n", "uid": "u" } }),
        )
    }

    fn key(kind: &str, name: &str) -> Key {
        target(Stage::Foundation, kind, name).key
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn the_preview_names_cluster_server_and_what_goes() {
        let removal = Removal {
            targets: vec![
                target(Stage::Foundation, "ConfigMap", "a"),
                target(Stage::Foundation, "ConfigMap", "b"),
                target(Stage::Foundation, "ConfigMap", "c"),
                target(Stage::Foundation, "Secret", "d"),
                target(Stage::Leftovers, "ConfigMap", "istio-ca-root-cert"),
            ],
            ground: Ground::Delete,
            parent: true,
            stays: Vec::new(),
            orphans: BTreeMap::from([("demo".into(), 2), ("shop".into(), 1)]),
        };
        let cluster = Cluster {
            context: "east",
            server: "https://10.0.0.1:6443",
            namespace: "n",
            removal: &removal,
        };
        let peer = Peer {
            context: "west",
            server: "https://10.0.0.2:6443",
            links: vec![(key("Secret", "istio-remote-secret-east"), "east".into())],
        };
        assert_eq!(
            plain(&preview("m1", &[cluster], &[peer])),
            "mesh m1: teardown of 1 cluster\n\
             \n\
             east  https://10.0.0.1:6443\n  \
               deletes 7 objects\n    \
                 Namespace n\n    \
                 3 ConfigMaps, 1 Secret\n    \
                 made by istiod: 1 ConfigMap\n  \
               3 pods with a sidecar: no control plane any more, until they are re-created without one\n    \
                 demo (2), shop (1)\n\
             \n\
             west  https://10.0.0.2:6443\n  \
               stays in the mesh and loses\n    \
                 Secret n/istio-remote-secret-east, the link to east\n"
        );
    }

    #[test]
    fn kinds_have_their_plurals() {
        let plurals = ["Gateway", "NetworkPolicy", "IngressClass", "Role"].map(|k| plural(k, 2));
        assert_eq!(plurals, ["Gateways", "NetworkPolicies", "IngressClasses", "Roles"]);
        assert_eq!(plural("NetworkPolicy", 1), "NetworkPolicy");
    }

    #[test]
    fn what_stays_is_told_with_the_reason() {
        let stay = |reason| Stay { key: key("Thing", "x"), reason };
        let text = stays(
            &[
                stay(Reason::InUse(vec![key("VirtualService", "reviews")])),
                stay(Reason::Holds(vec![key("Secret", "theirs"), key("ConfigMap", "theirs")])),
                stay(Reason::Foreign),
                stay(Reason::OtherIstio(key("Deployment", "istiod"))),
                stay(Reason::Unknown(vec!["metrics.k8s.io/v1beta1".into()])),
            ],
            "",
        );
        let text = plain(&text);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "  Thing n/x: needed by 1 object of yours: VirtualService n/reviews");
        assert!(lines[2].contains("2 objects that the mesh did not make"), "{text}");
        assert_eq!(lines.len(), 6);
    }
}
