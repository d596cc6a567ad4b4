//! Taking a lease, and what is said where somebody else has it.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::time::Instant;

use super::Run;
use super::grip::Moment;
use crate::error::Failure;
use crate::kube::{Cluster, Error, FIELD_MANAGER, ResourceId};
use crate::plan::lease::{self, Claim, Holder, Other};

/// How often a lease is tried that changes hands at this very moment.
const TRIES: usize = 5;
/// How long all of it may take: the other clusters wait until it is known who is locked.
const LIMIT: Duration = Duration::from_secs(30);
/// How long a request may take though that time is over.
const LEAST: Duration = Duration::from_secs(1);
/// How long an API server is left alone that did not answer as it should.
const PAUSE: Duration = Duration::from_millis(500);

/// What came of a try to take a lease.
pub(super) enum Try {
    Taken {
        lease: Value,
        /// When it was asked for.
        asked: Moment,
        /// Whether it was somebody else's, who is gone.
        over: bool,
    },
    Busy(Other),
}

/// Tries to take a lease, and clears away what is over. Only for a run that does not have it: one of
/// the same mesh directory is taken for a killed run's.
pub(super) async fn take(
    holder: &Holder,
    cluster: &Cluster,
    namespace: &str,
) -> Result<Try, Error> {
    let id = ResourceId::namespaced(lease::API_VERSION, "Lease", namespace, lease::NAME);
    let end = Instant::now() + LIMIT;
    let mut over = false;
    let mut tries = 0;
    loop {
        tries += 1;
        let left = end.saturating_duration_since(Instant::now());
        let cluster = &cluster.within(left.max(LEAST));
        let wanted = lease::lease(namespace, holder, Timestamp::now());
        let asked = Moment::now();
        let error = match cluster.create(&wanted, false).await {
            Ok(lease) => return Ok(Try::Taken { lease, asked, over }),
            Err(error) => error,
        };
        match error {
            error if tries == TRIES || Instant::now() >= end => return Err(error),
            Error::AlreadyExists { .. } => {}
            // It may have been made all the same: then it is of this mesh directory. What counts
            // objects, a quota for one, may have been overtaken by another write.
            Error::Interrupted { .. }
            | Error::TimedOut { .. }
            | Error::Unavailable { .. }
            | Error::Changed { .. } => {
                tokio::time::sleep(PAUSE).await;
            }
            error => return Err(error),
        }
        let Some(found) = cluster.get(&id).await? else { continue };
        if !lease::is_of(&found, &holder.directory) {
            let now = server_time(cluster, namespace).await?;
            match lease::judge(Some(&found), &holder.directory, FIELD_MANAGER, now) {
                Claim::Held(other) => return Ok(Try::Busy(other)),
                Claim::Stale(other) => {
                    over = true;
                    let context = cluster.context();
                    tracing::info!(context, holder = other.name, "taking a stale lease over");
                }
                Claim::Free | Claim::Mine => {}
            }
        }
        // As it was read: a holder that has come back renews it.
        cluster.delete_unchanged(&found).await?;
    }
}

/// The API server's time, as it would stamp an object that is made now.
async fn server_time(cluster: &Cluster, namespace: &str) -> Result<Timestamp, Error> {
    let made = cluster.create(&lease::probe(namespace), true).await?;
    lease::created(&made).ok_or_else(|| cluster.garbled("create", "a Lease", "it has no time"))
}

/// Says who has a lease, since when, and what to do about it.
pub(super) fn held(run: &Run, cluster: &Cluster, namespace: &str, other: &Other) -> Failure {
    let (context, at) = (cluster.context(), cluster.same_cluster());
    let Run { holder: Holder { command, .. }, flags: same_run, .. } = run;
    let mut text = format!("`{context}`: {} is at work on this cluster", other.name);
    if let Some(command) = &other.command {
        let _ = write!(text, " (`{command}`)");
    }
    if let Some(since) = other.since {
        let _ = write!(text, ", since {since}");
    }
    let _ = match other.silent {
        Some(silent) => write!(text, ", last heard of {} s ago", silent.as_secs().max(0)),
        None => write!(text, "; its Lease {namespace}/{} is not of this tool", lease::NAME),
    };
    if !run.wait.is_zero() {
        let _ = write!(text, "; waited {} s for it to end", run.wait.as_secs());
    }
    let failure = Failure::new(text).hint(format!(
        "wait for it to end: `kubectl multimesh {command}{same_run} --wait-lock 5m`"
    ));
    match other.silent {
        Some(silent) => {
            let left = (other.lasts - silent).max(SignedDuration::ZERO).as_secs() + 1;
            failure.hint(format!(
                "if that run was killed, its lease ends in {left} s, and the next run takes it over"
            ))
        }
        None => failure.hint(format!(
            "if nobody needs it: `kubectl{at} -n {namespace} delete lease {}`",
            lease::NAME
        )),
    }
}
