//! Documents for programs.

use serde::Serialize;

use crate::error::Failure;

/// A document as JSON; `what` it is, for the case that it cannot be.
///
/// # Errors
/// When its values have no form in JSON.
pub fn json(what: &str, document: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(document).map_err(|error| unprintable(what, &error))
}

/// The same as YAML.
///
/// # Errors
/// When its values have no form in YAML.
pub fn yaml(what: &str, document: &impl Serialize) -> Result<String, Failure> {
    serde_saphyr::to_string(document).map_err(|error| unprintable(what, &error))
}

fn unprintable(what: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("{what} cannot be printed in this form: {error}"))
}
