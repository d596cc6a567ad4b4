use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// A Secret in every place of which a value may be found, as `kubectl apply`, tools that copy
/// secrets and careless people leave them.
fn secret(values: &[String], other: &[String]) -> Value {
    let encoded = |value: &String| BASE64_STANDARD.encode(value);
    let entries = |values: &[String], show: &dyn Fn(&String) -> String| {
        let entries = values.iter().enumerate();
        entries.map(|(n, value)| (format!("k{n}"), json!(show(value)))).collect::<Value>()
    };
    let mut secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {
            "name": "cacerts", "namespace": "istio-system", "uid": "u",
            "labels": entries(other, &|value| format!("copy-of.{value}")),
            "annotations": entries(values, &|value| format!("{value}\n{}", encoded(value))),
        },
        "data": entries(values, &encoded),
        "stringData": entries(values, &String::clone),
    });
    let last = secret.to_string();
    secret["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] =
        last.into();
    secret
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_value_of_a_secret_is_ever_shown(
        before in vec("[A-Za-z0-9_.~-]{6,40}", 0..4),
        after in vec("[a-z\"]{6}[A-Za-z0-9_.~\"\\\\\n-]{0,30}[a-z]", 1..4),
        verb in select(vec![Verb::Create, Verb::Update, Verb::Adopt, Verb::Prune]),
        answered: bool,
        is_link: bool,
    ) {
        let before = if verb == Verb::Create { Vec::new() } else { before };
        let after = if verb == Verb::Prune { Vec::new() } else { after };
        let mut change = change(verb, "v1", "Secret", "cacerts");
        let mut new = secret(&after, &before);
        if !answered {
            new["metadata"]["uid"].take();
        }
        change.before = change.before.map(|_| secret(&before, &after));
        change.after = change.after.map(|_| std::sync::Arc::new(new));
        let object = change.after.as_deref().or(change.before.as_ref()).unwrap();
        change.refusal = Some(format!("{} or {}: invalid", object["data"], object["stringData"]));
        change.link = is_link.then(|| "west".into());
        let outline = outline(vec![member("east", None, vec![change])]);
        let shown = [
            table(&outline), diff(&outline), whole_diff(&outline),
            json(&outline).unwrap(), yaml(&outline).unwrap(), format!("{outline:?}"),
        ];
        for value in before.iter().chain(&after) {
            let value = value.trim();
            let quoted = Value::from(value).to_string();
            for form in [value, &BASE64_STANDARD.encode(value), quoted.trim_matches('"')] {
                for text in &shown {
                    prop_assert!(!text.contains(form), "{form:?} in {text}");
                }
            }
        }
    }
}
