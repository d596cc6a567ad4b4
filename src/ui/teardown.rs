//! What a teardown is about to do, and what it has done.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::list::{by_kind, commas, first, flow};
use super::{Tone, count};
use crate::plan::object::Key;
use crate::plan::removal::{Ground, Reason, Removal, Stage, Stay};

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

/// The preview of a teardown. Clusters that lose the same are told together, each with its server.
pub fn preview(mesh_id: &str, clusters: &[Cluster<'_>], peers: &[Peer<'_>]) -> String {
    let what = format!("mesh {mesh_id}: teardown of {}", count(clusters.len(), "cluster"));
    let mut text = format!("{}\n", Tone::Strong.paint(&what));
    let mut alike: Vec<(String, Vec<&Cluster<'_>>)> = Vec::new();
    for cluster in clusters {
        let mut body = String::new();
        goes(&mut body, cluster.namespace, cluster.removal);
        body.push_str(&stays(&cluster.removal.stays, "  "));
        orphans(&mut body, &cluster.removal.orphans);
        match alike.iter_mut().find(|(known, _)| *known == body) {
            Some((_, clusters)) => clusters.push(cluster),
            None => alike.push((body, vec![cluster])),
        }
    }
    for (body, clusters) in alike {
        line(&mut text, "");
        for cluster in &clusters {
            heading(&mut text, cluster.context, cluster.server);
        }
        if clusters.len() > 1 {
            line(&mut text, "  in each of them:");
        }
        text.push_str(&body);
    }
    for peer in peers {
        line(&mut text, "");
        heading(&mut text, peer.context, peer.server);
        line(&mut text, "  stays in the mesh and loses");
        for (key, clusters) in &peer.links {
            let sentence = format!("{key}, the link to {clusters}");
            flow(&mut text, "    ", 6, sentence.split(' '));
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
        let sentence = format!("{key}: {}", why(reason));
        flow(&mut text, &format!("{indent}  "), indent.len() + 4, sentence.split(' '));
    }
    text
}

fn heading(text: &mut String, context: &str, server: &str) {
    line(text, &format!("{}  {server}", Tone::Strong.paint(context)));
}

/// What is deleted.
pub(super) fn goes(text: &mut String, namespace: &str, removal: &Removal) {
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
    wrapped(text, running);
    wrapped(text, by_kind(other));
    let mut left = by_kind(of(Stage::Leftovers).map(|target| &target.key));
    if let Some(first) = left.first_mut() {
        first.insert_str(0, "made by istiod: ");
    }
    wrapped(text, left);
}

fn wrapped(text: &mut String, items: Vec<String>) {
    if !items.is_empty() {
        flow(text, "    ", 4, commas(items));
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

/// The pods that lose their control plane.
pub(super) fn orphans(text: &mut String, orphans: &BTreeMap<String, usize>) {
    if orphans.is_empty() {
        return;
    }
    let pods = count(orphans.values().sum(), "pod");
    let namespaces: Vec<String> = orphans.iter().map(|(ns, n)| format!("{ns} ({n})")).collect();
    let lose = format!(
        "{pods} with a sidecar: no control plane any more, until they are re-created without one"
    );
    flow(text, "  ", 4, lose.split(' ').map(|word| Tone::Warning.paint(word)));
    wrapped(text, namespaces);
}

fn keys(keys: &[Key]) -> String {
    first(keys.iter().map(ToString::to_string).collect(), OBJECTS).join(" ")
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
               3 pods with a sidecar: no control plane any more, until they are re-created\n    \
                 without one\n    \
                 demo (2), shop (1)\n\
             \n\
             west  https://10.0.0.2:6443\n  \
               stays in the mesh and loses\n    \
                 Secret n/istio-remote-secret-east, the link to east\n"
        );
    }

    #[test]
    fn clusters_that_lose_the_same_are_told_together() {
        let removal = |count| Removal {
            targets: vec![target(Stage::Foundation, "ConfigMap", "a"); count],
            ground: Ground::Clean,
            parent: false,
            stays: Vec::new(),
            orphans: BTreeMap::new(),
        };
        let (one, two) = (removal(1), removal(2));
        let cluster = |context, removal| Cluster { context, server: "s", namespace: "n", removal };
        let clusters = [cluster("a", &one), cluster("b", &two), cluster("c", &one)];
        assert_eq!(
            plain(&preview("m", &clusters, &[])),
            "mesh m: teardown of 3 clusters\n\n\
             a  s\nc  s\n  in each of them:\n  deletes 1 object\n    1 ConfigMap\n\n\
             b  s\n  deletes 2 objects\n    2 ConfigMaps\n"
        );
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
        let text = plain(&text).replace("\n    ", " ");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "  Thing n/x: needed by 1 object of yours: VirtualService n/reviews");
        assert!(lines[2].contains("2 objects that the mesh did not make"), "{text}");
        assert_eq!(lines.len(), 6);
    }
}
