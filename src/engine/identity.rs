//! Whether a context still leads to the cluster that it was at the last apply.
//!
//! Two things are pinned in `state.yaml`: the CA certificates that the kubeconfig trusts for the API
//! server, which are compared before anything is sent there, and the UID of `kube-system`, which is
//! compared before anything is written there.

use std::collections::BTreeMap;
use std::fmt;

use super::connect::Reached;
use super::local::{Local, Options, Site};
use super::policy;
use super::state::Record;
use crate::error::Failure;
use crate::istio::remote_secret;
use crate::kube::quote;
use crate::plan::object;

/// What a cluster is told apart from others by; `None` where it is not known.
struct Identity<'a> {
    server: &'a str,
    uid: Option<&'a str>,
    ca: Option<&'a [String]>,
}

impl<'a> Identity<'a> {
    fn recorded(record: &'a Record) -> Self {
        Self { server: &record.server, uid: Some(&record.uid), ca: record.ca.as_deref() }
    }
}

/// As in `https://10.0.0.1:6443, UID 7c9e6679-..., CA 2f3a51c09be4d7a8`.
impl fmt::Display for Identity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.server)?;
        match self.uid {
            Some(uid) => write!(f, ", UID {uid}")?,
            None => f.write_str(", UID not asked for")?,
        }
        match self.ca {
            None => f.write_str(", CA not recorded"),
            Some(prints) => write!(f, ", {}", authorities(prints)),
        }
    }
}

/// As in `CA 2f3a51c09be4d7a8+7d793037a0760186`.
fn authorities(prints: &[String]) -> String {
    if prints.is_empty() {
        return "no CA".to_owned();
    }
    let short: Vec<String> = prints.iter().map(|print| print.chars().take(16).collect()).collect();
    format!("CA {}", short.join("+"))
}

/// The least that has to be said of a UID.
const SHORTEST: usize = 8;

/// What of a context's new identity the user accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accepted<'a> {
    /// Another CA, of the cluster that it was.
    Authority,
    /// Another cluster: the one whose UID begins so.
    Cluster(&'a str),
}

/// What a value of `--accept-identity` says about a context: `context` or `context=UID`.
pub(super) fn accepted<'a>(text: &'a str, context: &str) -> Option<Accepted<'a>> {
    match text.strip_prefix(context)? {
        "" => Some(Accepted::Authority),
        rest => {
            let uid = rest.strip_prefix('=').filter(|uid| uid.len() >= SHORTEST)?;
            Some(Accepted::Cluster(uid))
        }
    }
}

/// All that the user accepts of a context's new identity.
fn all_accepted<'a>(options: &'a Options, context: &str) -> impl Iterator<Item = Accepted<'a>> {
    options.accept_identity.iter().filter_map(move |text| accepted(text, context))
}

/// Whether the user said that this context may lead to the cluster with this UID now.
fn is_accepted(options: &Options, context: &str, uid: &str) -> bool {
    all_accepted(options, context)
        .any(|it| matches!(it, Accepted::Cluster(begin) if uid.starts_with(begin)))
}

/// The same command in backticks, with this context's new identity accepted: its CA, or the cluster
/// with this UID.
fn accepting(local: &Local, options: &Options, context: &str, uid: Option<&str>) -> String {
    let others = options.accept_identity.iter().filter(|text| accepted(text, context).is_none());
    let own = uid.map_or_else(|| context.to_owned(), |uid| format!("{context}={uid}"));
    let flags = others.chain([&own]).map(|text| format!(" --accept-identity {}", quote(text)));
    let flags = options.same_run(local.topology.mesh_id.as_ref()) + &flags.collect::<String>();
    // Some have no such flag.
    let command =
        if ["status", "render"].contains(&options.command) { "apply" } else { options.command };
    format!("`kubectl multimesh {command}{flags}`")
}

/// Compares the CA that the kubeconfig trusts with the one of the last apply. Asks nobody. Where some
/// of its certificates are still the same, the CA is being rotated, and the UID tells the rest.
pub(super) fn check_authority(
    local: &Local,
    options: &Options,
    context: &str,
) -> Result<(), Failure> {
    let Some(record) = local.state.contexts.get(context) else { return Ok(()) };
    let Some(pinned) = &record.ca else { return Ok(()) };
    // An entry that cannot be read is told when it is connected to.
    let Ok(entry) = local.kubeconfig.context(context) else { return Ok(()) };
    let Ok(found) = local.kubeconfig.authorities(context) else { return Ok(()) };
    let goes_on = pinned.iter().any(|print| found.contains(print));
    if *pinned == found || goes_on || all_accepted(options, context).next().is_some() {
        return Ok(());
    }
    let now = Identity { server: &entry.server, uid: None, ca: Some(&found) };
    Err(Failure::new(format!(
        "`{context}` may not be the cluster that it was: its kubeconfig entry trusts another CA, so \
         nothing was sent to it; at the last apply {}; now {now}",
        Identity::recorded(record)
    ))
    .hint("point the context to the right cluster in your kubeconfig")
    .hint(format!(
        "or, if its CA was rotated, accept the new one; another cluster is refused still, and told: {}",
        accepting(local, options, context, None)
    )))
}

/// Compares the UID of a cluster that answered with the one of the last apply.
pub(super) fn check_uid(
    local: &Local,
    options: &Options,
    site: &Site,
    uid: &str,
) -> Result<(), Failure> {
    let context = site.context();
    let Some(record) = local.state.contexts.get(context) else { return Ok(()) };
    if record.uid == uid || is_accepted(options, context, uid) {
        return Ok(());
    }
    let found = local.kubeconfig.authorities(context).ok();
    let now = Identity { server: &site.entry.server, uid: Some(uid), ca: found.as_deref() };
    Err(Failure::new(format!(
        "`{context}` is not the cluster that it was: at the last apply {}; now {now}",
        Identity::recorded(record)
    ))
    .hint("point the context to the right cluster in your kubeconfig")
    .hint(format!(
        "or, if the cluster was made anew under its old name, accept it: {}",
        accepting(local, options, context, Some(uid))
    )))
}

/// Refuses a cluster of which nothing is known, here or there, where the others hold a link to
/// another server under its name: that would be led to it.
fn check_links(
    local: &Local,
    options: &Options,
    reached: &Reached<'_>,
    others: &[Reached<'_>],
) -> Result<(), Failure> {
    let Reached { site, seen, .. } = reached;
    let (context, cluster) = (site.context(), site.cluster.as_ref());
    if local.state.contexts.contains_key(context)
        || seen.mesh_id().is_some()
        || is_accepted(options, context, &seen.uid)
    {
        return Ok(());
    }
    let elsewhere = others.iter().find_map(|other| {
        let id = object::set_id(other.site.namespace());
        let mut links = other.seen.remote_secrets.iter().filter(|s| object::is_ours(s, &id));
        let server = links.find_map(|link| remote_secret::server(link, cluster))?;
        (server != site.peer_server()).then_some((other.site.context(), server))
    });
    let Some((other, server)) = elsewhere else { return Ok(()) };
    let ca = local.kubeconfig.authorities(context).ok();
    let now = Identity { server: site.peer_server(), uid: Some(&seen.uid), ca: ca.as_deref() };
    Err(Failure::new(format!(
        "`{context}` may not be the cluster that the others know as `{cluster}`: it is not in this \
         mesh, and the link in `{other}` leads to {server}, not to it ({now})"
    ))
    .hint("point the context to the right cluster in your kubeconfig")
    .hint(format!(
        "or, if the cluster was made anew under its old name, accept it: {}",
        accepting(local, options, context, Some(&seen.uid))
    )))
}

/// Refuses two contexts that are one cluster, and contexts that are another cluster than before.
pub(super) fn check(
    local: &Local,
    options: &Options,
    reached: &[Reached<'_>],
) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for one in reached {
        failures.extend(check_uid(local, options, one.site, &one.seen.uid).err());
        failures.extend(check_links(local, options, one, reached).err());
    }
    // A context that was moved to another member's cluster is told as that, with both identities: who
    // takes it for a second name and deletes it would lose the links to what it was.
    policy::join(failures).map_or(Ok(()), Err)?;
    let mut by_uid: BTreeMap<&str, &Site> = BTreeMap::new();
    for Reached { site, seen, .. } in reached {
        if let Some(other) = by_uid.insert(&seen.uid, site) {
            return Err(Failure {
                excerpt: Some(site.member.place.clone()),
                ..Failure::new(format!(
                    "`{}` and `{}` are the same cluster (kube-system has the UID {})",
                    other.context(),
                    site.context(),
                    seen.uid
                ))
            }
            .hint("leave one of the two in the topology"));
        }
    }
    Ok(())
}

/// The record of the cluster that a context was before, where it is another one now.
pub(super) fn former<'a>(local: &'a Local, context: &str, uid: &str) -> Option<&'a Record> {
    local.state.contexts.get(context).filter(|record| record.uid != uid)
}

/// What the user should know of clusters that were accepted under the name of others, and of CAs
/// that change.
pub(super) fn notes(local: &Local, reached: &[Reached<'_>]) -> Vec<String> {
    let notes = reached.iter().filter_map(|Reached { site, seen, cluster }| {
        let context = site.context();
        if let Some(record) = former(local, context, &seen.uid) {
            return Some(format!(
                "`{context}` leads to another cluster than at the last apply, as you accepted; the \
                 former one ({}) is not touched: if it still runs, tear it down through a context \
                 that leads there",
                Identity::recorded(record)
            ));
        }
        let pinned = local.state.contexts.get(context)?.ca.as_deref()?;
        let now = cluster.authorities();
        (pinned != now).then(|| {
            format!(
                "`{context}` is the cluster that it was, and its kubeconfig entry trusts another CA: \
                 at the last apply {}, now {}, which an apply puts on record",
                authorities(pinned),
                authorities(now)
            )
        })
    });
    notes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_cluster_is_accepted_by_its_uid_alone() {
        let of = |text: &'static str| accepted(text, "east");
        assert_eq!(of("east"), Some(Accepted::Authority));
        assert_eq!(of("east=7c9e6679"), Some(Accepted::Cluster("7c9e6679")));
        for other in ["east=", "east=7c9e667", "east-1", "east-1=7c9e6679", "west", ""] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn identities_read_in_one_line() {
        let prints = ["ab".repeat(32), "cd".repeat(32)];
        let mut identity =
            Identity { server: "https://10.0.0.1:6443", uid: Some("u1"), ca: Some(&prints) };
        assert_eq!(
            identity.to_string(),
            "https://10.0.0.1:6443, UID u1, CA abababababababab+cdcdcdcdcdcdcdcd"
        );
        let none: [String; 0] = [];
        identity.uid = None;
        identity.ca = Some(&none);
        assert_eq!(identity.to_string(), "https://10.0.0.1:6443, UID not asked for, no CA");
        identity.ca = None;
        assert!(identity.to_string().ends_with("CA not recorded"));
    }
}
