//! The names that clusters have in Istio.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::error::Error;
use super::label::{ClusterName, ContextName, MAX_LABEL};
use super::model::{Member, Topology};

/// Hexadecimal digits that tell two contexts with one name apart.
const HASH_DIGITS: usize = 8;

/// The cluster name of every context, in the order of the topology.
///
/// The name is the user's `cluster:`, else the one in `pinned`, else [`derive`]d from the context.
/// `pinned` holds the names that clusters were applied under; an entry of a context that the
/// topology does not list keeps its name from being given to another cluster. Contexts whose
/// derived names collide all get a short hash of the context, so the result does not depend on
/// the order of the file.
///
/// # Errors
/// Two contexts with one `cluster:` or pinned name.
pub fn resolve(
    topology: &Topology,
    pinned: &BTreeMap<ContextName, ClusterName>,
) -> Result<Vec<(ContextName, ClusterName)>, Error> {
    let mut owners: BTreeMap<ClusterName, &Member> = BTreeMap::new();
    let mut names: BTreeMap<&ContextName, ClusterName> = BTreeMap::new();
    for member in &topology.members {
        let name = member.cluster.as_ref().or_else(|| pinned.get(&member.context));
        let Some(name) = name.cloned() else { continue };
        if let Some(other) = owners.insert(name.clone(), member) {
            return Err(Error::ClusterNameTaken {
                place: member.place_of("cluster").clone(),
                other_place: Some(other.place_of("cluster").clone()),
                context: member.context.clone(),
                other: other.context.clone(),
                cluster: name,
            });
        }
        names.insert(&member.context, name);
    }

    let mut taken: BTreeSet<ClusterName> = owners.into_keys().collect();
    taken.extend(pinned.values().cloned());
    let unnamed: Vec<_> =
        topology.contexts().filter(|context| !names.contains_key(context)).collect();
    names.extend(unnamed.iter().copied().zip(distinct(&unnamed, taken)));
    Ok(topology
        .contexts()
        .filter_map(|context| Some((context.clone(), names.remove(context)?)))
        .collect())
}

/// A derived name for each of `contexts`, all different and none of them in `taken`.
pub(super) fn distinct(
    contexts: &[&ContextName],
    mut taken: BTreeSet<ClusterName>,
) -> Vec<ClusterName> {
    let derived: Vec<_> = contexts.iter().map(|context| derive(context)).collect();
    let mut count: BTreeMap<&ClusterName, usize> = BTreeMap::new();
    for name in &derived {
        *count.entry(name).or_default() += 1;
    }
    let unique: BTreeSet<_> = count
        .into_iter()
        .filter(|(name, count)| *count == 1 && !taken.contains(*name))
        .map(|(name, _)| name.clone())
        .collect();
    taken.extend(unique.iter().cloned());
    let hashed = |taken: &mut BTreeSet<ClusterName>, name: &ClusterName, context| {
        let mut salt = 0;
        loop {
            let hashed = with_hash(name.as_str(), context, salt);
            if taken.insert(hashed.clone()) {
                return hashed;
            }
            salt += 1;
        }
    };
    contexts
        .iter()
        .zip(&derived)
        .map(
            |(context, name)| {
                if unique.contains(name) { name.clone() } else { hashed(&mut taken, name, context) }
            },
        )
        .collect()
}

/// The cluster name that a context suggests: the part that names the cluster in the contexts that
/// the usual tools write, made a DNS label.
pub fn derive(context: &ContextName) -> ClusterName {
    let name = cluster_part(context.as_str());
    let label = label(name);
    let complete = label.len() <= MAX_LABEL && !label.is_empty();
    match ClusterName::new(label.clone()) {
        Ok(cluster) if complete => cluster,
        _ => with_hash(if label.is_empty() { "cluster" } else { &label }, context, 0),
    }
}

/// What of a context is the name of its cluster.
fn cluster_part(context: &str) -> &str {
    // EKS, by the AWS command line: arn:<partition>:eks:<region>:<account>:cluster/<name>
    if let Some(("arn", rest)) = context.split_once(':')
        && rest.contains(":eks:")
        && let Some((_, name)) = rest.split_once(":cluster/")
    {
        return name;
    }
    // GKE, by gcloud: gke_<project>_<location>_<name>; no project or location has an underscore
    if let Some(rest) = context.strip_prefix("gke_")
        && let Some((_, name)) = rest.split_once('_').and_then(|(_, rest)| rest.split_once('_'))
    {
        return name;
    }
    // EKS, by eksctl: <user>@<name>.<region>.eksctl.io
    if let Some(rest) = context.strip_suffix(".eksctl.io") {
        let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
        return rest.rsplit_once('.').map_or(rest, |(name, _)| name);
    }
    // OpenShift, by oc: <namespace>/<host>:<port>/<user>
    if let [_, server, _] = context.split('/').collect::<Vec<_>>()[..]
        && let Some((host, port)) = server.rsplit_once(':')
        && port.bytes().all(|b| b.is_ascii_digit())
    {
        return host;
    }
    // kubeadm, talosctl and others: <user>@<name>
    context.rsplit_once('@').map_or(context, |(_, name)| name)
}

/// `text` in lower case, with a single dash for whatever a DNS label may not have.
fn label(text: &str) -> String {
    let mut label = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            label.push(c.to_ascii_lowercase());
        } else if !label.is_empty() && !label.ends_with('-') {
            label.push('-');
        }
    }
    label.truncate(label.trim_end_matches('-').len());
    label
}

/// `name`, shortened where needed, with a hash of the context.
fn with_hash(name: &str, context: &ContextName, salt: u32) -> ClusterName {
    let mut hasher = Sha256::new();
    hasher.update(context.as_str());
    if salt > 0 {
        hasher.update(salt.to_be_bytes());
    }
    let digest = hasher.finalize();
    let hash = digest.iter().take(4).fold(0_u32, |hash, byte| (hash << 8) | u32::from(*byte));
    let room = MAX_LABEL - 1 - HASH_DIGITS;
    let head: String = name.chars().take(room).collect();
    ClusterName::trusted(format!("{}-{hash:0HASH_DIGITS$x}", head.trim_end_matches('-')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::topology::parse;

    fn derived(context: &str) -> String {
        derive(&ContextName::new(context).unwrap()).to_string()
    }

    fn topology(entries: &[(&str, Option<&str>)]) -> Topology {
        let mut text = "mesh_id: m\ncontexts:\n".to_owned();
        for (context, cluster) in entries {
            text.extend([format!("  {}:\n    network: net\n", serde_json::json!(context))]);
            if let Some(cluster) = cluster {
                text.extend([format!("    cluster: {cluster}\n")]);
            }
        }
        parse(&text, std::path::Path::new("topology.yaml")).unwrap()
    }

    fn pins(entries: &[(&str, &str)]) -> BTreeMap<ContextName, ClusterName> {
        entries
            .iter()
            .map(|(c, n)| (ContextName::new(*c).unwrap(), ClusterName::new(*n).unwrap()))
            .collect()
    }

    fn resolved(
        entries: &[(&str, Option<&str>)],
        pinned: &[(&str, &str)],
    ) -> Result<Vec<String>, Error> {
        let names = resolve(&topology(entries), &pins(pinned))?;
        Ok(names.into_iter().map(|(_, name)| name.to_string()).collect())
    }

    #[test]
    fn names_are_what_the_usual_tools_call_the_cluster() {
        for (context, name) in [
            ("arn:aws:eks:eu-west-1:123456789012:cluster/shop-east", "shop-east"),
            ("arn:aws-cn:eks:cn-north-1:1:cluster/Shop_East", "shop-east"),
            ("gke_my-project_europe-west1-b_shop", "shop"),
            ("gke_example.com:project_us-east1_shop-2", "shop-2"),
            ("shop-aks", "shop-aks"),
            ("kind-east", "kind-east"),
            ("alice@shop.eu-west-1.eksctl.io", "shop"),
            ("alice@example.com@shop.eu-west-1.eksctl.io", "shop"),
            ("kubernetes-admin@shop", "shop"),
            ("default/api-ocp-example-com:6443/kube:admin", "api-ocp-example-com"),
            ("/api-ocp-example-com:6443/kube:admin", "api-ocp-example-com"),
            ("context-east-1", "context-east-1"),
            ("Docker Desktop", "docker-desktop"),
            ("--a__b..c--", "a-b-c"),
        ] {
            assert_eq!(derived(context), name, "{context}");
        }
    }

    #[test]
    fn what_is_no_name_by_itself_gets_a_hash() {
        assert!(derived("kubernetes-admin@kubernetes").starts_with("kubernetes-"));
        assert!(derived("Kubernetes").starts_with("kubernetes-"));
        assert!(derived("日本").starts_with("cluster-"));
        assert_ne!(derived("日本"), derived("東京"));
        let long = derived(&"a-very-long-name".repeat(9));
        assert!(long.len() <= 63 && long.starts_with("a-very-long-name"), "{long}");
        assert_ne!(long, derived(&"a-very-long-name".repeat(10)));
    }

    #[test]
    fn contexts_that_suggest_one_name_are_told_apart_in_any_order() {
        let east = "arn:aws:eks:eu-west-1:1:cluster/shop";
        let west = "arn:aws:eks:eu-west-2:1:cluster/shop";
        let names = resolved(&[(east, None), (west, None), ("other", None)], &[]).unwrap();
        assert!(names[0].starts_with("shop-") && names[1].starts_with("shop-"), "{names:?}");
        assert_ne!(names[0], names[1]);
        assert_eq!(names[2], "other");
        let swapped = resolved(&[(west, None), (east, None)], &[]).unwrap();
        assert_eq!(swapped, [names[1].as_str(), &names[0]]);
    }

    #[test]
    fn a_name_in_use_stays_and_is_not_given_away() {
        let context = "gke_p_z_shop";
        let names = resolved(&[("old", None), (context, None)], &[("old", "shop")]).unwrap();
        assert_eq!(names[0], "shop");
        assert!(names[1].starts_with("shop-"));
        let names = resolved(&[(context, None)], &[("leaver", "shop")]).unwrap();
        assert!(names[0].starts_with("shop-"), "a leaver's name is not given away: {names:?}");
        let names = resolved(&[("a", Some("shop")), (context, None)], &[]).unwrap();
        assert_eq!(names[0], "shop");
        assert!(names[1].starts_with("shop-"));
        assert_eq!(resolved(&[("a", Some("x"))], &[("a", "x")]).unwrap(), ["x"]);
        let renamed = resolved(&[("a", Some("new"))], &[("a", "old")]).unwrap();
        assert_eq!(renamed, ["new"], "the user's word counts");
    }

    #[test]
    fn two_contexts_with_one_cluster_name_are_refused_with_both_places() {
        let error = resolved(&[("a", Some("shop")), ("b", Some("shop"))], &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "topology.yaml:8:5: `b` and `a` have the same cluster name `shop`, the other one in \
             line 5"
        );
        assert!(error.hint().unwrap().contains("`cluster:`"));
        assert!(resolved(&[("a", None), ("b", Some("x"))], &[("a", "x")]).is_err());
    }

    proptest! {
        #[test]
        fn every_context_gives_a_valid_name(context in "\\PC{1,80}") {
            let name = derived(&context);
            prop_assert!(ClusterName::new(name.clone()).is_ok(), "{name}");
        }

        #[test]
        fn names_are_unique(contexts in prop::collection::btree_set("[ab@/._-]{1,4}", 1..30)) {
            let entries: Vec<_> = contexts.iter().map(|c| (c.as_str(), None)).collect();
            let names = resolved(&entries, &[("leaver", "a"), ("another", "b")]).unwrap();
            prop_assert_eq!(names.len(), contexts.len());
            let distinct: BTreeSet<_> = names.iter().collect();
            prop_assert_eq!(distinct.len(), contexts.len());
            prop_assert!(names.iter().all(|name| ClusterName::new(name.as_str()).is_ok()));
            prop_assert!(!names.iter().any(|name| name == "a" || name == "b"));
        }
    }
}
