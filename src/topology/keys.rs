//! The keys of `topology.yaml`, and the one that was probably meant.

/// Keys of the file.
pub(crate) const TOP: &[&str] = &["mesh_id", "contexts"];

/// Keys of a context.
pub(crate) const CONTEXT: &[&str] = &[
    "network",
    "cluster",
    "namespace",
    "serviceAccountReader",
    "disableRegistryJoin",
    "server",
    "tls_server_name",
    "proxy_url",
    "ca",
    "gateway",
    "overlay",
    "control_plane",
];

/// Names that people use elsewhere for what a key here does.
const SYNONYMS: &[(&str, &str)] = &[
    ("mesh", "mesh_id"),
    ("meshname", "mesh_id"),
    ("clusters", "contexts"),
    ("members", "contexts"),
    ("clustername", "cluster"),
    ("clusterid", "cluster"),
    ("name", "cluster"),
    ("istionamespace", "namespace"),
    ("serviceaccount", "serviceAccountReader"),
    ("apiserver", "server"),
    ("endpoint", "server"),
    ("sni", "tls_server_name"),
    ("servername", "tls_server_name"),
    ("proxy", "proxy_url"),
    ("cafile", "ca"),
    ("certificateauthority", "ca"),
    ("gatewayaddress", "gateway"),
    ("eastwestgateway", "gateway"),
];

/// How alike two words must be to be taken for one another, from 0 to 1.
const ALIKE: f64 = 0.7;

fn folded(word: &str) -> String {
    word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The word of `known` that `word` was probably meant to be.
pub(crate) fn meant<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = folded(word);
    let synonym = SYNONYMS.iter().find(|(other, _)| *other == word).map(|(_, key)| *key);
    if let Some(key) = known.iter().find(|key| Some(**key) == synonym) {
        return Some(key);
    }
    known
        .iter()
        .map(|key| (strsim::normalized_damerau_levenshtein(&word, &folded(key)), *key))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_spellings_and_synonyms_are_recognised() {
        for (word, key) in [
            ("netwrok", "network"),
            ("Network", "network"),
            ("service_account_reader", "serviceAccountReader"),
            ("disable-registry-join", "disableRegistryJoin"),
            ("tlsServerName", "tls_server_name"),
            ("clusterName", "cluster"),
            ("controlplane", "control_plane"),
            ("namespaces", "namespace"),
        ] {
            assert_eq!(meant(word, CONTEXT), Some(key), "{word}");
        }
        assert_eq!(meant("meshID", TOP), Some("mesh_id"));
        assert_eq!(meant("clusters", TOP), Some("contexts"));
        assert_eq!(meant("colour", CONTEXT), None);
        assert_eq!(meant("", CONTEXT), None);
    }
}
