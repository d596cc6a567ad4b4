//! The certificate authorities of a mesh: what is there, what is due, and what must not be mixed.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use super::identity;
use super::local::{Local, Site};
use super::observe::Observed;
use crate::error::Failure;
use crate::kube::{quote, without};
use crate::pki::{self, Cacerts, Root, Store, issue, renewal_due};
use crate::plan::object;
use crate::plan::outline::CertificateChange;

/// The organisation of a root that nobody gave one, as Istio's own Makefile has it.
pub(super) const DEFAULT_ORGANIZATION: &str = "Istio";

/// The trust of a mesh, decided before anything is written to a cluster.
#[derive(Debug)]
pub(super) struct Trust {
    /// The root CA.
    pub root: Root,
    /// What each context's `cacerts` should hold; a context whose own is kept is not in it.
    pub cacerts: BTreeMap<String, Cacerts>,
    /// The contexts whose CA is not in order; they stop no other one.
    pub failed: BTreeMap<String, Failure>,
    /// What was done or left, for the user.
    pub notes: Vec<String>,
    /// Whether the root was made just now.
    pub new_root: bool,
    /// What has to be kept in the mesh directory before a cluster gets it.
    pub unsaved: Vec<Unsaved>,
}

/// An intermediate CA that the mesh directory does not have yet.
#[derive(Debug)]
pub(super) struct Unsaved {
    /// The context that it is for.
    pub context: String,
    /// Its Istio cluster name.
    pub cluster: String,
    /// Where it comes from.
    pub change: CertificateChange,
}

impl Trust {
    /// What becomes of the intermediate of a context, if anything.
    pub(super) fn change(&self, context: &str) -> Option<CertificateChange> {
        self.unsaved.iter().find(|one| one.context == context).map(|one| one.change)
    }

    /// Keeps what is new in the mesh directory.
    pub(super) fn save(&self, certs: &Path) -> Result<(), Failure> {
        let store = Store::open(certs);
        if self.new_root {
            store.create_root(&self.root)?;
        }
        store.settle()?;
        for Unsaved { context, cluster, .. } in &self.unsaved {
            if let Some(cacerts) = self.cacerts.get(context) {
                store.save_intermediate(cluster, context, cacerts)?;
            }
        }
        Ok(())
    }
}

/// Checks the root CA that is here, and that it is the one that the mesh was made with.
pub(super) fn check_root(local: &Local) -> Result<(), Failure> {
    let certs = local.home.certs();
    match Store::open(&certs).root()? {
        Some(root) => check_record(local, &root),
        None if local.state.root.is_some() => Err(root_lost(&certs)),
        None => Ok(()),
    }
}

/// Decides the CA of every observed cluster. Makes the root, and issues intermediates, where they
/// are missing or due; refuses to mix roots. Nothing is written anywhere before [`Trust::save`].
pub(super) fn decide(
    local: &Local,
    observed: &[(&Site, &Observed)],
    organization: &str,
    now: Timestamp,
) -> Result<Trust, Failure> {
    let store = Store::open(local.home.certs());
    let mut failed = BTreeMap::new();
    let mut live = Vec::new();
    for (site, seen) in observed {
        match live_cacerts(site, seen) {
            Ok(found) => live.push((*site, *seen, found)),
            Err(failure) => {
                failed.insert(site.context().to_owned(), failure);
            }
        }
    }
    let (root, new_root) = match store.root()? {
        Some(root) => (root, false),
        None => (new_root(local, &live, organization, now)?, true),
    };
    refuse_mixed_trust(&root, &live)?;
    let mut trust = Trust {
        root,
        cacerts: BTreeMap::new(),
        failed,
        notes: Vec::new(),
        new_root,
        unsaved: Vec::new(),
    };
    for (site, seen, found) in live {
        let found = match found {
            Some(found) if !found.ours => {
                trust.notes.push(format!(
                    "`{}`: the Secret {}/cacerts was made by somebody else and has the mesh's root: it is kept",
                    site.context(),
                    site.namespace()
                ));
                continue;
            }
            found => found,
        };
        refuse_self_signed(site, seen, found.is_some())?;
        let context = site.context().to_owned();
        let anew = identity::former(local, site.context(), &seen.uid).is_some();
        match intermediate(&store, &mut trust, site, found, anew, now) {
            Ok((cacerts, change)) => {
                let cluster = site.cluster.to_string();
                let unsaved = |change| Unsaved { context: context.clone(), cluster, change };
                trust.unsaved.extend(change.map(unsaved));
                trust.cacerts.insert(context, cacerts);
            }
            Err(failure) => {
                let failure = failure.about(&context);
                trust.failed.insert(context, failure);
            }
        }
    }
    Ok(trust)
}

/// The `cacerts` of a cluster.
struct Found {
    cacerts: Cacerts,
    ours: bool,
}

fn live_cacerts(site: &Site, seen: &Observed) -> Result<Option<Found>, Failure> {
    let Some(secret) = &seen.cacerts else { return Ok(None) };
    let ours = object::is_ours(secret, &object::set_id(site.namespace()));
    // Its roots as well: they are compared with the mesh's before all else.
    let readable = |cacerts: Cacerts| cacerts.roots().map(|_| cacerts);
    let cacerts = parse(secret).and_then(readable).map_err(|why| {
        Failure::new(format!(
            "`{}`: the Secret {}/cacerts cannot be used: {why}",
            site.context(),
            site.namespace()
        ))
        .hint(format!(
            "look at it: `kubectl{} -n {} describe secret cacerts`",
            site.same_cluster(),
            site.namespace()
        ))
    })?;
    Ok(Some(Found { cacerts, ours }))
}

/// Reads a live `cacerts` Secret.
pub(super) fn parse(secret: &Value) -> Result<Cacerts, pki::Error> {
    let data = secret.get("data").and_then(Value::as_object);
    let entries: BTreeMap<String, Vec<u8>> = data
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| {
            Some((key.clone(), BASE64_STANDARD.decode(value.as_str()?).ok()?))
        })
        .collect();
    Cacerts::from_entries(&entries)
}

fn new_root(
    local: &Local,
    live: &[(&Site, &Observed, Option<Found>)],
    organization: &str,
    now: Timestamp,
) -> Result<Root, Failure> {
    let certs = local.home.certs();
    let existing = live.iter().find(|(_, _, found)| found.is_some());
    if let Some((site, _, _)) = existing {
        return Err(Failure::new(format!(
            "there is no root CA in {}, but `{}` has a Secret {}/cacerts already",
            certs.display(),
            site.context(),
            site.namespace()
        ))
        .hint(format!(
            "put root-cert.pem and root-key.pem of this mesh into {}",
            certs.display()
        )));
    }
    // A cluster that was not looked at may have the mesh's root already.
    if live.len() < local.sites.len() {
        return Err(Failure::new(format!(
            "there is no root CA in {}, and not all clusters of the topology were looked at",
            certs.display()
        ))
        .hint(format!(
            "if this mesh is new, make its root CA first: `kubectl multimesh init{}`",
            local.same_mesh
        ))
        .hint(format!(
            "if it was made elsewhere, put its root-cert.pem and root-key.pem into {}",
            certs.display()
        )));
    }
    Ok(issue::root(organization, now)?)
}

/// A mesh that was applied keeps its root: a new one would cut its clusters off from each other.
pub(super) fn root_lost(certs: &Path) -> Failure {
    Failure::new(format!("the root CA of this mesh is missing from {}", certs.display()))
        .hint("restore root-cert.pem and root-key.pem from your backup")
}

/// A root that was replaced by hand would cut the clusters off from each other one by one.
fn check_record(local: &Local, root: &Root) -> Result<(), Failure> {
    match &local.state.root {
        Some(recorded) if *recorded != root.certificate.fingerprint => Err(Failure::new(format!(
            "the root CA in {} is not the one that this mesh was made with",
            local.home.certs().display()
        ))
        .hint("restore root-cert.pem and root-key.pem: clusters with different roots refuse each other's traffic")
        .hint(format!(
            "compare: `openssl x509 -noout -fingerprint -sha256 -in {}` should give {recorded}",
            quote(&local.home.certs().join("root-cert.pem").to_string_lossy())
        ))),
        _ => Ok(()),
    }
}

fn refuse_mixed_trust(
    root: &Root,
    live: &[(&Site, &Observed, Option<Found>)],
) -> Result<(), Failure> {
    let mut foreign = Vec::new();
    for (site, _, found) in live {
        let Some(found) = found else { continue };
        let roots = found.cacerts.roots()?;
        if !roots.contains(&root.certificate) {
            let print: String = roots[0].fingerprint.chars().take(16).collect();
            foreign.push((*site, roots[0].subject.clone(), print));
        }
    }
    if foreign.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = foreign
        .iter()
        .map(|(site, subject, print)| format!("`{}` ({subject}, SHA-256 {print})", site.context()))
        .collect();
    let (site, ..) = foreign[0];
    let own: String = root.certificate.fingerprint.chars().take(16).collect();
    Err(Failure::new(format!(
        "the Secret {}/cacerts has another root than the mesh's ({}, SHA-256 {own}): {}; \
         no cluster was written to, as clusters with different roots refuse each other's traffic",
        site.namespace(),
        root.certificate.subject,
        list.join(", "),
    ))
    .hint(format!("leave the cluster out for now: `{}`", without(site.context())))
    .hint(format!(
        "or, if nothing there needs the old root: `kubectl{} -n {} delete secret cacerts`",
        site.same_cluster(),
        site.namespace()
    )))
}

/// A control plane that was installed without `cacerts` signs with a root that nobody else has.
fn refuse_self_signed(site: &Site, seen: &Observed, has_cacerts: bool) -> Result<(), Failure> {
    let running = seen.istiods.iter().any(|d| d["metadata"]["namespace"] == site.namespace());
    if site.managed() || has_cacerts || !running {
        return Ok(());
    }
    Err(Failure::new(format!(
        "`{}`: its istiod has no Secret {}/cacerts, so it signs with a root of its own",
        site.context(),
        site.namespace()
    ))
    .hint("give it an intermediate of the mesh's root first")
    .hint(format!("or leave it out: `{}`", without(site.context()))))
}

/// The intermediate that a cluster should have: the one on disk, the cluster's own where it is
/// newer or the only one, or a new one; with what the mesh directory has to learn of it. The one on
/// disk is another cluster's where the context leads to another one than before: `anew`.
fn intermediate(
    store: &Store,
    trust: &mut Trust,
    site: &Site,
    live: Option<Found>,
    anew: bool,
    now: Timestamp,
) -> Result<(Cacerts, Option<CertificateChange>), Failure> {
    use CertificateChange::{Issue, Renew, Store as Keep};
    let (cluster, context) = (site.cluster.as_ref(), site.context());
    let root = &trust.root;
    let disk = store.intermediate(cluster, context)?.filter(|_| !anew);
    let disk = disk.map(|(_, cacerts)| cacerts);
    let live = live.map(|found| found.cacerts);
    let live_is_good =
        live.as_ref().is_some_and(|live| live.verify(&root.certificate, now).is_ok());
    let (current, change) = match (disk, live) {
        (Some(disk), Some(live)) => {
            if live_is_good && supersedes(&live, &disk)? {
                (live, Some(Keep))
            } else {
                (disk, None)
            }
        }
        (Some(disk), None) => (disk, None),
        (None, Some(live)) if live_is_good => (live, Some(Keep)),
        (None, Some(live)) if root.key.is_none() => (live, None),
        (None, _) => return Ok((issued(root, site, now)?, Some(Issue))),
    };
    let certificate = current.certificate()?;
    // Near the root's end a new one would end no later, and be renewed again and again.
    let gains = root.certificate.not_after > certificate.not_after;
    let due = renewal_due(&certificate, now);
    let expired = certificate.not_after < now;
    let can_issue = root.key.is_some();
    match current.verify(&root.certificate, now) {
        Ok(()) if due && gains && can_issue => Ok((issued(root, site, now)?, Some(Renew))),
        Ok(()) => {
            if due {
                let why =
                    if gains { "the root's key is not here" } else { "the root CA ends then too" };
                trust.notes.push(format!(
                    "`{context}`: the intermediate CA ends {} and cannot be renewed, as {why}",
                    certificate.not_after
                ));
            }
            Ok((current, change))
        }
        Err(_) if expired && gains && can_issue => Ok((issued(root, site, now)?, Some(Renew))),
        Err(_) if expired && !can_issue => Err(Failure::new(format!(
            "the intermediate CA of `{context}` expired at {}, and the root's key is not here",
            certificate.not_after
        ))
        .hint(format!(
            "put root-key.pem beside root-cert.pem in {} for one run",
            store.dir().display()
        ))),
        Err(error) => Err(error.into()),
    }
}

fn issued(root: &Root, site: &Site, now: Timestamp) -> Result<Cacerts, Failure> {
    Ok(issue::intermediate(root, site.cluster.as_ref(), site.namespace(), now)?)
}

/// Whether the cluster's intermediate wins over the one on disk: a colleague may have renewed it.
/// On a tie the cluster's stays, so that two laptops do not replace each other's in turn.
fn supersedes(live: &Cacerts, disk: &Cacerts) -> Result<bool, Failure> {
    let span = |cacerts: &Cacerts| {
        cacerts.certificate().map(|certificate| (certificate.not_after, certificate.not_before))
    };
    Ok(live != disk && span(live)? >= span(disk)?)
}
