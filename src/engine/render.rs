//! `render`: what an apply would write, as files for clusters that are fed from git.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::Value;

use super::check::check;
use super::connect::{Fleet, Purpose, Reached, reach_all};
use super::event::{Event, Events};
use super::istioctl::Istioctl;
use super::links;
use super::local::{Local, Options, Site};
use super::observe::Observed;
use super::outdir::{Content, OutDir};
use super::policy;
use super::prepare::{emit_notes, place, render_all};
use super::trust::{self, Trust};
use crate::error::Failure;
use crate::istio::remote_secret::{self, Credential};
use crate::kube::quote;
use crate::plan::desired::{Rendering, desired};
use crate::plan::folder::{
    self, CONTROL_PLANE, GATEWAYS, GITIGNORE, KUSTOMIZATION, Owner, SECRETS,
};

pub use super::outdir::Tally;

/// The file of the intermediate CA.
const CACERTS: &str = "cacerts.yaml";

/// What the user wants of a render.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The folder to fill.
    pub out: PathBuf,
    /// Whether to ask the clusters and to render the secrets too.
    pub secrets: bool,
    /// The organisation of a root CA that has to be made.
    pub organization: Option<String>,
    /// Whether the folders of clusters go that the topology lists no more.
    pub prune: bool,
}

/// What was rendered.
#[derive(Debug)]
pub struct Rendered {
    /// The contexts, each with the folder of its cluster.
    pub clusters: Vec<(String, PathBuf)>,
    /// What became of the files.
    pub tally: Tally,
    /// The contexts whose secrets could not be rendered, and why.
    pub failed: BTreeMap<String, Failure>,
    /// The contexts to which the others are not linked yet, as they have no token to give.
    pub waiting: Vec<String>,
}

/// Renders the selected clusters. Clusters are asked only for the secrets, and never written to.
pub async fn render(
    local: &Local,
    options: &Options,
    terms: &Terms,
    events: &Events,
) -> Result<Rendered, Failure> {
    let mesh_id = local.topology.mesh_id.as_ref();
    let names = local.sites.iter().map(|site| site.cluster.as_ref());
    let out = OutDir::new(&terms.out, mesh_id, &local.home.dir, names)?;
    let base = if terms.secrets { check(local)? } else { local.base()? };
    emit_notes(local, &base, events);
    let contexts = local.selected().map(|site| site.context().to_owned()).collect();
    events.emit(Event::Started { contexts });
    let istioctl = Istioctl::find(options.istioctl.as_deref(), local.home.cache())?;
    let charts = render_all(local, &istioctl, &base).await?;
    let istio = istioctl.version().await?;
    let fleet = if terms.secrets {
        let fleet = reach_all(local, options, Purpose::Look, events).await?.some()?;
        policy::check_members(local, options, &fleet.reached)?;
        Some(fleet)
    } else {
        tell_renames(local, events);
        None
    };
    let mut files = BTreeMap::new();
    for site in local.selected() {
        let Some(charts) = charts.get(site.context()) else { continue };
        // Whose the namespace is only its cluster knows, so it is not taken for the mesh's.
        let objects = desired(&place(local, site, istio, false), charts, None);
        let context = quote(site.context());
        let texts = folder::files(&owner(local, site, &context), &objects).into_iter();
        let path = |name| format!("{}/{name}", site.cluster);
        files.extend(texts.map(|(name, text)| (path(name), Content::Shared(text))));
    }
    let keys = match &fleet {
        Some(fleet) => Some(secrets(local, fleet, terms, &out, events)?),
        None => None,
    };
    let (keys, private) = keys.map_or((None, BTreeMap::new()), |(keys, files)| (Some(keys), files));
    files.extend(private);
    out.check(files.keys())?;
    if let Some(keys) = &keys {
        // What a cluster gets is kept first: it could not be made a second time.
        keys.trust.save(&local.home.certs())?;
        for folder in keys.wanted.iter().filter(|(_, names)| !names.is_empty()).map(|(it, _)| it) {
            out.make_private(folder)?;
        }
    }
    let mut tally = Tally::default();
    out.write(&files, &mut tally)?;
    clear(local, &out, &files, keys.as_ref(), &mut tally)?;
    clear_gone(local, &out, terms, events, &mut tally)?;
    let (failed, waiting) = keys.map(|keys| (keys.failed, keys.waiting)).unwrap_or_default();
    for site in local.selected().filter(|site| !failed.contains_key(site.context())) {
        let what = "rendered".to_owned();
        events.emit(Event::Finished { context: site.context().to_owned(), what });
    }
    let folder = |site: &Site| terms.out.join(site.cluster.as_ref());
    let clusters = local.selected().map(|site| (site.context().to_owned(), folder(site))).collect();
    Ok(Rendered { clusters, tally, failed, waiting })
}

/// What is known of the secrets of a run.
struct Secrets {
    trust: Trust,
    /// The names of the files that belong into each folder of secrets, whether this run can make
    /// them or not.
    wanted: BTreeMap<String, BTreeSet<String>>,
    failed: BTreeMap<String, Failure>,
    waiting: Vec<String>,
}

/// Decides the secrets of all clusters that answered, and renders those that can be made.
fn secrets(
    local: &Local,
    fleet: &Fleet<'_>,
    terms: &Terms,
    out: &OutDir<'_>,
    events: &Events,
) -> Result<(Secrets, BTreeMap<String, Content>), Failure> {
    let observed: Vec<(&Site, &Observed)> =
        fleet.reached.iter().map(|one| (one.site, one.seen.as_ref())).collect();
    let organization = terms.organization.as_deref().unwrap_or(trust::DEFAULT_ORGANIZATION);
    let trust = trust::decide(local, &observed, organization, Timestamp::now())?;
    for text in trust.notes.iter().cloned() {
        events.emit(Event::Note { text });
    }
    for (context, failure) in &trust.failed {
        events.emit(Event::Failed { context: context.clone(), failure: failure.clone() });
    }
    let good = fleet.reached.iter().filter(|one| !trust.failed.contains_key(one.site.context()));
    let good: Vec<&Reached<'_>> = good.collect();
    let credentials: BTreeMap<&str, Credential> = good
        .iter()
        .filter_map(|one| {
            Some((one.site.cluster.as_ref(), links::seen_credential(one.site, &one.seen)?))
        })
        .collect();
    let (mut files, mut wanted) = (BTreeMap::new(), BTreeMap::new());
    for one in &good {
        let site = one.site;
        let folder = format!("{}/{SECRETS}", site.cluster);
        let (made, mut names) = secrets_of(local, one, &trust, &credentials, events);
        // A peer that does not answer now keeps its file.
        let mut listed = out.ours(&folder)?;
        listed.retain(|name| names.contains(name));
        listed.extend(made.keys().cloned());
        files.extend(made.into_iter().map(|(name, file)| (format!("{folder}/{name}"), file)));
        if !names.is_empty() {
            let mesh_id = local.topology.mesh_id.as_ref();
            let listed: Vec<&str> = listed.iter().map(String::as_str).collect();
            for (name, text) in [
                (KUSTOMIZATION, folder::kustomization(mesh_id, &listed)),
                (GITIGNORE, folder::gitignore(mesh_id)),
            ] {
                names.insert(name.to_owned());
                files.insert(format!("{folder}/{name}"), Content::Private(text.into()));
            }
        }
        wanted.insert(folder, names);
    }
    let waits = |site: &Site| {
        !local.peer_names(site).is_empty() && !credentials.contains_key(site.cluster.as_ref())
    };
    let waiting = good.iter().map(|one| one.site).filter(|site| waits(site));
    let waiting = waiting.map(|site| site.context().to_owned()).collect();
    let mut failed = trust.failed.clone();
    failed.extend(fleet.failed.clone());
    Ok((Secrets { trust, wanted, failed, waiting }, files))
}

/// The secrets of one cluster that can be made now, and the names of all that belong to it.
fn secrets_of(
    local: &Local,
    reached: &Reached<'_>,
    trust: &Trust,
    credentials: &BTreeMap<&str, Credential>,
    events: &Events,
) -> (BTreeMap<String, Content>, BTreeSet<String>) {
    let Reached { site, seen, .. } = reached;
    let context = quote(site.context());
    let owner = owner(local, site, &context);
    let file = |object: &Value| Content::Private(folder::secret(&owner, object));
    let mut made = BTreeMap::new();
    let mut names = BTreeSet::new();
    if let Some(cacerts) = trust.cacerts.get(site.context()) {
        let all = desired(&place(local, site, "", false), &Rendering::default(), Some(cacerts));
        let secret =
            all.iter().find(|o| o["kind"] == "Secret" && o["metadata"]["name"] == "cacerts");
        made.extend(secret.map(|secret| (CACERTS.to_owned(), file(secret))));
        names.insert(CACERTS.to_owned());
    }
    for peer in local.peer_names(site) {
        let namespace = site.namespace();
        if let Some(name) = links::held_by_another(&seen.remote_secrets, peer, namespace) {
            events.emit(Event::Note {
                text: format!(
                    "`{}`: the Secret {namespace}/{name} was made by somebody else and links `{peer}`: it is kept",
                    site.context()
                ),
            });
            continue;
        }
        let name = format!("{}.yaml", remote_secret::name(peer));
        names.insert(name.clone());
        if let Some(credential) = credentials.get(peer) {
            made.insert(name, file(&links::remote_secret_for(credential, namespace)));
        }
    }
    (made, names)
}

/// Removes what an earlier render left and nothing wants any more. Secrets are touched only where
/// they were decided.
fn clear(
    local: &Local,
    out: &OutDir<'_>,
    files: &BTreeMap<String, Content>,
    keys: Option<&Secrets>,
    tally: &mut Tally,
) -> Result<(), Failure> {
    if let Some(keys) = keys {
        for (folder, names) in &keys.wanted {
            out.clear(folder, |name| names.contains(name), tally)?;
        }
    }
    for site in local.selected() {
        for stage in [CONTROL_PLANE, GATEWAYS] {
            let folder = format!("{}/{stage}", site.cluster);
            out.clear(&folder, |name| files.contains_key(&format!("{folder}/{name}")), tally)?;
        }
    }
    Ok(())
}

/// Removes the folders of clusters that the topology lists no more, if the user wishes so: what
/// feeds clusters from them may take a control plane away with its folder, and a cluster may have
/// got another name by mistake.
fn clear_gone(
    local: &Local,
    out: &OutDir<'_>,
    terms: &Terms,
    events: &Events,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let members: BTreeSet<&str> = local.sites.iter().map(|site| site.cluster.as_ref()).collect();
    for cluster in out.clusters()?.into_iter().filter(|name| !members.contains(name.as_str())) {
        if !terms.prune {
            let text = format!(
                "`{}` is of a cluster that the topology does not list: it stays; `--prune` removes it",
                terms.out.join(&cluster).display()
            );
            events.emit(Event::Note { text });
            continue;
        }
        for part in [SECRETS, CONTROL_PLANE, GATEWAYS] {
            out.clear(&format!("{cluster}/{part}"), |_| false, tally)?;
        }
        out.clear(&cluster, |_| false, tally)?;
    }
    Ok(())
}

/// A context that is renamed keeps its cluster name only where the cluster is asked.
fn tell_renames(local: &Local, events: &Events) {
    let records = &local.state.contexts;
    let new = local.selected().filter(|site| !records.contains_key(site.context()));
    let new: Vec<String> = new.map(|site| format!("`{}`", site.context())).collect();
    let gone = records.iter().filter(|(context, _)| local.topology.member(context).is_none());
    if new.is_empty() {
        return;
    }
    for (context, record) in gone.filter(|(_, record)| {
        !local.sites.iter().any(|site| site.cluster.as_ref() == record.cluster)
    }) {
        events.emit(Event::Note {
            text: format!(
                "`{context}` has left the topology, and {} is new: if that is the same cluster, keep its name by `cluster: {}`",
                new.join(" or "),
                record.cluster
            ),
        });
    }
}

fn owner<'a>(local: &'a Local, site: &'a Site, context: &'a str) -> Owner<'a> {
    Owner {
        mesh_id: local.topology.mesh_id.as_ref(),
        cluster: site.cluster.as_ref(),
        context,
        namespace: site.namespace(),
    }
}
