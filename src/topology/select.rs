//! Choosing contexts: `--contexts a,/east/,^b`.

use std::fmt;
use std::str::FromStr;

use regex::Regex;

use super::error::Error;
use super::label::ContextName;

/// One selector: a context, `/regex/`, or either of them after `^` to leave it out.
#[derive(Debug, Clone)]
pub struct Selector {
    text: String,
    exclude: bool,
    pattern: Pattern,
}

#[derive(Debug, Clone)]
enum Pattern {
    Exact(String),
    Regex(Regex),
}

impl FromStr for Selector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |reason: String| Error::BadSelector { selector: text.to_owned(), reason };
        let (exclude, rest) = text.strip_prefix('^').map_or((false, text), |rest| (true, rest));
        if rest.is_empty() {
            return Err(bad("it is empty".to_owned()));
        }
        // A context of oc may start with a slash, but none ends with one.
        let pattern = match rest.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
            Some(regex) => Pattern::Regex(Regex::new(regex).map_err(|error| bad(reason(&error)))?),
            None => Pattern::Exact(rest.to_owned()),
        };
        Ok(Self { text: text.to_owned(), exclude, pattern })
    }
}

/// The last line of a regular expression's error is the reason, those before it a drawing.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    let last = last.strip_prefix("error: ").unwrap_or(last);
    format!("the regular expression is not valid: {last}")
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl Selector {
    fn matches(&self, context: &ContextName) -> bool {
        match &self.pattern {
            Pattern::Exact(name) => name == context.as_str(),
            Pattern::Regex(regex) => regex.is_match(context.as_str()),
        }
    }

    fn name(&self) -> Option<&str> {
        match &self.pattern {
            Pattern::Exact(name) => Some(name),
            Pattern::Regex(_) => None,
        }
    }
}

/// The contexts that `selectors` choose, in the order of `contexts`.
///
/// A context is chosen if any selector matches it, or if there are only excluding ones, and no
/// excluding one does. No selectors choose all contexts. A regular expression may match anywhere.
///
/// # Errors
/// A selector that matches nothing is a typing error, so is a choice that leaves nothing.
pub fn select<'c>(
    contexts: impl IntoIterator<Item = &'c ContextName>,
    selectors: &[Selector],
) -> Result<Vec<ContextName>, Error> {
    let contexts: Vec<&ContextName> = contexts.into_iter().collect();
    let all = || contexts.iter().copied().cloned().collect();
    for selector in selectors {
        if !contexts.iter().any(|context| selector.matches(context)) {
            return Err(Error::NoMatch {
                selector: selector.to_string(),
                contexts: all(),
                meant: selector.name().and_then(|name| meant(name, &contexts)),
            });
        }
    }
    let only_excludes = selectors.iter().all(|selector| selector.exclude);
    let any = |exclude: bool, context: &ContextName| {
        selectors.iter().any(|s| s.exclude == exclude && s.matches(context))
    };
    let chosen: Vec<ContextName> = contexts
        .iter()
        .filter(|context| (only_excludes || any(false, context)) && !any(true, context))
        .copied()
        .cloned()
        .collect();
    if chosen.is_empty() && !selectors.is_empty() {
        return Err(Error::NothingSelected {
            selectors: selectors.iter().map(ToString::to_string).collect(),
            contexts: all(),
        });
    }
    Ok(chosen)
}

fn meant(name: &str, contexts: &[&ContextName]) -> Option<ContextName> {
    contexts
        .iter()
        .map(|context| (strsim::normalized_damerau_levenshtein(name, context.as_str()), context))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, context)| (*context).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(selectors: &[&str]) -> Result<Vec<String>, Error> {
        let contexts: Vec<_> = [
            "context-east-1",
            "context-east-2",
            "context-west-1",
            "/api-example-com:6443/kube:admin",
        ]
        .map(|name| ContextName::new(name).unwrap())
        .to_vec();
        let selectors =
            selectors.iter().map(|text| text.parse()).collect::<Result<Vec<Selector>, _>>()?;
        let chosen = select(&contexts, &selectors)?;
        Ok(chosen.into_iter().map(String::from).collect())
    }

    #[test]
    fn selectors_add_up_and_exclusions_win() {
        assert_eq!(chosen(&[]).unwrap().len(), 4);
        assert_eq!(
            chosen(&["context-west-1", "context-east-1"]).unwrap(),
            ["context-east-1", "context-west-1"],
            "in the order of the topology"
        );
        assert_eq!(chosen(&["/east/"]).unwrap(), ["context-east-1", "context-east-2"]);
        assert_eq!(chosen(&["/east/", "^/-1$/"]).unwrap(), ["context-east-2"]);
        assert_eq!(
            chosen(&["^/context-/"]).unwrap(),
            ["/api-example-com:6443/kube:admin"],
            "exclusions alone start from all"
        );
        assert_eq!(chosen(&["/api-example-com:6443/kube:admin"]).unwrap().len(), 1);
        assert_eq!(chosen(&["^context-east-1"]).unwrap().len(), 3);
    }

    #[test]
    fn a_selector_that_matches_nothing_is_an_error_that_lists_the_contexts() {
        let error = chosen(&["north"]).unwrap_err();
        assert_eq!(error.to_string(), "`north` matches no context");
        assert!(error.hint().unwrap().contains("`context-east-1`, `context-east-2`"));
        let error = chosen(&["context-eats-1"]).unwrap_err();
        assert_eq!(error.hint().unwrap(), "did you mean `context-east-1`?");
        assert!(chosen(&["/east/", "^/north/"]).is_err());
        let error = chosen(&["/east/", "^/context/"]).unwrap_err();
        assert_eq!(error.to_string(), "`/east/`, `^/context/` leave no context");
    }

    #[test]
    fn selectors_that_are_not_well_formed_are_refused() {
        for bad in ["", "^", "/(/", "^/[/"] {
            let error = chosen(&[bad]).unwrap_err();
            assert!(matches!(error, Error::BadSelector { .. }), "{bad}: {error}");
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
        }
        assert!(chosen(&["/(/"]).unwrap_err().to_string().contains("unclosed group"));
    }
}
