//! Fills configuration templates.

use crate::error::{Error, Result};

/// Replaces every `{{name}}` by its value. A name without a value is an error.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> Result<String> {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        let (_, value) = values
            .iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| Error::Refused(format!("no value for `{name}` in a template")))?;
        text.push_str(before);
        text.push_str(value);
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_gets_its_value() {
        let filled = fill("{{a}}-{{b}}-{{a}}", &[("a", "1"), ("b", "{{a}}")]);
        assert_eq!(filled.expect("values"), "1-{{a}}-1");
        let error = fill("x {{c}} y", &[("a", "1")]).expect_err("no value");
        assert_eq!(error.to_string(), "no value for `c` in a template");
    }
}
