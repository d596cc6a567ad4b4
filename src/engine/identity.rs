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
use crate::kube::quote;

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
            Some([]) => f.write_str(", no CA"),
            Some(prints) => {
                let short: Vec<String> =
                    prints.iter().map(|print| print.chars().take(16).collect()).collect();
                write!(f, ", CA {}", short.join("+"))
            }
        }
    }
}

/// Whether the user said that this context may lead to another cluster now.
fn is_accepted(options: &Options, context: &str) -> bool {
    options.accept_identity.iter().any(|accepted| accepted == context)
}

/// The same command, with this context's new identity accepted.
fn accepting(local: &Local, options: &Options, context: &str) -> String {
    let mut contexts: Vec<&str> = options.accept_identity.iter().map(String::as_str).collect();
    contexts.push(context);
    let flags = contexts.iter().map(|context| format!(" --accept-identity {}", quote(context)));
    format!(
        "kubectl multimesh {}{}{}",
        // Some have no such flag.
        if ["status", "render"].contains(&options.command) { "apply" } else { options.command },
        options.same_run(local.topology.mesh_id.as_ref()),
        flags.collect::<String>()
    )
}

/// Compares the CA that the kubeconfig trusts with the one of the last apply. Asks nobody.
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
    if *pinned == found || is_accepted(options, context) {
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
        "or, if its CA was rotated or the cluster was made anew, accept the one that answers now: `{}`",
        accepting(local, options, context)
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
    if record.uid == uid || is_accepted(options, context) {
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
        "or, if the cluster was made anew under its old name, accept it: `{}`",
        accepting(local, options, context)
    )))
}

/// Refuses two contexts that are one cluster, and contexts that are another cluster than before.
pub(super) fn check(
    local: &Local,
    options: &Options,
    reached: &[Reached<'_>],
) -> Result<(), Failure> {
    let mut by_uid: BTreeMap<&str, &Site> = BTreeMap::new();
    let mut failures = Vec::new();
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
        failures.extend(check_uid(local, options, site, &seen.uid).err());
    }
    policy::join(failures).map_or(Ok(()), Err)
}

/// The record of the cluster that a context was before, where it is another one now.
pub(super) fn former<'a>(local: &'a Local, context: &str, uid: &str) -> Option<&'a Record> {
    local.state.contexts.get(context).filter(|record| record.uid != uid)
}

/// What the user should know of clusters that were accepted under the name of others.
pub(super) fn notes(local: &Local, reached: &[Reached<'_>]) -> Vec<String> {
    let former = reached.iter().filter_map(|Reached { site, seen, .. }| {
        Some((site.context(), former(local, site.context(), &seen.uid)?))
    });
    former
        .map(|(context, record)| {
            format!(
                "`{context}` leads to another cluster than at the last apply, as you accepted; the \
                 former one ({}) is not touched: if it still runs, tear it down through a context \
                 that leads there",
                Identity::recorded(record)
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
