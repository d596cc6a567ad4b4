//! What happens to which requests.

use std::time::Duration;

use serde_json::{Value, json};

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Every connection ends, and none is accepted for so long: an API server that restarts.
    Refuse(Duration),
    /// The connection is reset, with all requests on it; the API server does not get this one.
    Reset,
    /// Never an answer; the API server does not get the request.
    Hang,
    /// The API server gets the request so much later.
    Slow(Duration),
    /// The API server does what was asked; half of its answer arrives, then the connection (of
    /// HTTP/2: the stream) ends.
    Cut,
    /// 401, as for a token that expired or was revoked.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 409, as for a write that another one has overtaken.
    Conflict,
    /// 429, with `Retry-After` in seconds.
    TooManyRequests(u64),
    /// 500, as for an admission webhook that cannot be called.
    Webhook,
    /// 503, as while an API server shuts down.
    Unavailable,
    /// This JSON, with status 200.
    Answer(String),
}

impl Fault {
    /// Its name in counts.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Refuse(_) => "refuse",
            Self::Reset => "reset",
            Self::Hang => "hang",
            Self::Slow(_) => "slow",
            Self::Cut => "cut",
            Self::Unauthorized => "401",
            Self::Forbidden => "403",
            Self::Conflict => "409",
            Self::TooManyRequests(_) => "429",
            Self::Webhook => "500 webhook",
            Self::Unavailable => "503",
            Self::Answer(_) => "another answer",
        }
    }

    /// The status and body that are given instead of the API server's, as a real one words them.
    pub(super) fn status(&self) -> Option<(u16, Value)> {
        let (code, reason, message) = match self {
            Self::Unauthorized => (401, "Unauthorized", "Unauthorized"),
            Self::Forbidden => {
                (403, "Forbidden", "forbidden: User \"someone\" cannot do this: no rule allows it")
            }
            Self::Conflict => (
                409,
                "Conflict",
                "Operation cannot be fulfilled: the object has been modified; please apply your \
                 changes to the latest version and try again",
            ),
            Self::TooManyRequests(_) => {
                (429, "TooManyRequests", "too many requests, please try again later")
            }
            Self::Webhook => (
                500,
                "InternalError",
                "Internal error occurred: failed calling webhook \"hook.example.com\": failed to \
                 call webhook: Post \"https://hook.example.svc:443/\": context deadline exceeded",
            ),
            Self::Unavailable => (503, "ServiceUnavailable", "apiserver is shutting down"),
            _ => return None,
        };
        let body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code,
        });
        Some((code, body))
    }
}

/// A request, as a rule and an observer see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Such as `PATCH`.
    pub method: String,
    /// Path and query.
    pub path: String,
}

impl Seen {
    /// Whether it changes something in the cluster: no read, no dry run, no question about rights
    /// or tokens.
    pub fn is_write(&self) -> bool {
        let question = ["/selfsubjectaccessreviews", "/selfsubjectrulesreviews", "/tokenreviews"];
        !matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS")
            && !self.path.contains("dryRun=All")
            && !question.iter().any(|kind| self.path.contains(kind))
    }
}

/// A fault for some requests.
#[derive(Debug, Clone)]
pub struct Rule {
    fault: Fault,
    method: Option<String>,
    writes: bool,
    path: String,
    skip: usize,
    times: usize,
}

impl Rule {
    /// The fault, for every request.
    pub fn new(fault: Fault) -> Self {
        let (method, path) = (None, String::new());
        Self { fault, method, writes: false, path, skip: 0, times: usize::MAX }
    }

    /// Only for requests with this method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Only for writes, as [`Seen::is_write`] has it.
    #[must_use]
    pub fn writes(mut self) -> Self {
        self.writes = true;
        self
    }

    /// For reads too.
    #[must_use]
    pub fn reads_too(mut self) -> Self {
        self.writes = false;
        self
    }

    /// Only for requests whose path or query contains this.
    #[must_use]
    pub fn path(mut self, part: &str) -> Self {
        part.clone_into(&mut self.path);
        self
    }

    /// Not for the first `count` of those requests.
    #[must_use]
    pub fn after(mut self, count: usize) -> Self {
        self.skip = count;
        self
    }

    /// For so many of those requests and no more.
    #[must_use]
    pub fn times(mut self, count: usize) -> Self {
        self.times = count;
        self
    }

    /// The fault, if it is for this request; counts it.
    pub(super) fn strike(&mut self, seen: &Seen) -> Option<Fault> {
        let matches = self.times > 0
            && self.method.as_ref().is_none_or(|method| *method == seen.method)
            && (!self.writes || seen.is_write())
            && seen.path.contains(&self.path);
        if !matches {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.times -= 1;
        Some(self.fault.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(method: &str, path: &str) -> Seen {
        Seen { method: method.into(), path: path.into() }
    }

    #[test]
    fn a_rule_counts_the_requests_that_it_is_for() {
        let mut rule = Rule::new(Fault::Reset).writes().path("/secrets").after(1).times(2);
        let write = seen("PATCH", "/api/v1/namespaces/a/secrets/b?fieldManager=x");
        assert_eq!(rule.strike(&seen("GET", "/api/v1/namespaces/a/secrets/b")), None);
        assert_eq!(rule.strike(&write), None);
        assert_eq!(rule.strike(&seen("PATCH", "/api/v1/namespaces/a")), None);
        assert_eq!(rule.strike(&write), Some(Fault::Reset));
        assert_eq!(rule.strike(&write), Some(Fault::Reset));
        assert_eq!(rule.strike(&write), None);
    }

    #[test]
    fn questions_are_no_writes() {
        for (method, path) in [
            ("GET", "/api"),
            ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
            ("POST", "/api/v1/namespaces/a/pods?dryRun=All"),
        ] {
            assert!(!seen(method, path).is_write(), "{path}");
        }
        assert!(seen("DELETE", "/api/v1/namespaces/a").is_write());
    }
}
