//! What an API server says of a write that failed, without what it quotes of Secrets.

use serde_json::Value;

use crate::error::Failure;
use crate::plan::redact::Redactor;

/// A failure to write or delete an object, without the values of a Secret that a webhook may have
/// quoted. `before` is the object as it is, where that is another.
pub(super) fn without_secrets(object: &Value, before: Option<&Value>, failure: Failure) -> Failure {
    let redactor = Redactor::of_object(object, before);
    let hints = failure.hints.iter().map(|hint| redactor.text(hint)).collect();
    Failure { message: redactor.text(&failure.message), hints, ..failure }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_webhook_quotes_of_a_secret_is_not_told() {
        let secret = |token: &str| {
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" },
                "data": { "token": token } })
        };
        // t0ken-value and f0rmer-value.
        let (after, before) = (secret("dDBrZW4tdmFsdWU="), secret("ZjBybWVyLXZhbHVl"));
        let quoted = Failure::new("denied: data.token is t0ken-value (dDBrZW4tdmFsdWU=)")
            .hint("not t0ken-value, which was f0rmer-value");
        let told = without_secrets(&after, Some(&before), quoted);
        let text = format!("{} {}", told.message, told.hints.concat());
        assert!(text.starts_with("denied: data.token is sha256:"), "{text}");
        for value in ["t0ken-value", "dDBrZW4", "f0rmer-value"] {
            assert!(!text.contains(value), "{text}");
        }
    }
}
