//! One request after another until it is answered or not worth repeating.

use std::time::{Duration, Instant};

use ::kube::client::Body;
use futures::future::BoxFuture;
use http::{Method, Request};
use hyper::body::Bytes;
use serde_json::Value;
use tokio::sync::SemaphorePermit;

use super::cluster::Cluster;
use super::error::{Call, Contact, Error, Fault, StatusAnswer, refusal};
use super::line::Line;
use super::retry::{self, Situation};

/// A request.
pub(super) struct Ask {
    /// For errors: the verb and the object.
    pub(super) verb: &'static str,
    pub(super) object: String,
    /// API version and kind of the object, where the request is about one.
    pub(super) kind: Option<(String, String)>,
    pub(super) method: Method,
    /// Path and query.
    pub(super) path: String,
    pub(super) accept: &'static str,
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
    /// Whether it may arrive twice without harm.
    pub(super) repeatable: bool,
    /// Whether a pod answers it, to which the API server leads.
    pub(super) of_pod: bool,
}

impl Ask {
    /// A `GET`.
    pub(super) fn get(verb: &'static str, object: String, path: String) -> Self {
        Self {
            verb,
            object,
            kind: None,
            method: Method::GET,
            path,
            accept: "application/json",
            content_type: "",
            body: Vec::new(),
            repeatable: true,
            of_pod: false,
        }
    }

    fn request(&self) -> Result<Request<Body>, Fault> {
        let mut request = Request::builder()
            .method(&self.method)
            .uri(&self.path)
            .header(http::header::ACCEPT, self.accept);
        if self.of_pod {
            // Else the API server asks the pod for a compressed answer, only to unpack it.
            request = request.header(http::header::ACCEPT_ENCODING, "identity");
        }
        if !self.content_type.is_empty() {
            request = request.header(http::header::CONTENT_TYPE, self.content_type);
        }
        request
            .body(Body::from(self.body.clone()))
            .map_err(|_| Fault::Garbled("its path cannot be requested".to_owned()))
    }

    async fn send(&self, line: &Line, connect_timeout: Duration) -> Result<Bytes, Fault> {
        let fault = |error| Fault::of(error, connect_timeout);
        let started = Instant::now();
        let answer = line.send(self.request()?).await;
        let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
        let bytes = match answer {
            Ok(answer) => {
                let delay = answer.headers().get(http::header::RETRY_AFTER);
                let delay = delay.and_then(|value| value.to_str().ok()).map(str::to_owned);
                let bytes = answer.into_body().collect_bytes().await.map_err(fault);
                if status >= 400 {
                    let bytes = bytes.unwrap_or_default();
                    let answer = StatusAnswer::new(status, delay.as_deref(), &bytes);
                    Err(Fault::Status(Box::new(answer)))
                } else {
                    bytes
                }
            }
            Err(error) => Err(fault(error)),
        };
        tracing::debug!(
            method = %self.method,
            path = self.path.split('?').next(),
            status,
            millis = started.elapsed().as_millis(),
            "request"
        );
        bytes
    }
}

/// How an operation is to be repeated, and what it is called in errors.
pub(super) struct Terms {
    pub(super) call: Call,
    pub(super) kind: Option<(String, String)>,
    pub(super) repeatable: bool,
    /// For each attempt.
    pub(super) limit: Duration,
    /// How long it waited for its turn.
    pub(super) waited: Duration,
}

impl Cluster {
    /// Sends a request and reads the answer as text or bytes.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<Bytes, Error> {
        let (_turn, terms) = self.turn(ask).await;
        let connect_timeout = self.recipe().options.connect_timeout;
        self.repeat(terms, |line| Box::pin(async move { ask.send(&line, connect_timeout).await }))
            .await
    }

    /// Sends a request and reads the answer as JSON.
    pub(super) async fn ask_json(&self, ask: &Ask) -> Result<Value, Error> {
        let (_turn, terms) = self.turn(ask).await;
        let connect_timeout = self.recipe().options.connect_timeout;
        self.repeat(terms, |line| {
            Box::pin(async move {
                let bytes = ask.send(&line, connect_timeout).await?;
                serde_json::from_slice(&bytes)
                    .map_err(|_| Fault::Garbled("it is not JSON".to_owned()))
            })
        })
        .await
    }

    /// Waits for a turn to read. Over HTTP/1.1, requests at the same time are connections of their
    /// own, and to open one costs more than most answers; so reads wait for those that are open.
    /// Writes do not: what is on its way for long must not hold up what keeps a lease.
    async fn turn(&self, ask: &Ask) -> (Option<SemaphorePermit<'_>>, Terms) {
        let asked = Instant::now();
        let turn = if ask.method == Method::GET { self.reads().acquire().await.ok() } else { None };
        let terms = Terms {
            call: self.call(ask.verb, ask.object.clone()),
            kind: ask.kind.clone(),
            repeatable: ask.repeatable,
            limit: self.recipe().options.request_timeout,
            waited: asked.elapsed(),
        };
        (turn, terms)
    }

    /// Makes attempts until one succeeds, none is worth making, or the deadline has come. Dropping
    /// the future drops the attempt.
    pub(super) async fn repeat<'a, T>(
        &self,
        terms: Terms,
        attempt: impl Fn(Line) -> BoxFuture<'a, Result<T, Fault>> + Send,
    ) -> Result<T, Error> {
        let started = Instant::now();
        let mut deadline = started + self.deadline().saturating_sub(terms.waited);
        let mut delays = retry::delays();
        let mut attempts = 0;
        let mut renewed = false;
        let mut told = None;
        loop {
            let asked = Instant::now();
            let (line, credential) = self.line().await?;
            deadline += self.uncounted(asked);
            if Instant::now() >= deadline {
                return Err(self.error(terms, told.unwrap_or(Fault::Slow), started.elapsed()));
            }
            let limit = self.limit(&terms, deadline);
            let result = tokio::time::timeout(limit, attempt(line.clone())).await;
            let fault = match result.unwrap_or(Err(Fault::Slow)) {
                Ok(value) => {
                    self.mark_answered(&line);
                    return Ok(value);
                }
                Err(fault) => fault,
            };
            attempts += 1;
            if let Fault::Status(answer) = &fault {
                self.mark_answered(&line);
                let refused = answer.code == 401 && !answer.is_denied();
                if refused && !renewed && credential.is_some() {
                    renewed = true;
                    let asked = Instant::now();
                    self.renew(credential.as_ref()).await?;
                    deadline += self.uncounted(asked);
                    continue;
                }
            }
            let situation = Situation {
                repeatable: terms.repeatable,
                answered: self.has_answered(),
                attempts,
                spent: started.elapsed(),
            };
            let least = retry::again(&fault, situation);
            let pause = least.and_then(|least| Some(delays.next()?.max(least)));
            match pause {
                Some(pause) if Instant::now() + pause < deadline => {
                    tracing::debug!(
                        context = self.context(),
                        verb = terms.call.verb,
                        object = terms.call.object,
                        attempts,
                        pause_millis = pause.as_millis(),
                        "trying again"
                    );
                    tokio::time::sleep(pause).await;
                }
                _ => {
                    // What the server said counts for more than that there was no time to say it again.
                    let cut = matches!(fault, Fault::Slow) && limit < terms.limit;
                    let fault = told.filter(|_| cut).unwrap_or(fault);
                    return Err(self.error(terms, fault, started.elapsed()));
                }
            }
            if matches!(fault, Fault::Status(_)) {
                told = Some(fault);
            }
        }
    }

    /// How much of the time since a credential plugin was `asked` does not count, as it may ask the
    /// user: all of it, but under a lease, which does not wait for that.
    fn uncounted(&self, asked: Instant) -> Duration {
        if self.is_under_lease() { Duration::ZERO } else { asked.elapsed() }
    }

    /// How long the next attempt may take.
    fn limit(&self, terms: &Terms, deadline: Instant) -> Duration {
        let limit = terms.limit.min(deadline.saturating_duration_since(Instant::now()));
        if self.has_answered() {
            return limit;
        }
        // Those before it had no answer either.
        limit.min(self.recipe().options.first_answer.saturating_sub(terms.waited))
    }

    fn error(&self, terms: Terms, fault: Fault, spent: Duration) -> Error {
        let recipe = self.recipe();
        let call = Box::new(terms.call);
        let unreachable = |cause| Error::Unreachable {
            context: recipe.entry.context(),
            server: recipe.entry.server.clone(),
            proxy: recipe.proxy.clone(),
            cause,
        };
        match fault {
            Fault::Contact(cause) => unreachable(cause),
            Fault::Broken if !self.has_answered() => unreachable(Contact::Closed),
            Fault::Broken => Error::Interrupted { call },
            Fault::Slow => Error::TimedOut { call, after: spent },
            Fault::Garbled(reason) => Error::Garbled { call, reason },
            Fault::Command(code, output) => Error::CommandFailed { call, code, output },
            Fault::Tls(fault) => Error::Tls {
                context: recipe.entry.context(),
                server: recipe.entry.server.clone(),
                fault,
            },
            Fault::Status(answer) => {
                let kind = terms.kind.as_ref().map(|(a, b)| (a.as_str(), b.as_str()));
                refusal(*call, kind, &answer, &recipe.entry.user, recipe.plugin())
            }
        }
    }
}
