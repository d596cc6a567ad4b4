//! Links: every cluster holds a remote secret for every other one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::fleet::{self, REQUESTS};
use super::lease::ClusterLease;
use super::local::Site;
use super::observe::Observed;
use super::quoted::without_secrets;
use crate::error::Failure;
use crate::istio::remote_secret::{self, Credential};
use crate::kube::{Cluster, Propagation, ResourceId};
use crate::plan::change::{Verb, change};
use crate::plan::object::{self, Key};

/// How long the token of a new account may take: the API server's controller fills it within a
/// second.
const TOKEN_LIMIT: Duration = Duration::from_secs(30);

/// What is known of a cluster's credential during a run.
#[derive(Clone)]
enum Slot {
    Pending,
    Ready(Arc<Credential>),
    /// The cluster is not reachable or not done: its peers keep what they have.
    Absent,
}

/// Where clusters publish their credentials for the others, each as soon as it has one.
pub(super) struct Exchange {
    slots: BTreeMap<String, watch::Sender<Slot>>,
}

impl Exchange {
    /// An exchange for these contexts.
    pub(super) fn new<'a>(contexts: impl IntoIterator<Item = &'a str>) -> Self {
        let slot = |context: &str| (context.to_owned(), watch::Sender::new(Slot::Pending));
        Self { slots: contexts.into_iter().map(slot).collect() }
    }

    /// Publishes a cluster's credential, or that there will be none in this run.
    pub(super) fn publish(&self, context: &str, credential: Option<Credential>) {
        if let Some(slot) = self.slots.get(context) {
            slot.send_replace(credential.map_or(Slot::Absent, |c| Slot::Ready(Arc::new(c))));
        }
    }

    /// Makes sure that nobody waits for a cluster that has published nothing.
    pub(super) fn close(&self, context: &str) {
        if let Some(slot) = self.slots.get(context) {
            slot.send_if_modified(|slot| {
                let pending = matches!(slot, Slot::Pending);
                if pending {
                    *slot = Slot::Absent;
                }
                pending
            });
        }
    }

    /// Waits for a cluster's credential.
    pub(super) async fn credential(&self, context: &str) -> Option<Arc<Credential>> {
        let mut slot = self.slots.get(context)?.subscribe();
        let slot = slot.wait_for(|slot| !matches!(slot, Slot::Pending)).await.ok()?;
        match &*slot {
            Slot::Ready(credential) => Some(Arc::clone(credential)),
            Slot::Pending | Slot::Absent => None,
        }
    }
}

/// Closes a cluster's slot when its task ends, however it ends.
pub(super) struct CloseOnDrop<'a>(pub &'a Exchange, pub &'a str);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close(self.1);
    }
}

/// A remote secret that changes.
#[derive(Clone)]
pub(super) struct LinkChange {
    /// What happens.
    pub verb: Verb,
    /// The cluster that it is for.
    pub cluster: String,
    /// Which Secret it is.
    pub key: Key,
    /// The Secret as it is.
    pub before: Option<Value>,
    /// The Secret as it would be; none where the token is not made yet.
    pub after: Option<Arc<Value>>,
}

/// What is known of a peer before anything is written.
pub(super) struct Known {
    /// Its Istio cluster name.
    pub cluster: String,
    /// Its credential, if it is there and stays.
    pub credential: Option<Credential>,
}

/// Finds the remote secrets that change in a cluster, given its peers.
pub(super) fn changes<'a>(
    site: &Site,
    seen: &Observed,
    peers: impl Iterator<Item = &'a Known>,
) -> Vec<LinkChange> {
    let namespace = site.namespace();
    let free = peers
        .filter(|peer| held_by_another(&seen.remote_secrets, &peer.cluster, namespace).is_none());
    free.filter_map(|peer| {
        let Some(credential) = &peer.credential else {
            let key = Key {
                group: String::new(),
                kind: "Secret".to_owned(),
                namespace: namespace.to_owned(),
                name: remote_secret::name(&peer.cluster),
            };
            let before = seen.ours.get(&key).cloned();
            let verb = if before.is_some() { Verb::Update } else { Verb::Create };
            return Some(LinkChange {
                verb,
                cluster: peer.cluster.clone(),
                key,
                before,
                after: None,
            });
        };
        let secret = Arc::new(remote_secret_for(credential, namespace));
        let change = change(&secret, seen.ours.get(&Key::of(&secret)))?;
        Some(LinkChange {
            verb: change.verb,
            cluster: peer.cluster.clone(),
            key: change.key(),
            before: change.before,
            after: Some(change.object),
        })
    })
    .collect()
}

/// The Secret that holds the token with which peers reach a cluster.
pub(super) fn token_key(site: &Site) -> Key {
    Key {
        group: String::new(),
        kind: "Secret".to_owned(),
        namespace: site.namespace().to_owned(),
        name: remote_secret::token_secret_name(site.member.reader.as_ref()),
    }
}

/// The credential with which peers reach a cluster, if it was there when it was looked at.
pub(super) fn seen_credential(site: &Site, seen: &Observed) -> Option<Credential> {
    let (ca, token) = token_of(seen.ours.get(&token_key(site))?)?;
    let custom_ca = custom_ca(site).ok()?;
    Some(credential_with(site, custom_ca.unwrap_or(ca), token))
}

/// Reads the credential with which peers reach a cluster, waiting for its token to be made.
pub(super) async fn credential(site: &Site, cluster: &Cluster) -> Result<Credential, Failure> {
    let name = remote_secret::token_secret_name(site.member.reader.as_ref());
    let id = ResourceId::namespaced("v1", "Secret", site.namespace(), &name);
    let custom_ca = custom_ca(site)?;
    let read = async {
        loop {
            if let Some(secret) = cluster.get(&id).await?
                && let Some((ca, token)) = token_of(&secret)
            {
                return Ok::<_, Failure>((ca, token));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let (ca, token) = tokio::time::timeout(TOKEN_LIMIT, read).await.map_err(|_| {
        Failure::new(format!(
            "`{}`: the Secret {}/{name} got no token within {} s",
            site.context(),
            site.namespace(),
            TOKEN_LIMIT.as_secs()
        ))
        .hint(format!(
            "does its account exist? `kubectl{} -n {} get serviceaccount {}`",
            site.same_cluster(),
            site.namespace(),
            site.member.reader
        ))
    })??;
    Ok(credential_with(site, custom_ca.unwrap_or(ca), token))
}

fn credential_with(site: &Site, ca: String, token: Zeroizing<String>) -> Credential {
    Credential {
        cluster: site.cluster.to_string(),
        server: site.peer_server().to_owned(),
        tls_server_name: site
            .member
            .tls_server_name
            .clone()
            .or_else(|| site.entry.tls_server_name.clone()),
        proxy_url: site.member.proxy_url.clone(),
        ca,
        token,
    }
}

fn custom_ca(site: &Site) -> Result<Option<String>, Failure> {
    site.member.ca.as_deref().map(super::home::read).transpose()
}

/// The CA and the token in a Secret with an account's token, once it is filled.
pub(super) fn token_of(secret: &Value) -> Option<(String, Zeroizing<String>)> {
    let text = |key: &str| {
        let bytes = BASE64_STANDARD.decode(secret.get("data")?.get(key)?.as_str()?).ok()?;
        String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
    };
    Some((text("ca.crt")?, Zeroizing::new(text("token")?)))
}

/// The remote secret for a peer, marked as the tool's.
pub(super) fn remote_secret_for(credential: &Credential, namespace: &str) -> Value {
    let mut secret = remote_secret::secret(credential, namespace);
    object::mark(&mut secret, &object::set_id(namespace));
    secret
}

/// Deletes Secrets, each as the very one that was seen; says how many.
///
/// Each deletion makes sure of the `lease` before; none is where there is no namespace for it.
pub(super) async fn delete(
    cluster: &Cluster,
    secrets: &[Value],
    lease: Option<&ClusterLease<'_>>,
) -> Result<usize, Failure> {
    let deletes = secrets.iter().filter_map(|secret| {
        let uid = secret["metadata"]["uid"].as_str()?;
        let id = ResourceId::of(secret)?;
        Some(async move {
            let cluster = match lease {
                Some(lease) => lease.bound().await?.0,
                None => cluster.clone(),
            };
            let deleted = cluster.delete(&id, Some(uid), Propagation::Background).await;
            deleted.map_err(|error| without_secrets(secret, None, error.into()))
        })
    });
    Ok(fleet::try_all(REQUESTS, deletes).await?.len())
}

/// Whether somebody else registered this cluster already: istiod takes the first secret for a
/// cluster and ignores others (istio: `pkg/kube/multicluster/secretcontroller.go`).
pub(super) fn held_by_another(secrets: &[Value], cluster: &str, namespace: &str) -> Option<String> {
    let id = object::set_id(namespace);
    let mut others = secrets.iter().filter(|secret| !object::is_ours(secret, &id));
    others
        .find(|secret| remote_secret::clusters(secret).contains(&cluster))
        .and_then(|secret| secret["metadata"]["name"].as_str().map(str::to_owned))
}
