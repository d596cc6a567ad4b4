//! From an answer of 400 and above to an error.

use std::time::Duration;

use ::kube::core::Status;

use super::{Call, Error, FieldConflict};

/// An answer of 400 and above.
#[derive(Debug)]
pub(crate) struct StatusAnswer {
    /// The HTTP status.
    pub(crate) code: u16,
    /// The body as a Kubernetes `Status`, if it is one.
    pub(crate) status: Option<Status>,
    /// The start of any other body.
    pub(crate) text: String,
    /// The header `Retry-After`, or `details.retryAfterSeconds` of the status.
    pub(crate) retry_after: Option<Duration>,
}

impl StatusAnswer {
    /// Reads the answer. `retry_after` is the header's value, in seconds (RFC 9110 section 10.2.3;
    /// API servers never send the other form, a date).
    pub(crate) fn new(code: u16, retry_after: Option<&str>, body: &[u8]) -> Self {
        let status = serde_json::from_slice::<Status>(body)
            .ok()
            .filter(|status| !status.message.is_empty() || !status.reason.is_empty());
        let asked = retry_after.and_then(|value| value.trim().parse().ok()).or_else(|| {
            let seconds = status.as_ref()?.details.as_ref()?.retry_after_seconds;
            (seconds > 0).then(|| u64::from(seconds))
        });
        let text = if status.is_none() {
            String::from_utf8_lossy(body).into_owned()
        } else {
            String::new()
        };
        Self { code, status, text, retry_after: asked.map(Duration::from_secs) }
    }

    /// The same for a status that the client has read already.
    pub(crate) fn from_status(status: Status) -> Self {
        let text = String::new();
        Self { code: status.code, retry_after: None, status: Some(status), text }
    }

    /// What the server says, in one line, fit for a terminal.
    pub(crate) fn message(&self) -> String {
        let said = match &self.status {
            Some(status) if !status.message.is_empty() => &status.message,
            Some(status) => &status.reason,
            None => &self.text,
        };
        let said = shorten(said);
        if said.is_empty() { format!("the server answered HTTP {}", self.code) } else { said }
    }

    /// Whether an admission webhook could not be called. The API server reports it as a plain
    /// internal error, in words only.
    pub(crate) fn is_failing_webhook(&self) -> bool {
        self.code == 500 && self.message().contains("failed calling webhook")
    }

    /// Whether a webhook or a policy of admission looked at the request and said no, under whichever
    /// code it chose (k8s.io/apiserver: `pkg/admission/plugin/webhook/errors/statuserror.go` and
    /// `pkg/admission/plugin/policy/validating/dispatcher.go`).
    pub(crate) fn is_denied(&self) -> bool {
        let said = self.status.as_ref().map_or("", |status| status.message.as_str());
        let by_webhook =
            said.contains("admission webhook \"") && said.contains("\" denied the request");
        let by_policy =
            said.contains("ValidatingAdmissionPolicy '") && said.contains("' denied request: ");
        by_webhook || by_policy
    }

    /// Whether the store behind the API server was between two leaders or slow.
    pub(crate) fn is_store_hiccup(&self) -> bool {
        self.code == 500 && self.message().contains("etcdserver:")
    }

    /// Whether a pod or Service behind the API server failed, and not the API server itself.
    pub(crate) fn is_behind_the_server(&self) -> bool {
        self.message().contains("error trying to reach service")
    }

    /// Whether a server-side apply lost a race against another writer, which is not a conflict
    /// between field managers.
    pub(crate) fn is_lost_race(&self) -> bool {
        self.code == 409
            && self.conflicts().is_empty()
            && self.reason() == "Conflict"
            && !self.is_precondition()
    }

    /// Whether a precondition (a UID) of a deletion was not met.
    pub(crate) fn is_precondition(&self) -> bool {
        // "Precondition failed: UID in precondition: ..." up to 1.35, "the UID in the precondition
        // (...) does not match the UID in record" since.
        self.code == 409
            && ["Precondition failed", "in the precondition"]
                .iter()
                .any(|words| self.message().contains(words))
    }

    /// Whether a 403 is about what was sent and not about who sent it: admission (a quota, a
    /// webhook, pod security) answers so too. What authorization says names the user and the verb
    /// (k8s.io/apiserver: `pkg/endpoints/handlers/responsewriters/errors.go`).
    fn is_about_the_object(&self) -> bool {
        let said = self.status.as_ref().map_or("", |status| status.message.as_str());
        let about_the_user = said.contains("User \"") && said.contains("\" cannot ");
        !said.is_empty() && !about_the_user
    }

    fn reason(&self) -> &str {
        self.status.as_ref().map_or("", |status| status.reason.as_str())
    }

    fn conflicts(&self) -> Vec<FieldConflict> {
        let causes = self.status.as_ref().and_then(|status| status.details.as_ref());
        causes
            .map(|details| details.causes.as_slice())
            .unwrap_or_default()
            .iter()
            .filter(|cause| cause.reason == "FieldManagerConflict")
            .map(|cause| FieldConflict {
                field: cause.field.clone(),
                manager: quoted(&cause.message).unwrap_or(&cause.message).to_owned(),
            })
            .collect()
    }
}

/// The error that an answer of 400 and above stands for. `kind` is API version and kind of the
/// object, where the call was about one.
pub(crate) fn refusal(
    call: Call,
    kind: Option<(&str, &str)>,
    answer: &StatusAnswer,
    user: &str,
    plugin: Option<&str>,
) -> Error {
    let call = Box::new(call);
    let message = answer.message();
    match answer.code {
        code if answer.is_denied() => Error::Rejected { call, code, reason: message },
        401 => {
            Error::Unauthorized { call, user: user.to_owned(), plugin: plugin.map(str::to_owned) }
        }
        403 => match terminating_namespace(answer) {
            Some(namespace) => Error::NoNamespace { call, namespace, terminating: true },
            None if answer.is_about_the_object() => {
                Error::Rejected { call, code: 403, reason: message }
            }
            None => Error::Forbidden { call, message },
        },
        404 => not_found(call, kind, answer, message),
        409 => {
            let conflicts = answer.conflicts();
            if !conflicts.is_empty() {
                Error::Conflict { call, conflicts }
            } else if answer.is_precondition() {
                Error::Replaced { call }
            } else if answer.reason() == "AlreadyExists" {
                Error::AlreadyExists { call }
            } else {
                Error::Changed { call, message }
            }
        }
        500 if answer.is_failing_webhook() => {
            let webhook = quoted(&message).unwrap_or("unknown").to_owned();
            let reason = message.split_once(": ").map_or(message.as_str(), |(_, rest)| rest);
            // "Internal error occurred: failed calling webhook \"NAME\": ..."
            let reason = reason.split_once("\": ").map_or(reason, |(_, rest)| rest).to_owned();
            Error::Webhook { call, webhook, reason }
        }
        // Without another reason a 500 is about this very request: an object that does not fit its
        // schema, for one, is answered so to an apply.
        500 if !answer.is_store_hiccup() && answer.retry_after.is_none() => {
            Error::Rejected { call, code: 500, reason: message }
        }
        code @ (408 | 429 | 500..) => Error::Unavailable { call, code, reason: message },
        code => Error::Rejected { call, code, reason: message },
    }
}

fn not_found(
    call: Box<Call>,
    kind: Option<(&str, &str)>,
    answer: &StatusAnswer,
    message: String,
) -> Error {
    if let Some(namespace) = missing_namespace(answer) {
        return Error::NoNamespace { call, namespace, terminating: false };
    }
    // A path that is not served is answered with plain text, or (group served, kind not) with a
    // status that names no object.
    let names_object = answer
        .status
        .as_ref()
        .and_then(|status| status.details.as_ref())
        .is_some_and(|details| !details.name.is_empty());
    match kind {
        Some((api_version, kind)) if !names_object => {
            Error::UnknownKind { call, api_version: api_version.to_owned(), kind: kind.to_owned() }
        }
        _ => Error::NotFound { call, message },
    }
}

fn missing_namespace(answer: &StatusAnswer) -> Option<String> {
    let details = answer.status.as_ref()?.details.as_ref()?;
    (details.kind == "namespaces").then(|| details.name.clone())
}

/// The cause says "namespace NAME is being terminated" (apiserver, plugin/namespace/lifecycle).
fn terminating_namespace(answer: &StatusAnswer) -> Option<String> {
    let details = answer.status.as_ref()?.details.as_ref()?;
    let cause = details.causes.iter().find(|cause| cause.reason == "NamespaceTerminating")?;
    let rest = cause.message.strip_prefix("namespace ")?;
    rest.split(' ').next().map(str::to_owned)
}

fn quoted(message: &str) -> Option<&str> {
    message.split('"').nth(1)
}

/// One line of at most 600 characters. API servers before 1.24 quote the sent document after
/// `error found in`; that part, which may hold secret data, is cut.
pub(super) fn shorten(text: &str) -> String {
    const LONGEST: usize = 600;
    let text = text.split(", error found in #").next().unwrap_or_default();
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    if line.chars().count() <= LONGEST {
        return line;
    }
    let mut cut: String = line.chars().take(LONGEST).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::Context;
    use serde_json::json;

    fn call() -> Call {
        Call {
            context: Context::new("east", None),
            server: "https://10.0.0.1:6443".to_owned(),
            verb: "apply",
            object: "Deployment istio-system/istiod".to_owned(),
        }
    }

    fn error_of(code: u16, body: &serde_json::Value) -> Error {
        let answer = StatusAnswer::new(code, None, body.to_string().as_bytes());
        refusal(call(), Some(("apps/v1", "Deployment")), &answer, "admin", None)
    }

    #[test]
    fn conflict_names_field_and_manager() {
        let error = error_of(
            409,
            &json!({"kind": "Status", "reason": "Conflict", "message": "Apply failed with 1 conflict",
                "details": {"causes": [{"reason": "FieldManagerConflict", "field": ".spec.replicas",
                    "message": "conflict with \"istio-operator\" using apps/v1"}]}}),
        );
        assert_eq!(
            error.to_string(),
            "`east`: cannot apply Deployment istio-system/istiod: other field managers own fields \
             of it with other values: `.spec.replicas` belongs to `istio-operator`"
        );
    }

    #[test]
    fn missing_namespace_and_missing_kind_differ() {
        let namespace = error_of(
            404,
            &json!({"kind": "Status", "reason": "NotFound", "message": "namespaces \"istio-system\" not found",
                "details": {"name": "istio-system", "kind": "namespaces"}}),
        );
        assert_eq!(
            namespace.to_string(),
            "`east`: cannot apply Deployment istio-system/istiod: the namespace `istio-system` \
             does not exist"
        );
        let leaving = error_of(
            403,
            &json!({"kind": "Status", "reason": "Forbidden", "message": "forbidden: unable to create \
                new content in namespace istio-system because it is being terminated",
                "details": {"causes": [{"reason": "NamespaceTerminating",
                    "message": "namespace istio-system is being terminated", "field": "metadata.namespace"}]}}),
        );
        assert!(leaving.to_string().ends_with("`istio-system` is being deleted"), "{leaving}");
        let answer = StatusAnswer::new(404, None, b"404 page not found\n");
        let kind = refusal(call(), Some(("x.io/v1", "Thing")), &answer, "admin", None);
        assert!(matches!(kind, Error::UnknownKind { kind, .. } if kind == "Thing"));
    }

    #[test]
    fn an_object_that_does_not_fit_its_schema_is_rejected() {
        let message = "failed to create typed patch object (a/b; /v1, Kind=ConfigMap): .dat: field \
                       not declared in schema";
        let error = error_of(500, &json!({"kind": "Status", "message": message}));
        assert!(matches!(&error, Error::Rejected { .. }), "{error:?}");
        assert!(error.to_string().ends_with(message));
        let error = error_of(500, &json!({"message": "etcdserver: leader changed"}));
        assert!(matches!(&error, Error::Unavailable { .. }), "{error:?}");
    }

    #[test]
    fn what_admission_refuses_is_told_apart_from_missing_rights() {
        let of = |message: &str| {
            error_of(403, &json!({"kind": "Status", "reason": "Forbidden", "message": message}))
        };
        let quota = "secrets \"a\" is forbidden: exceeded quota: q, requested: count/secrets=1";
        assert!(matches!(of(quota), Error::Rejected { code: 403, .. }));
        let rights = "secrets \"a\" is forbidden: User \"jane\" cannot patch resource \"secrets\"";
        assert!(matches!(of(rights), Error::Forbidden { .. }));
    }

    #[test]
    fn admission_says_no_under_any_code() {
        let by_webhook = "admission webhook \"a.example.com\" denied the request: not today";
        let by_policy = "secrets \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' \
                         denied request: not today";
        for code in [400, 401, 403, 409, 429, 500, 503] {
            for message in [by_webhook, by_policy] {
                let error = error_of(code, &json!({"kind": "Status", "message": message}));
                assert!(matches!(&error, Error::Rejected { .. }), "{code}: {error:?}");
                assert!(error.is_refusal() && !error.is_unreachable());
            }
        }
        let plain = error_of(401, &json!({"kind": "Status", "message": "Unauthorized"}));
        assert!(matches!(&plain, Error::Unauthorized { .. }), "{plain:?}");
    }

    #[test]
    fn unmet_preconditions_are_recognised_old_and_new() {
        for message in [
            "Precondition failed: UID in precondition: a, UID in object meta: b",
            "Operation cannot be fulfilled on ConfigMap \"a\": the UID in the precondition (a) does \
             not match the UID in record (b). The object might have been deleted and then recreated",
        ] {
            let error = error_of(409, &json!({"reason": "Conflict", "message": message}));
            assert!(matches!(&error, Error::Replaced { .. }), "{error:?}");
        }
    }

    #[test]
    fn failing_webhook_is_named() {
        let error = error_of(
            500,
            &json!({"kind": "Status", "reason": "InternalError",
                "message": "Internal error occurred: failed calling webhook \"rev.validation.istio.io\": failed to call webhook: Post \"https://istiod\": connection refused"}),
        );
        let Error::Webhook { webhook, reason, .. } = error else { panic!("{error}") };
        assert_eq!(webhook, "rev.validation.istio.io");
        assert_eq!(reason, "failed to call webhook: Post \"https://istiod\": connection refused");
    }

    #[test]
    fn quoted_documents_are_cut() {
        let said = shorten("bad request: x, error found in #10 byte of ...|c2VjcmV0|...");
        assert_eq!(said, "bad request: x");
    }

    #[test]
    fn header_wins_over_details_for_the_delay() {
        let body =
            br#"{"reason":"TooManyRequests","message":"busy","details":{"retryAfterSeconds":7}}"#;
        let of = |header| StatusAnswer::new(429, header, body).retry_after;
        assert_eq!(of(Some("2")), Some(Duration::from_secs(2)));
        assert_eq!(of(None), Some(Duration::from_secs(7)));
    }
}
