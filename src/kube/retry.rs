//! Which failed attempts are worth another one, and when.
//!
//! The decisions, all within the deadline of the call:
//!
//! - No connection: never sent, so every request may be repeated. A cluster that has not answered
//!   yet in this run gets [`FIRST_TRIES`] quick attempts, or a single one if it is silent; one that
//!   has answered before may be restarting and gets [`OUTAGE`].
//! - No answer, or half of one: repeated only where the request may arrive twice.
//! - 429: repeated after the delay asked for. 408, 502, 503, 504, a webhook that does not answer, a
//!   store between two leaders: repeated, unless it is a pod behind the API server that fails.
//! - Everything else is final: 403, 409, 422, a certificate, garbage. (A 401 is handled by the
//!   caller, which may have a newer credential.)

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};

use super::error::{Contact, Fault, StatusAnswer};

/// Attempts at a cluster that refuses the very first connection.
const FIRST_TRIES: u32 = 3;
/// ... as long as it refuses quickly.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// How long a cluster that answered before may be gone within one call.
const OUTAGE: Duration = Duration::from_secs(10);
/// Attempts at an apply that other writers overtake.
const RACES: u32 = 5;

/// The delays between attempts: about 0.2, 0.4, 0.8, 1.6, 3, 3, ... seconds, with jitter.
pub(super) fn delays() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(3))
        .with_jitter()
        .without_max_times()
        .build()
}

/// What is known when an attempt has failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation {
    /// Whether the request may arrive twice without harm.
    pub(super) repeatable: bool,
    /// Whether the cluster has ever answered in this run.
    pub(super) answered: bool,
    /// The attempts made so far in this call, at least 1.
    pub(super) attempts: u32,
    /// The time spent in this call.
    pub(super) spent: Duration,
}

/// The least delay before another attempt, or `None` if there must not be one.
pub(super) fn again(fault: &Fault, situation: Situation) -> Option<Duration> {
    let Situation { repeatable, answered, attempts, spent } = situation;
    let worth = match fault {
        Fault::Contact(Contact::NoAnswer(_)) if !answered => false,
        Fault::Contact(_) if answered => spent < OUTAGE,
        Fault::Contact(_) => attempts < FIRST_TRIES && spent < FIRST_WAIT,
        Fault::Broken if answered => repeatable && spent < OUTAGE,
        Fault::Broken => repeatable && attempts < FIRST_TRIES,
        Fault::Slow => repeatable && answered,
        Fault::Status(answer) => return again_after(answer, repeatable, attempts),
        Fault::Tls(_) | Fault::Garbled(_) | Fault::Command(..) => false,
    };
    worth.then_some(Duration::ZERO)
}

fn again_after(answer: &StatusAnswer, repeatable: bool, attempts: u32) -> Option<Duration> {
    let worth = match answer.code {
        _ if answer.is_denied() => false,
        429 => true,
        _ if answer.is_behind_the_server() => false,
        // Admission comes before storage: nothing was written.
        500 if answer.is_failing_webhook() => true,
        500 => repeatable && (answer.is_store_hiccup() || answer.retry_after.is_some()),
        408 | 502 | 503 | 504 => repeatable,
        409 => repeatable && answer.is_lost_race() && attempts < RACES,
        _ => false,
    };
    worth.then(|| answer.retry_after.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, body: &str) -> Fault {
        Fault::Status(Box::new(StatusAnswer::new(code, None, body.as_bytes())))
    }

    fn first() -> Situation {
        Situation { repeatable: true, answered: false, attempts: 1, spent: Duration::ZERO }
    }

    #[test]
    fn unknown_clusters_are_given_up_quickly() {
        let refused = Fault::Contact(Contact::Refused);
        assert!(again(&refused, first()).is_some());
        assert!(again(&refused, Situation { attempts: 3, ..first() }).is_none());
        assert!(again(&refused, Situation { spent: FIRST_WAIT, ..first() }).is_none());
        let silent = Fault::Contact(Contact::NoAnswer(Duration::from_secs(8)));
        assert!(again(&silent, first()).is_none());
        assert!(again(&Fault::Slow, first()).is_none());
    }

    #[test]
    fn known_clusters_may_restart() {
        let refused = Fault::Contact(Contact::Refused);
        let known = Situation { answered: true, attempts: 5, ..first() };
        assert!(again(&refused, known).is_some());
        assert!(again(&refused, Situation { spent: Duration::from_secs(11), ..known }).is_none());
    }

    #[test]
    fn what_may_have_arrived_is_not_sent_twice() {
        let once = Situation { repeatable: false, answered: true, ..first() };
        assert!(again(&Fault::Broken, once).is_none());
        assert!(again(&Fault::Slow, once).is_none());
        assert!(again(&status(503, "{}"), once).is_none());
        assert!(again(&status(429, "{}"), once).is_some());
        assert!(again(&Fault::Contact(Contact::Refused), once).is_some());
    }

    #[test]
    fn refusals_are_final() {
        for code in [400, 401, 403, 404, 409, 410, 413, 422, 500, 501] {
            assert!(again(&status(code, r#"{"message":"no"}"#), first()).is_none(), "{code}");
        }
    }

    #[test]
    fn what_admission_denies_is_denied_again() {
        let body = r#"{"message":"admission webhook \"a\" denied the request: not today"}"#;
        for code in [429, 500, 503] {
            assert!(again(&status(code, body), first()).is_none(), "{code}");
        }
    }

    #[test]
    fn a_pod_that_fails_is_not_the_server() {
        let body = r#"{"message":"error trying to reach service: dial tcp: connection refused"}"#;
        assert!(again(&status(503, body), first()).is_none());
        assert!(again(&status(503, r#"{"message":"shutting down"}"#), first()).is_some());
    }

    #[test]
    fn the_server_says_when() {
        let fault = Fault::Status(Box::new(StatusAnswer::new(429, Some("4"), b"{}")));
        assert_eq!(again(&fault, first()), Some(Duration::from_secs(4)));
    }
}
