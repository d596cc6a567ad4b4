//! Contexts that were renamed in the kubeconfig and the topology: the cluster stays what it is.

use super::connect::connect;
use super::event::{Event, Events};
use super::fleet;
use super::local::{Local, Options, Site};
use crate::error::Failure;

/// Finds the contexts of the topology under which a cluster is reached that was applied under
/// another context, and goes on with what is on record of it. Clusters are asked only where a
/// context is new and another one has gone. One that does not answer stays as it is: the run that
/// follows tells why.
pub async fn follow_renames(
    local: &mut Local,
    options: &Options,
    events: &Events,
) -> Result<(), Failure> {
    let known = |site: &Site| local.state.contexts.contains_key(site.context());
    let new: Vec<&Site> = local.selected().filter(|site| !known(site)).collect();
    let gone = || {
        let records = local.state.contexts.iter();
        records.filter(|(context, _)| local.topology.member(context).is_none())
    };
    if gone().next().is_none() {
        return Ok(());
    }
    let looks = new.into_iter().map(|site| async {
        let cluster = connect(local, options, site.context()).await.ok()?;
        let uid = cluster.uid().await.ok()?.to_owned();
        Some((site.context().to_owned(), uid))
    });
    let found = fleet::all(options.parallel, looks).await.into_iter().flatten();
    let renamed: Vec<(String, String)> = found
        .filter_map(|(now, uid)| {
            let (then, _) = gone().find(|(_, record)| record.uid == uid)?;
            Some((then.clone(), now))
        })
        .collect();
    for (then, now) in &renamed {
        let cluster = &local.state.contexts[then].cluster;
        let text = format!(
            "`{now}` is the cluster that was applied as `{then}`: it keeps the name `{cluster}`"
        );
        events.emit(Event::Note { text });
    }
    local.follow(&renamed)
}
