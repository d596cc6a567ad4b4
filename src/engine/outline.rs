//! What was prepared, as data that people and programs read; validated by the API servers where
//! that is possible.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::event::{Event, Events};
use super::fleet::{self, REQUESTS};
use super::local::{Local, Options, Site};
use super::prepare::{Prepared, Wishes, Work};
use super::quoted::without_secrets;
use crate::error::{Failure, beside};
use crate::kube::{Apply, Cluster, Error, ResourceId};
use crate::plan::change::{Change, Verb};
use crate::plan::compare::is_unread;
use crate::plan::object::Key;
use crate::plan::outline::{Changes, ClusterOutline, ObjectChange, Outline, Standing};
use crate::plan::prune::Prune;

impl Prepared<'_> {
    /// What would be done.
    pub fn outline(&self, local: &Local, wishes: &Wishes) -> Outline {
        let sites = local.sites.iter().chain(&local.leavers).filter(|site| site.selected);
        let mut clusters: Vec<ClusterOutline> =
            sites.filter_map(|site| self.cluster(site, wishes)).collect();
        let known: BTreeSet<&str> = clusters.iter().map(|c| c.context.as_str()).collect();
        let lost: Vec<ClusterOutline> = local
            .lost()
            .filter(|(context, _)| !known.contains(context.as_str()))
            .filter_map(|(context, record)| {
                Some(ClusterOutline {
                    context: context.clone(),
                    cluster: record.cluster.clone(),
                    network: record.network.clone(),
                    namespace: record.namespace.clone(),
                    server: record.server.clone(),
                    standing: self.unknown(context)?,
                })
            })
            .collect();
        clusters.extend(lost);
        Outline {
            mesh_id: local.topology.mesh_id.to_string(),
            istio: self.istio.clone(),
            new_root: self.trust.new_root.then(|| self.trust.root.certificate.subject.clone()),
            clusters,
        }
    }

    fn cluster(&self, site: &Site, wishes: &Wishes) -> Option<ClusterOutline> {
        let context = site.context();
        let member = self.work.iter().find(|work| work.context() == context);
        let leaver = self.leavers.iter().find(|leaver| leaver.context() == context);
        let standing = match (member, leaver) {
            (Some(work), _) => Standing::Member(self.changes(work)),
            (None, Some(leaver)) => Standing::Leaver(leaver.outline(wishes.keep_control_plane)),
            (None, None) => self.unknown(context)?,
        };
        Some(ClusterOutline {
            context: context.to_owned(),
            cluster: site.cluster.to_string(),
            network: site.member.network.to_string(),
            namespace: site.namespace().to_owned(),
            server: site.entry.server.clone(),
            standing,
        })
    }

    fn unknown(&self, context: &str) -> Option<Standing> {
        let failure = self.failed.get(context)?;
        Some(Standing::Unknown { reason: failure.message.clone(), hints: failure.hints.clone() })
    }

    fn changes(&self, work: &Work<'_>) -> Changes {
        let written = work.changes.iter().map(object_change);
        let links = work.links.iter().map(|link| ObjectChange {
            verb: link.verb,
            key: link.key.clone(),
            api_version: "v1".to_owned(),
            link: Some(link.cluster.clone()),
            before: link.before.clone(),
            after: link.after.clone(),
            refusal: None,
        });
        let gone = work.prunes.iter().map(pruned);
        Changes {
            certificate: self.trust.change(work.context()),
            objects: written.chain(links).chain(gone).collect(),
            unchanged: work.desired.len() - work.changes.len(),
        }
    }

    /// Has the API servers validate what would be written, without writing it: changed objects are
    /// then shown as they would be, and what would be refused is told. Where a namespace or a
    /// definition is not there yet, or the user may not write, there is nothing to ask. A cluster
    /// that stops answering is unknown, and tried no further.
    pub async fn validate(
        &self,
        outline: &mut Outline,
        options: &Options,
        wishes: &Wishes,
        events: &Events,
    ) {
        let runs = outline.clusters.iter_mut().filter_map(|cluster| {
            let work = self.work.iter().find(|work| work.context() == cluster.context)?;
            let Standing::Member(changes) = &mut cluster.standing else { return None };
            if changes.objects.is_empty() {
                return None;
            }
            let standing = &mut cluster.standing;
            Some(async move {
                let Standing::Member(changes) = standing else { return };
                let (context, what) = (work.context().to_owned(), "trying the changes".to_owned());
                events.emit(Event::Step { context, what });
                let fresh = work.reached.seen.namespace.is_none();
                let tries = changes
                    .objects
                    .iter_mut()
                    .filter(|object| !fresh || object.key.namespace.is_empty())
                    .map(|object| dry_run(&work.reached.cluster, object, wishes.force));
                if let Err(failure) = fleet::try_all(REQUESTS, tries).await {
                    let context = work.context().to_owned();
                    let Failure { message: reason, hints, .. } = failure.clone();
                    *standing = Standing::Unknown { reason, hints };
                    events.emit(Event::Failed { context, failure });
                    return;
                }
                let refused = changes.objects.iter().filter(|o| o.refusal.is_some()).count();
                let what = match refused {
                    0 => "compared".to_owned(),
                    n => format!("{n} would be refused"),
                };
                events.emit(Event::Finished { context: work.context().to_owned(), what });
            })
        });
        fleet::all(options.parallel, runs).await;
    }
}

/// Tries a change, and notes what would come of it.
///
/// # Errors
/// If the cluster gives no answer to that: it has neither agreed nor refused.
async fn dry_run(cluster: &Cluster, object: &mut ObjectChange, force: bool) -> Result<(), Failure> {
    // What is large was read without its content.
    if let Some(before) = object.before.as_ref().filter(|before| is_unread(before))
        && let Some(id) = ResourceId::of(before)
    {
        match cluster.get(&id).await {
            Ok(Some(before)) => object.before = Some(before),
            Ok(None) | Err(Error::Forbidden { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let Some(after) = &object.after else { return Ok(()) };
    let mut how = Apply { force: force || object.verb == Verb::Adopt, dry_run: true };
    let mut result = cluster.apply(after, how).await;
    if let Err(error @ Error::Conflict { .. }) = &result {
        object.refusal = Some(beside(&error.to_string(), cluster.context()).to_owned());
        // What it would come to if the user insisted.
        how.force = true;
        result = cluster.apply(after, how).await;
    }
    match result {
        Ok(result) if object.verb != Verb::Create => object.after = Some(Arc::new(result)),
        Ok(_)
        | Err(Error::NoNamespace { .. } | Error::UnknownKind { .. } | Error::Forbidden { .. }) => {}
        Err(error) if error.is_refusal() => {
            object.refusal = Some(beside(&error.to_string(), cluster.context()).to_owned());
        }
        Err(error) => return Err(without_secrets(after, object.before.as_ref(), error.into())),
    }
    Ok(())
}

fn object_change(change: &Change) -> ObjectChange {
    ObjectChange {
        verb: change.verb,
        key: change.key(),
        api_version: api_version(&change.object),
        link: None,
        before: change.before.clone(),
        after: Some(Arc::clone(&change.object)),
        refusal: None,
    }
}

fn pruned(prune: &Prune) -> ObjectChange {
    ObjectChange {
        verb: Verb::Prune,
        key: Key::of(&prune.object),
        api_version: prune.target.api_version.clone(),
        link: prune.link.clone(),
        before: Some(prune.object.clone()),
        after: None,
        refusal: None,
    }
}

fn api_version(object: &Value) -> String {
    object["apiVersion"].as_str().unwrap_or_default().to_owned()
}
