//! The certificate authorities of a mesh: what is there, what is due, and what must not be mixed.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use super::local::{Local, Site};
use super::observe::Observed;
use crate::error::Failure;
use crate::pki::{self, Cacerts, Root, Store, issue, renewal_due};
use crate::plan::object;

/// The organisation of a root that nobody gave one, as Istio's own Makefile has it.
pub(super) const DEFAULT_ORGANIZATION: &str = "Istio";

/// The trust of a mesh, decided before anything is written to a cluster.
#[derive(Debug)]
pub(super) struct Trust {
    /// The root CA.
    pub root: Root,
    /// What each context's `cacerts` should hold; a context whose own is kept is not in it.
    pub cacerts: BTreeMap<String, Cacerts>,
    /// What was done or left, for the user.
    pub notes: Vec<String>,
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

/// Decides the CA of every observed cluster. Creates the root, and issues and stores intermediates,
/// where they are missing or due; refuses to mix roots before it writes anything.
pub(super) fn decide(
    local: &Local,
    observed: &[(&Site, &Observed)],
    organization: &str,
    now: Timestamp,
) -> Result<Trust, Failure> {
    let store = Store::open(local.home.certs());
    let live = observed
        .iter()
        .map(|(site, seen)| Ok((*site, *seen, live_cacerts(site, seen)?)))
        .collect::<Result<Vec<_>, Failure>>()?;
    let root = match store.root()? {
        Some(root) => root,
        None => new_root(local, &store, &live, organization, now)?,
    };
    refuse_mixed_trust(&root, &live)?;
    let mut trust = Trust { root, cacerts: BTreeMap::new(), notes: Vec::new() };
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
        let cacerts = intermediate(&store, &mut trust, site, found, now)?;
        trust.cacerts.insert(site.context().to_owned(), cacerts);
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
    let cacerts = parse(secret).map_err(|why| {
        Failure::new(format!(
            "`{}`: the Secret {}/cacerts cannot be used: {why}",
            site.context(),
            site.namespace()
        ))
        .hint(format!(
            "look at it: `kubectl --context {} -n {} describe secret cacerts`",
            site.context(),
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
    store: &Store,
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
    let root = issue::root(organization, now)?;
    store.create_root(&root)?;
    Ok(root)
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
            "compare: `openssl x509 -noout -fingerprint -sha256 -in {}/root-cert.pem` should give {recorded}",
            local.home.certs().display()
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
         nothing was written, as clusters with different roots refuse each other's traffic",
        site.namespace(),
        root.certificate.subject,
        list.join(", "),
    ))
    .hint(format!("leave the cluster out for now: `--contexts '^{}'`", site.context()))
    .hint(format!(
        "or, if nothing there needs the old root: `kubectl --context {} -n {} delete secret cacerts`",
        site.context(),
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
    .hint("give it an intermediate of the mesh's root first, or leave it out: `--contexts '^<context>'`"))
}

/// The intermediate that a cluster should have: the one on disk, the cluster's own where it is
/// newer or the only one, or a new one.
fn intermediate(
    store: &Store,
    trust: &mut Trust,
    site: &Site,
    live: Option<Found>,
    now: Timestamp,
) -> Result<Cacerts, Failure> {
    let (cluster, context) = (site.cluster.as_ref(), site.context());
    let on_disk = store.intermediate(cluster, context)?.map(|(_, cacerts)| cacerts);
    let live = live.map(|found| found.cacerts);
    let current = match (on_disk, live) {
        (Some(disk), Some(live)) => Some(newer(store, site, disk, live)?),
        (None, Some(live)) => {
            live.verify(&trust.root.certificate, now)?;
            store.save_intermediate(cluster, context, &live)?;
            Some(live)
        }
        (disk, None) => disk,
    };
    let due = match &current {
        None => true,
        Some(current) => renewal_due(&current.certificate()?, now),
    };
    if let Some(current) = current.filter(|_| !due || trust.root.key.is_none()) {
        current.verify(&trust.root.certificate, now)?;
        if due {
            trust.notes.push(format!(
                "`{context}`: the intermediate CA is due for renewal, but the root's key is not here; it ends {}",
                current.certificate()?.not_after
            ));
        }
        return Ok(current);
    }
    let fresh = issue::intermediate(&trust.root, cluster, site.namespace(), now)?;
    store.save_intermediate(cluster, context, &fresh)?;
    Ok(fresh)
}

/// A colleague may have renewed it: the later end wins, and the disk learns of it.
fn newer(store: &Store, site: &Site, disk: Cacerts, live: Cacerts) -> Result<Cacerts, Failure> {
    if live.certificate()?.not_after > disk.certificate()?.not_after {
        store.save_intermediate(site.cluster.as_ref(), site.context(), &live)?;
        return Ok(live);
    }
    Ok(disk)
}
