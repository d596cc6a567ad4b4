//! One cluster's part of a teardown: stage by stage, until a look finds nothing more.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::look::{Owner, look, owner};
use crate::engine::event::{Event, Events};
use crate::engine::fleet::{self, REQUESTS};
use crate::engine::lease::ClusterLease;
use crate::engine::observe::{Observed, observe};
use crate::error::Failure;
use crate::kube::{Apply, Cluster, Deletion, Error, Propagation, ResourceId};
use crate::plan::object::PARENT;
use crate::plan::removal::{Ground, Removal, Stage, Stay, Target};

/// How often a cluster is asked while waiting.
const INTERVAL: Duration = Duration::from_millis(250);
/// How often the user is told what is waited for.
const TELL: Duration = Duration::from_secs(5);
/// How long an API server may be silent while it is waited for.
const SILENCE: Duration = Duration::from_secs(45);
/// How long a look may take though the time is over: at least one is made.
const LEAST: Duration = Duration::from_secs(1);
/// How long Kubernetes may take to collect what deleted objects owned.
const COLLECTION: Duration = Duration::from_secs(20);

/// What became of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleared {
    /// How many objects were deleted.
    pub deleted: usize,
    /// What stays, and why.
    pub stays: Vec<Stay>,
}

/// What was sent to be deleted.
#[derive(Default)]
struct Sent<'t> {
    deleted: usize,
    pending: Vec<&'t Target>,
}

/// A cluster that is cleared.
pub(in crate::engine) struct Demolition<'a> {
    pub cluster: &'a Cluster,
    pub namespace: &'a str,
    pub mesh_id: &'a str,
    pub limit: Duration,
    pub deadline: Instant,
    pub lease: &'a ClusterLease<'a>,
    pub events: &'a Events,
}

impl Demolition<'_> {
    /// Deletes what is the tool's, and what turns up meanwhile; ends with a look that finds nothing
    /// more. It decides anew: the user may have taken a while to agree.
    pub(in crate::engine) async fn run(&self) -> Result<Cleared, Failure> {
        let mut deleted = 0;
        // A namespace that was made since the survey may be another run's.
        let ground = ResourceId::cluster("v1", "Namespace", self.namespace);
        let ground = self.cluster.get(&ground).await?;
        if ground.is_some_and(|ns| !ns["metadata"]["deletionTimestamp"].is_string()) {
            self.lease.ensure().await?;
        }
        let mut now = Box::pin(self.look()).await?;
        let ground_goes = now.ground == Ground::Delete;
        while !now.targets.is_empty() {
            deleted += self.delete_all(&now.targets).await?;
            now = Box::pin(self.settle(ground_goes)).await?;
            // A dying istiod writes until its last moment.
            if !now.targets.is_empty() {
                self.check_time(|| {
                    let list: Vec<String> = now.targets.iter().map(|t| t.key.to_string()).collect();
                    format!("these come back when they are deleted: {}", shorten(&list))
                })?;
            }
        }
        deleted += self.level(&now).await?;
        self.step("reading back");
        let left = Box::pin(self.look()).await?;
        if left.is_nothing() {
            return Ok(Cleared { deleted, stays: now.stays });
        }
        let mut list: Vec<String> = left.targets.iter().map(|t| t.key.to_string()).collect();
        if left.ground != Ground::Clean {
            list.push(format!("Namespace {}", self.namespace));
        }
        Err(Failure::new(format!(
            "`{}`: these of mesh {} are still there: {}",
            self.cluster.context(),
            self.mesh_id,
            shorten(&list)
        ))
        .hint(
            "is somebody applying the mesh at the same time? Run the same command again after that",
        ))
    }

    async fn look(&self) -> Result<Removal, Failure> {
        let identity = ResourceId::cluster("v1", "Namespace", "kube-system");
        let (seen, identity) = futures::try_join!(
            Box::pin(observe(self.cluster, self.namespace)),
            self.cluster.get(&identity),
        )?;
        let uid = identity.as_ref().and_then(|ns| ns["metadata"]["uid"].as_str());
        self.check(&seen, uid.unwrap_or_default())?;
        Ok(look(self.cluster, self.namespace, &seen).await?)
    }

    /// Refuses to go on where another cluster answers now, or where the objects became another
    /// mesh's. `seen` has the UID that the cluster had at first.
    fn check(&self, seen: &Observed, uid: &str) -> Result<(), Failure> {
        let (context, namespace) = (self.cluster.context(), self.namespace);
        let whose = match owner(seen, self.mesh_id) {
            Owner::Us if seen.uid == uid => return Ok(()),
            Owner::Us => {
                return Err(Failure::new(format!(
                    "`{context}`: another cluster answers now (kube-system has the UID {uid}, and had {}); \
                     nothing more is deleted there",
                    seen.uid
                ))
                .hint("point the context to the right cluster in your kubeconfig, then run the same command again"));
            }
            Owner::Tool(_) => "another tool".to_owned(),
            Owner::Mesh(mesh) => format!("the mesh `{mesh}`"),
        };
        Err(Failure::new(format!(
            "`{context}`: what is in the namespace {namespace} belongs to {whose} now, not to `{}`; \
             nothing more is deleted there",
            self.mesh_id
        ))
        .hint("run the same command again: it looks at what is there now"))
    }

    /// Looks again; where a namespace that was to go seems to hold something now, Kubernetes gets
    /// time to collect what the deleted objects owned.
    async fn settle(&self, ground_goes: bool) -> Result<Removal, Failure> {
        let until = self.deadline.min(Instant::now() + COLLECTION);
        loop {
            let now = self.look().await?;
            let unsettled = ground_goes && now.ground == Ground::Release;
            if !now.targets.is_empty() || !unsettled || Instant::now() >= until {
                return Ok(now);
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Deletes these, stage by stage. While the API server takes its seconds to drop definitions,
    /// the rest is deleted; but not before the pods have ended, as both are work for the garbage
    /// collector of Kubernetes, which does the one at the cost of the other.
    async fn delete_all(&self, targets: &[Target]) -> Result<usize, Failure> {
        let mut sent = Sent::default();
        self.send(targets, Stage::Webhooks, &mut sent).await?;
        self.send(targets, Stage::Workloads, &mut sent).await?;
        self.await_all(&mut sent).await?;
        for stage in [Stage::Definitions, Stage::Foundation, Stage::Rights, Stage::Leftovers] {
            self.send(targets, stage, &mut sent).await?;
        }
        self.await_all(&mut sent).await?;
        Ok(sent.deleted)
    }

    /// Sends the deletions of a stage.
    async fn send<'t>(
        &self,
        targets: &'t [Target],
        stage: Stage,
        sent: &mut Sent<'t>,
    ) -> Result<(), Failure> {
        let targets: Vec<&Target> = targets.iter().filter(|t| t.stage == stage).collect();
        if targets.is_empty() {
            return Ok(());
        }
        self.step(step_name(stage));
        let sends = targets.iter().map(|target| self.delete(target));
        let results = fleet::try_all(REQUESTS, sends).await?;
        sent.deleted += results.iter().filter(|d| **d != Deletion::AlreadyGone).count();
        let pending = targets.into_iter().zip(results).filter(|(_, d)| *d == Deletion::Deleting);
        sent.pending.extend(pending.map(|(target, _)| target));
        Ok(())
    }

    /// Waits until what was sent is gone.
    async fn await_all(&self, sent: &mut Sent<'_>) -> Result<(), Failure> {
        self.await_end(std::mem::take(&mut sent.pending)).await
    }

    async fn delete(&self, target: &Target) -> Result<Deletion, Failure> {
        let cluster = self.lease.bound_if_held().await?;
        let has_pods = target.key.group == "apps";
        let propagation = if has_pods { Propagation::Foreground } else { Propagation::Background };
        let result = cluster.delete(&target.into(), Some(&target.uid), propagation).await?;
        tracing::info!(context = self.cluster.context(), object = %target.key, ?result, "deleted");
        Ok(result)
    }

    /// Waits until objects that are being deleted are gone.
    async fn await_end(&self, mut pending: Vec<&Target>) -> Result<(), Failure> {
        let mut told = Instant::now();
        let mut answered = Instant::now();
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            // A server that falls silent does not prolong the wait.
            let cluster = &self.cluster.within(left.max(LEAST));
            let looks =
                pending.iter().map(|target| async { (*target, obstacle(cluster, target).await) });
            let mut left = Vec::new();
            for (target, obstacle) in fleet::all(REQUESTS, looks).await {
                match obstacle {
                    Ok(None) => answered = Instant::now(),
                    Ok(Some(why)) => {
                        answered = Instant::now();
                        left.push((target, why));
                    }
                    Err(error) if error.is_final() || answered.elapsed() >= SILENCE => {
                        return Err(error.into());
                    }
                    // An API server may restart meanwhile.
                    Err(error) => left.push((target, error.to_string())),
                }
            }
            let Some((target, why)) = left.first() else { return Ok(()) };
            let more = left.len() - 1;
            let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
            let what = format!("{}{more}: {why}", target.key);
            self.check_time(|| format!("still being deleted: {what}"))
                .map_err(|failure| failure.hint(self.describe(&(*target).into())))?;
            if told.elapsed() >= TELL {
                told = Instant::now();
                let context = self.cluster.context().to_owned();
                self.events.emit(Event::Waiting { context, what });
            }
            pending = left.into_iter().map(|(target, _)| target).collect();
            tokio::time::sleep(INTERVAL).await;
        }
    }

    fn describe(&self, id: &ResourceId) -> String {
        let at = self.cluster.same_cluster();
        let place = id.namespace.as_ref().map_or_else(String::new, |ns| format!(" -n {ns}"));
        let kind = id.kind.to_lowercase();
        format!("look at it: `kubectl{at}{place} describe {kind} {}`", id.name)
    }

    fn check_time(&self, what: impl Fn() -> String) -> Result<(), Failure> {
        if Instant::now() < self.deadline {
            return Ok(());
        }
        Err(Failure::new(format!(
            "`{}`: not done within {} s: {}",
            self.cluster.context(),
            self.limit.as_secs(),
            what()
        ))
        .hint("run the same command again, for longer with `--timeout 15m`: it goes on where it stopped"))
    }

    /// The namespace and the apply set's parent in it, which goes last.
    async fn level(&self, removal: &Removal) -> Result<usize, Failure> {
        let id = ResourceId::cluster("v1", "Namespace", self.namespace);
        if removal.ground == Ground::Delete {
            self.step("deleting the namespace");
            let Some(namespace) = self.cluster.get(&id).await? else { return Ok(0) };
            let target = Target::new(Stage::Foundation, &namespace);
            if self.delete(&target).await? == Deletion::Deleting {
                self.await_end(vec![&target]).await?;
            }
            return Ok(1 + usize::from(removal.parent));
        }
        if removal.ground == Ground::Release {
            self.step("taking the labels off the namespace");
            // Fields that an apply does not name any more are taken off.
            let nothing = json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": self.namespace },
            });
            let cluster = self.lease.bound_if_held().await?;
            cluster.apply(&nothing, Apply::default()).await?;
        }
        if !removal.parent {
            return Ok(0);
        }
        let parent = ResourceId::namespaced("v1", "ConfigMap", self.namespace, PARENT);
        let Some(found) = self.cluster.get(&parent).await? else { return Ok(0) };
        // Before the parent: a run that is killed in between leaves nothing that is not found again.
        self.lease.release().await;
        // Whoever writes it from here on keeps it.
        let result = self.cluster.delete_unchanged(&found).await?;
        Ok(usize::from(matches!(result, Deletion::Deleted | Deletion::Deleting)))
    }

    fn step(&self, what: &str) {
        let context = self.cluster.context().to_owned();
        self.events.emit(Event::Step { context, what: what.to_owned() });
    }
}

fn step_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Webhooks => "deleting webhooks",
        Stage::Workloads => "deleting gateways and istiod",
        Stage::Definitions => "deleting custom resource definitions",
        Stage::Foundation | Stage::Rights | Stage::Leftovers => {
            "deleting services, secrets, configuration and roles"
        }
    }
}

/// Why an object is still there, if it is.
async fn obstacle(cluster: &Cluster, target: &Target) -> Result<Option<String>, Error> {
    let object = cluster.get(&target.into()).await?;
    let same = object.filter(|object| object["metadata"]["uid"] == target.uid.as_str());
    Ok(same.as_ref().map(remains))
}

/// What keeps an object that is being deleted.
fn remains(object: &Value) -> String {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let told = conditions.into_iter().flatten().find(|condition| {
        let kind = condition["type"].as_str().unwrap_or_default();
        condition["status"] == "True"
            && (kind.starts_with("NamespaceDeletion")
                || kind.ends_with("Remaining")
                || kind == "Terminating" && object["kind"] == "CustomResourceDefinition")
    });
    if let Some(message) = told.and_then(|condition| condition["message"].as_str()) {
        return message.to_owned();
    }
    let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    let finalizers: BTreeSet<&str> =
        finalizers.into_iter().flatten().filter_map(Value::as_str).collect();
    if finalizers.contains("foregroundDeletion") {
        "its pods have not ended yet".to_owned()
    } else if finalizers.is_empty() {
        "it has not gone yet".to_owned()
    } else {
        let names: Vec<&str> = finalizers.into_iter().collect();
        format!("it waits for the finalizers {}", names.join(", "))
    }
}

/// The first few of a list.
fn shorten(list: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = &list[..list.len().min(SHOWN)];
    let more = list.len() - shown.len();
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_an_object_is_said() {
        let with = |finalizers: Value| json!({ "metadata": { "finalizers": finalizers } });
        assert_eq!(remains(&with(json!(["foregroundDeletion"]))), "its pods have not ended yet");
        assert_eq!(
            remains(&with(json!(["example.com/hold"]))),
            "it waits for the finalizers example.com/hold"
        );
        let namespace = json!({ "status": { "conditions": [
            { "type": "NamespaceDeletionContentFailure", "status": "False", "message": "fine" },
            { "type": "NamespaceContentRemaining", "status": "True", "message": "1 pod" },
        ] } });
        assert_eq!(remains(&namespace), "1 pod");
    }

    #[test]
    fn long_lists_are_shortened() {
        let list: Vec<String> = (1..=7).map(|n| n.to_string()).collect();
        assert_eq!(shorten(&list), "1, 2, 3, 4, 5 and 2 more");
        assert_eq!(shorten(&list[..2]), "1, 2");
    }
}
