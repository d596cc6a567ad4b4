//! One cluster of a plan, as lines of a screen.

use std::fmt::Write as _;

use super::super::list::{NAMED, by_kind, commas, first, flow};
use super::super::{Tone, count, program, teardown};
use crate::plan::document::refusal;
use crate::plan::outline::{
    CertificateChange, Changes, ClusterOutline, Leaving, ObjectChange, Standing, Verb,
};

/// Peers from which on "every other cluster" says more than their names.
const MANY: usize = 3;

/// What is said of a cluster: all of it for telling whether two are alike, or what fits a screen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// Every name.
    Full,
    /// The first names of each list.
    Short,
}

impl Length {
    const fn named(self) -> usize {
        match self {
            Self::Full => usize::MAX,
            Self::Short => NAMED,
        }
    }
}

/// The line above everything that is said of a cluster.
pub(super) fn heading(text: &mut String, cluster: &ClusterOutline) {
    let ClusterOutline { context, cluster, network, server, .. } = cluster;
    let names = [format!(" cluster {cluster},"), format!("network {network},"), server.clone()];
    flow(text, &Tone::Strong.paint(context), 4, names);
}

/// What happens in a cluster. `members` are all cluster names of the mesh.
pub(super) fn body(text: &mut String, cluster: &ClusterOutline, members: &[&str], length: Length) {
    match &cluster.standing {
        Standing::Member(changes) => {
            certificate(text, changes);
            objects(text, changes, length);
            let peers = members.iter().filter(|member| **member != cluster.cluster).count();
            links(text, changes, peers, length);
            for object in &changes.objects {
                refused(text, object);
            }
        }
        Standing::Leaver(leaving) => leaver(text, cluster, leaving, length),
        Standing::Unknown { reason, hints } => {
            item(text, '?', Tone::Warning, "cannot be planned:", words(reason));
            for hint in hints {
                flow(text, "    hint:", 6, words(&program::as_called(hint)));
            }
        }
    }
}

/// What becomes of the intermediate CA.
pub(super) fn certificate(text: &mut String, changes: &Changes) {
    let (sign, tone, verb, what) = match changes.certificate {
        None => return,
        Some(CertificateChange::Issue) => ('+', Tone::Good, "issue", "an intermediate CA"),
        Some(CertificateChange::Renew) => ('~', Tone::Warning, "renew", "its intermediate CA"),
        Some(CertificateChange::Store) => {
            ('+', Tone::Good, "store", "its intermediate CA in the mesh directory")
        }
    };
    item(text, sign, tone, verb, words(what));
}

fn objects(text: &mut String, changes: &Changes, length: Length) {
    for verb in [Verb::Create, Verb::Update, Verb::Adopt, Verb::Prune] {
        let of_verb = |object: &&ObjectChange| {
            object.verb == verb && (object.link.is_none() || verb == Verb::Adopt)
        };
        let keys: Vec<_> = changes.objects.iter().filter(of_verb).map(|o| &o.key).collect();
        if keys.is_empty() {
            continue;
        }
        let what = match verb {
            Verb::Create if length == Length::Short => commas(by_kind(keys.iter().copied())),
            Verb::Update if keys.len() > length.named() => commas(by_kind(keys.iter().copied())),
            _ => first(keys.iter().map(ToString::to_string).collect(), length.named()),
        };
        let (sign, tone, name) = look(verb);
        item(text, sign, tone, &format!("{name} {}:", keys.len()), what);
    }
}

/// The sign, the tone and the word of a verb.
pub(super) const fn look(verb: Verb) -> (char, Tone, &'static str) {
    match verb {
        Verb::Create => ('+', Tone::Good, "create"),
        Verb::Update => ('~', Tone::Warning, "update"),
        Verb::Adopt => ('!', Tone::Warning, "adopt"),
        Verb::Prune => ('-', Tone::Bad, "prune"),
    }
}

fn links(text: &mut String, changes: &Changes, peers: usize, length: Length) {
    for (verb, name) in [(Verb::Create, "add"), (Verb::Update, "update"), (Verb::Prune, "drop")] {
        let of_verb = changes.objects.iter().filter(|object| object.verb == verb);
        let clusters: Vec<String> = of_verb.filter_map(|object| object.link.clone()).collect();
        if clusters.is_empty() {
            continue;
        }
        let verb_and_count = format!("{name} {} to", count(clusters.len(), "link"));
        // A link that goes leads to a cluster that is no peer any more.
        let all = verb != Verb::Prune && peers > MANY && clusters.len() == peers;
        let what = if all { words("every other cluster") } else { first(clusters, length.named()) };
        let (sign, tone, _) = look(verb);
        item(text, sign, tone, &verb_and_count, what);
    }
}

/// Why the API server would not take an object.
fn refused(text: &mut String, object: &ObjectChange) {
    if let Some(refusal) = refusal(object) {
        let sentence = format!("{}: {refusal}", object.key);
        item(text, '!', Tone::Bad, "refused:", words(&sentence));
    }
}

fn leaver(text: &mut String, cluster: &ClusterOutline, leaving: &Leaving, length: Length) {
    item(text, '-', Tone::Bad, "leaves the mesh", Vec::new());
    if !leaving.links.is_empty() {
        let what = format!("drop {} to", count(leaving.links.len(), "link"));
        item(text, '-', Tone::Bad, &what, first(leaving.links.clone(), length.named()));
    }
    if leaving.revokes {
        let what = "its credentials: the token that its peers hold stops working";
        item(text, '-', Tone::Bad, "revoke", words(what));
    }
    match &leaving.removal {
        None => {
            let _ = writeln!(text, "  its control plane is kept");
        }
        Some(removal) => {
            teardown::goes(text, &cluster.namespace, removal);
            text.push_str(&teardown::stays(&removal.stays, "  "));
            teardown::orphans(text, &removal.orphans);
        }
    }
}

/// A line that begins with a sign and what is done, which have the tone.
pub(super) fn item(text: &mut String, sign: char, tone: Tone, verb: &str, what: Vec<String>) {
    flow(text, &format!("  {}", tone.paint(&format!("{sign} {verb}"))), 6, what);
}

/// The words of a sentence; a command in backticks stays in one piece, as people copy it.
pub(super) fn words(sentence: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut quoted = false;
    for word in sentence.split_whitespace() {
        match words.last_mut().filter(|_| quoted) {
            Some(command) => {
                command.push(' ');
                command.push_str(word);
            }
            None => words.push(word.to_owned()),
        }
        quoted ^= word.matches('`').count() % 2 == 1;
    }
    words
}
