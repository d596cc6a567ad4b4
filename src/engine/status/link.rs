//! The links: whether each cluster reads each other one.

use super::look::{Look, Unseen};
use super::model::{Check, Finding, Level, LinkState, LinkStatus, TokenState};
use super::token::{self, Held, Review, Reviews};
use crate::engine::local::{Local, Site};
use crate::error::{Failure, beside};
use crate::istio::istiod::SyncStatus;

/// A cluster with what was seen of it.
pub(super) type Seen<'a> = (&'a Site, &'a Result<Look, Unseen>);

/// The pairs of clusters that should be linked: reader and read.
pub(super) fn pairs<'a>(seen: &'a [Seen<'a>]) -> impl Iterator<Item = (Seen<'a>, Seen<'a>)> {
    let joined = seen.iter().copied().filter(|(site, _)| site.member.registry_join);
    joined.clone().flat_map(move |from| {
        let others = joined.clone().filter(move |to| to.0.context() != from.0.context());
        others.map(move |to| (from, to))
    })
}

/// The word of a cluster's istiod on another one, the worst of its ready replicas; `None` where
/// there is nobody to ask.
pub(super) fn word(look: &Look, cluster: &str) -> Option<SyncStatus> {
    let words: Option<Vec<SyncStatus>> = look.replicas.iter().map(|r| r.sees(cluster)).collect();
    let words = words?;
    words.iter().find(|word| **word != SyncStatus::Synced).or_else(|| words.first()).copied()
}

/// A finding about several links to one cluster.
struct Group<'a> {
    level: Level,
    check: Check,
    to: &'a Site,
    from: Vec<&'a Site>,
    text: String,
    hint: Option<String>,
}

/// Collects findings, joining those that say the same of several readers.
#[derive(Default)]
struct Groups<'a>(Vec<Group<'a>>);

impl<'a> Groups<'a> {
    fn add(
        &mut self,
        (level, check): (Level, Check),
        from: &'a Site,
        to: &'a Site,
        text: String,
        hint: Option<String>,
    ) {
        let same = |g: &&mut Group<'_>| {
            g.check == check && g.to.context() == to.context() && g.text == text
        };
        match self.0.iter_mut().find(same) {
            Some(group) => group.from.push(from),
            None => self.0.push(Group { level, check, to, from: vec![from], text, hint }),
        }
    }

    fn findings(self) -> impl Iterator<Item = Finding> + 'a {
        self.0.into_iter().map(|group| {
            let readers: Vec<String> =
                group.from.iter().map(|site| format!("`{}`", site.context())).collect();
            let context = match group.from.as_slice() {
                [one] => Some(one.context()),
                _ => None,
            };
            let verb = if readers.len() == 1 { "does" } else { "do" };
            let text = match group.check {
                Check::Link => format!(
                    "{} {verb} not read `{}`: {}",
                    readers.join(", "),
                    group.to.context(),
                    group.text
                ),
                _ => format!("{}: {}", readers.join(", "), group.text),
            };
            let mut finding = Finding::new(group.level, group.check, context, text);
            finding.hints.extend(group.hint);
            finding
        })
    }
}

/// Judges all links.
pub(super) fn links(
    local: &Local,
    seen: &[Seen<'_>],
    reviews: &Reviews,
) -> (Vec<LinkStatus>, Vec<Finding>) {
    let mut groups = Groups::default();
    // These are about a cluster, and come up at each of its links.
    let mut unasked: Vec<Finding> = Vec::new();
    let all = pairs(seen)
        .map(|((from, reader), (to, target))| {
            let mut link = LinkStatus {
                from: from.context().to_owned(),
                to: to.context().to_owned(),
                state: LinkState::Unknown,
                reason: None,
                istiod: None,
                secret: None,
                token: TokenState::Unchecked,
            };
            let reader = match reader {
                Ok(look) if !look.is_fresh() => look,
                Ok(_) => return down(link, format!("`{}` is not in the mesh yet", from.context())),
                Err(_) => {
                    link.reason = Some(format!("`{}` could not be asked", from.context()));
                    return link;
                }
            };
            if target.as_ref().is_ok_and(Look::is_fresh) {
                return down(link, format!("`{}` is not in the mesh yet", to.context()));
            }
            link.istiod = word(reader, to.cluster.as_ref());
            let secrets = reader.remote_secrets.as_deref().unwrap_or_default();
            let mut server = to.peer_server().to_owned();
            if let Some(held) = token::held(secrets, to.cluster.as_ref()) {
                link.secret = Some(held.secret.clone());
                if !matches!(target, Err(Unseen::OtherCluster(_))) {
                    warn(local, &mut groups, from, to, &held);
                }
                server = held.server.clone().unwrap_or(server);
                let review = held.token.as_ref().and_then(|t| reviews.of(to.context(), t));
                match review {
                    Some(Review::Valid) => link.token = TokenState::Valid,
                    Some(Review::Refused(words)) => {
                        link.token = TokenState::Refused;
                        let text = refused(words);
                        let hint = Some(local.mend());
                        groups.add((Level::Problem, Check::Link), from, to, text, hint);
                        return down(link, "token refused".into());
                    }
                    Some(Review::Unchecked(why)) => unasked.push(unchecked(to, why)),
                    None => {}
                }
            } else if reader.remote_secrets.is_some() && link.istiod != Some(SyncStatus::Synced) {
                // istiod can be given a kubeconfig as a file too.
                let text = "there is no remote secret for it".to_owned();
                let hint = Some(local.mend());
                groups.add((Level::Problem, Check::Link), from, to, text, hint);
                return down(link, "no remote secret".into());
            }
            let logs = |site: &Site| {
                Some(format!(
                    "see why: `kubectl{} -n {} logs deployment/istiod --tail 100`",
                    site.same_cluster(),
                    site.namespace()
                ))
            };
            match link.istiod {
                Some(SyncStatus::Synced) => link.state = LinkState::Up,
                Some(word) => {
                    let (short, text) = explain(word, &server);
                    groups.add((Level::Problem, Check::Link), from, to, text, logs(from));
                    return down(link, short.into());
                }
                None if reader.replicas.is_empty() => {
                    link.reason = Some("no istiod is ready".into());
                }
                None => {
                    link.reason = Some("its istiod could not be asked".into());
                    let why = reader.replicas.iter().find_map(|r| r.unsure.as_ref());
                    unasked.extend(why.map(|why| not_asked(from, why)));
                }
            }
            link
        })
        .collect();
    let mut findings: Vec<Finding> = groups.findings().collect();
    for finding in unasked {
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    (all, findings)
}

fn down(mut link: LinkStatus, reason: String) -> LinkStatus {
    link.state = LinkState::Down;
    link.reason = Some(reason);
    link
}

fn refused(words: &str) -> String {
    let words = if words.is_empty() { String::new() } else { format!(" ({words})") };
    format!("its API server refuses the token in the remote secret{words}")
}

/// A word of istiod: for the matrix, and as a sentence.
fn explain(word: SyncStatus, server: &str) -> (&'static str, String) {
    match word {
        SyncStatus::Synced => ("ok", String::new()),
        SyncStatus::Syncing => ("syncing", format!("istiod still waits for {server}")),
        SyncStatus::Timeout => {
            ("timeout", format!("istiod got no complete answer from {server} in time"))
        }
        SyncStatus::Closed => ("closed", format!("istiod closed the connection to {server}")),
        SyncStatus::Absent => (
            "not registered",
            "istiod did not accept the remote secret, or has not seen it yet".to_owned(),
        ),
        SyncStatus::Other => ("not synced", "istiod is in a state not known here".to_owned()),
    }
}

/// Things about a remote secret that may become a problem.
fn warn<'a>(local: &Local, groups: &mut Groups<'a>, from: &'a Site, to: &'a Site, held: &Held) {
    let warning = (Level::Warning, Check::RemoteSecret);
    match &held.server {
        Some(server) if same(server, to.peer_server()) => {}
        Some(server) => {
            let text = format!(
                "the remote secret for `{}` leads to {server}, and should lead to {}",
                to.context(),
                to.peer_server()
            );
            groups.add(warning, from, to, text, Some(local.mend()));
        }
        None => {
            let text = format!("the remote secret for `{}` holds no kubeconfig", to.context());
            groups.add(warning, from, to, text, Some(local.mend()));
        }
    }
    if !held.ignored.is_empty() {
        let others = held.ignored.join(", ");
        let text = format!(
            "the cluster `{}` has several remote secrets, and istiod takes only one: {}, {others}",
            to.cluster, held.secret
        );
        let hint = format!(
            "delete the one that nobody needs: `kubectl{} -n {} delete secret {}`",
            from.same_cluster(),
            from.namespace(),
            held.ignored[0]
        );
        groups.add(warning, from, to, text, Some(hint));
    }
}

fn same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/').eq_ignore_ascii_case(other.trim_end_matches('/'))
}

fn unchecked(to: &Site, why: &Failure) -> Finding {
    let text = format!(
        "`{}`: whether it accepts the tokens of its peers is not known: {}",
        to.context(),
        beside(&why.message, to.context())
    );
    let mut finding = Finding::new(Level::Note, Check::Token, Some(to.context()), text);
    finding.hints.clone_from(&why.hints);
    finding
}

fn not_asked(from: &Site, why: &Failure) -> Finding {
    let text = format!(
        "`{}`: its istiod could not be asked for its links: {}",
        from.context(),
        beside(&why.message, from.context())
    );
    let mut finding = Finding::new(Level::Problem, Check::Istiod, Some(from.context()), text);
    finding.hints.clone_from(&why.hints);
    finding
}
