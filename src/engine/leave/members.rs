//! The members of the mesh, as far as a cluster that leaves depends on them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::engine::connect::connect;
use crate::engine::countdown::Countdown;
use crate::engine::fleet;
use crate::engine::identity;
use crate::engine::local::{Local, Options, Site};
use crate::engine::status::ask_istiods;
use crate::error::{Exit, Failure};
use crate::istio::istiod::SyncStatus;
use crate::istio::remote_secret;
use crate::kube::{Cluster, FIELD_MANAGER};
use crate::plan::object::{Key, member_selector, set_id};
use crate::plan::prune::{Linked, prunes};

/// How long a member may take to tell its links. One that does not answer was waited for before.
const LIMIT: Duration = Duration::from_secs(10);
/// How long istiod may take to act on a link that is gone: informers are quick, a loaded machine is not.
const FORGET_LIMIT: Duration = Duration::from_secs(30);
/// How often istiod is asked meanwhile.
const INTERVAL: Duration = Duration::from_millis(300);

/// The members that a cluster leaves behind.
pub(in crate::engine) struct Members<'a> {
    /// The connections to those that are worked on, by context.
    pub connections: &'a BTreeMap<String, Cluster>,
    /// Ends when those that are worked on have dropped what they drop.
    pub linked: &'a Countdown,
}

impl Members<'_> {
    /// Waits until those that are worked on have dropped their links, then asks all members; a
    /// failure if one of them has, or may have, a link to the cluster that leaves.
    pub(super) async fn linked_with(
        &self,
        local: &Local,
        options: &Options,
        leaver: &Site,
    ) -> Option<Failure> {
        self.linked.end().await;
        let looks = local.sites.iter().map(|site| async move {
            let look = tokio::time::timeout(LIMIT, self.has_link(local, options, site, leaver));
            let context = site.context();
            match Box::pin(look).await {
                Ok(Ok(false)) => None,
                Ok(Ok(true)) => Some(format!("`{context}` still holds a link to it")),
                Ok(Err(failure)) => Some(format!(
                    "whether `{context}` still holds a link to it is not known: {}",
                    failure.message
                )),
                Err(_) => Some(format!(
                    "whether `{context}` still holds a link to it is not known: it did not answer within {} s",
                    LIMIT.as_secs()
                )),
            }
        });
        let reasons = fleet::all(options.parallel, looks).await;
        let reasons: Vec<String> = reasons.into_iter().flatten().collect();
        let same_mesh = options.same_mesh(local.topology.mesh_id.as_ref());
        (!reasons.is_empty()).then(|| needed(leaver.context(), &reasons, &same_mesh))
    }

    /// Waits until no istiod of those that are worked on reads the cluster that leaves any more, within
    /// bounds. The proxies hear of it in the seconds for which a gateway that ends still answers.
    pub(super) async fn await_forgotten(&self, local: &Local, options: &Options, leaver: &Site) {
        let name = leaver.cluster.as_ref();
        if is_taken(local, leaver) {
            // istiod tells clusters by their names.
            return;
        }
        let waits = local.sites.iter().filter_map(|site| {
            let cluster = self.connections.get(site.context())?;
            Some(async move {
                while reads(cluster, site.namespace(), name).await {
                    tokio::time::sleep(INTERVAL).await;
                }
            })
        });
        let all = fleet::all(options.parallel, waits);
        if tokio::time::timeout(FORGET_LIMIT, all).await.is_err() {
            tracing::info!(cluster = name, "an istiod still reads the cluster that leaves");
        }
    }

    /// Whether a member holds a link to the cluster that leaves, which an apply would drop.
    async fn has_link(
        &self,
        local: &Local,
        options: &Options,
        site: &Site,
        leaver: &Site,
    ) -> Result<bool, Failure> {
        let cluster = match self.connections.get(site.context()) {
            Some(cluster) => cluster.clone(),
            None => connect(local, options, site.context()).await?,
        };
        identity::check_uid(local, options, site, cluster.uid().await?)?;
        let members = member_selector(&set_id(site.namespace()));
        let selector = format!("{}=true,{members}", remote_secret::LABEL);
        let links = cluster.list("v1", "Secret", Some(site.namespace()), Some(&selector)).await?;
        let links = links.into_iter().map(|link| (Key::of(&link), link)).collect();
        let drops = prunes(&links, &[], &Linked::default(), FIELD_MANAGER);
        Ok(drops.iter().any(|link| leads_to(local, &link.object, leaver)))
    }
}

/// Whether an istiod says that it reads a cluster. One that cannot be asked says nothing.
async fn reads(cluster: &Cluster, namespace: &str, name: &str) -> bool {
    let (_, replicas) = ask_istiods(cluster, namespace, &[name]).await.unwrap_or_default();
    let gone = |status| matches!(status, SyncStatus::Absent | SyncStatus::Closed);
    replicas.iter().any(|replica| replica.sees(name).is_some_and(|status| !gone(status)))
}

/// Whether a link leads to a cluster that leaves: a member may bear its name by now.
pub(super) fn leads_to(local: &Local, link: &Value, leaver: &Site) -> bool {
    let server = is_taken(local, leaver).then_some(leaver.entry.server.as_str());
    leads(link, leaver.cluster.as_ref(), server)
}

/// Whether a member bears the name of a cluster that leaves.
fn is_taken(local: &Local, leaver: &Site) -> bool {
    local.sites.iter().any(|site| site.cluster == leaver.cluster)
}

/// As [`leads_to`], for a cluster of that name, at `server` where the name does not tell.
fn leads(link: &Value, name: &str, server: Option<&str>) -> bool {
    let there = || {
        let found = remote_secret::server(link, name);
        server.is_none_or(|server| found.as_deref() == Some(server))
    };
    remote_secret::clusters(link).contains(&name) && there()
}

/// A cluster that is out of the mesh and goes on working, as members may send requests to it.
fn needed(context: &str, reasons: &[String], same_mesh: &str) -> Failure {
    let message = format!(
        "`{context}`: it has no links to the mesh and its credentials are revoked, but its control plane is still there, as requests may still go to it:\n  {}",
        reasons.join("\n  ")
    );
    Failure { exit: Exit::Partial, ..Failure::new(message) }
        .hint(format!(
            "once the members answer, have them drop their links, then it goes: `kubectl multimesh apply --yes{same_mesh}`"
        ))
        .hint("a member that is gone for good can be removed from the topology too")
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::istio::remote_secret::Credential;

    #[test]
    fn a_link_is_known_by_its_name_or_by_its_server_where_a_member_took_the_name() {
        let link = remote_secret::secret(
            &Credential {
                cluster: "west".into(),
                server: "https://10.0.0.2:6443".into(),
                tls_server_name: None,
                proxy_url: None,
                ca: "CA".into(),
                token: Zeroizing::new("t".into()),
            },
            "istio-system",
        );
        assert!(leads(&link, "west", None) && !leads(&link, "east", None));
        assert!(leads(&link, "west", Some("https://10.0.0.2:6443")));
        assert!(!leads(&link, "west", Some("https://10.0.0.9:6443")));
    }

    #[test]
    fn who_still_needs_a_cluster_is_told_by_name() {
        let reasons = ["`a` still holds a link to it".to_owned(), "`b` too".to_owned()];
        let failure = needed("c", &reasons, " --mesh m");
        assert_eq!(failure.exit, Exit::Partial);
        assert!(failure.message.ends_with("to it:\n  `a` still holds a link to it\n  `b` too"));
        assert!(failure.hints[0].contains("`kubectl multimesh apply --yes --mesh m`"));
    }
}
