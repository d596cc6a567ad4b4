//! What a run refuses before it writes anything: the user has to decide first.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::connect::{Purpose, Reached, Unreached};
use super::fleet;
use super::identity;
use super::local::{Local, Options, Site};
use crate::error::Failure;
use crate::istio::version::{self, Version};
use crate::kube::{self, Access, Cluster, quote, without};
use crate::plan::object::{self, Key};

/// What any apply and any teardown need rights to, as (group, resource).
const RESOURCES: [(&str, &str); 18] = [
    ("", "namespaces"),
    ("", "serviceaccounts"),
    ("", "configmaps"),
    ("", "secrets"),
    ("", "services"),
    ("", "pods"),
    ("apps", "deployments"),
    ("autoscaling", "horizontalpodautoscalers"),
    ("policy", "poddisruptionbudgets"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("networking.istio.io", "gateways"),
    ("coordination.k8s.io", "leases"),
];
const VERBS: [&str; 5] = ["get", "list", "create", "patch", "delete"];

/// Asks whether the user may do what any run does; says what is missing, verb by resource.
pub(super) async fn check_rights(
    site: &Site,
    cluster: &Cluster,
) -> Result<Option<Failure>, kube::Error> {
    check_access(site, cluster, &of_any_run()).await
}

fn of_any_run() -> Vec<Access> {
    let of = |(group, resource)| VERBS.map(|verb| Access::new(verb, group, resource, None));
    RESOURCES.into_iter().flat_map(of).collect()
}

/// What a run does to a cluster, by API version and kind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Kinds<'a> {
    /// Of what is applied.
    pub applied: BTreeSet<(&'a str, &'a str)>,
    /// Of what is deleted.
    pub deleted: BTreeSet<(&'a str, &'a str)>,
}

impl Kinds<'_> {
    /// The rights that this needs beyond those of any run. A kind that is not served yet is one that
    /// the run defines.
    async fn rights(&self, cluster: &Cluster) -> Result<Vec<Access>, kube::Error> {
        let uses = [(&self.applied, &["create", "patch"][..]), (&self.deleted, &["delete"])];
        let mut rights = Vec::new();
        for (kinds, verbs) in uses {
            for (api_version, kind) in kinds {
                let Some(found) = cluster.resource(api_version, kind).await? else { continue };
                let group = api_version.split_once('/').map_or("", |(group, _)| group);
                if !RESOURCES.contains(&(group, &found.plural)) {
                    rights.extend(verbs.iter().map(|v| Access::new(v, group, &found.plural, None)));
                }
            }
        }
        Ok(rights)
    }
}

/// Why a cluster cannot be worked on that answered with this error. All rights that are missing say
/// more than the one that made a look fail.
pub(super) async fn unreached(
    site: &Site,
    cluster: &Cluster,
    purpose: Purpose,
    error: kube::Error,
) -> Unreached {
    if purpose == Purpose::Look || !matches!(error, kube::Error::Forbidden { .. }) {
        return error.into();
    }
    match check_rights(site, cluster).await {
        Ok(Some(missing)) => Unreached::Refused(missing),
        Ok(None) | Err(_) => error.into(),
    }
}

/// As [`check_rights`], for all clusters that a run is going to write to, and what it does there. One
/// where rights are missing stops the run; gives the contexts of those that did not answer, and why.
pub(super) async fn check_all_rights<'a>(
    parallel: usize,
    reached: impl Iterator<Item = (&'a Reached<'a>, Kinds<'a>)>,
) -> Result<BTreeMap<String, Failure>, Failure> {
    let checks = reached.map(|(Reached { site, cluster, .. }, kinds)| async move {
        let check = async {
            let needed = [of_any_run(), kinds.rights(cluster).await?].concat();
            check_access(site, cluster, &needed).await
        };
        (site.context().to_owned(), check.await)
    });
    let (mut missing, mut silent) = (Vec::new(), BTreeMap::new());
    for (context, check) in fleet::all(parallel, checks.collect::<Vec<_>>()).await {
        match check {
            Ok(found) => missing.extend(found),
            Err(error) => {
                silent.insert(context, error.into());
            }
        }
    }
    join(missing).map_or(Ok(silent), Err)
}

/// As [`check_rights`], for what those of any run leave out.
pub(super) async fn check_more_rights(
    site: &Site,
    cluster: &Cluster,
    kinds: &Kinds<'_>,
) -> Result<Option<Failure>, kube::Error> {
    check_access(site, cluster, &kinds.rights(cluster).await?).await
}

async fn check_access(
    site: &Site,
    cluster: &Cluster,
    needed: &[Access],
) -> Result<Option<Failure>, kube::Error> {
    let missing = cluster.allowed(needed).await?;
    if missing.is_empty() {
        return Ok(None);
    }
    let mut by_resource: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for access in &missing {
        let verbs = by_resource.entry(resource_name(access)).or_default();
        verbs.push(&access.verb);
    }
    let list: Vec<String> = by_resource
        .iter()
        .map(|(resource, verbs)| format!("{} {resource}", verbs.join("/")))
        .collect();
    Ok(Some(
        Failure::new(format!(
            "`{}`: the user of this context may not {}",
            site.context(),
            list.join(", ")
        ))
        .hint("use a context with the rights of cluster-admin, or have these granted")
        .hint(format!(
            "check: `kubectl{} auth can-i {}`",
            site.same_cluster(),
            missing[0]
        )),
    ))
}

/// A resource as kubectl writes it: `deployments.apps`.
fn resource_name(access: &Access) -> String {
    if access.group.is_empty() {
        access.resource.clone()
    } else {
        format!("{}.{}", access.resource, access.group)
    }
}

/// Several refusals as one: all of them are told at once.
pub(super) fn join(failures: Vec<Failure>) -> Option<Failure> {
    join_as("no cluster was written to, because:", failures)
}

/// Several failures as one below a sentence, each hint once. A single one needs no such sentence.
pub(super) fn join_as(sentence: &str, mut failures: Vec<Failure>) -> Option<Failure> {
    if failures.len() < 2 {
        return failures.pop();
    }
    let messages: Vec<String> = failures.iter().map(|f| format!("\n  {}", f.message)).collect();
    let mut joined = Failure::new(format!("{sentence}{}", messages.concat()));
    for hint in failures.into_iter().flat_map(|f| f.hints) {
        if !joined.hints.contains(&hint) {
            joined.hints.push(hint);
        }
    }
    Some(joined)
}

/// Checks the reached clusters against the record, each other, and the istioctl at hand.
pub(super) fn check(
    local: &Local,
    options: &Options,
    reached: &[Reached<'_>],
    istioctl: &str,
    rename: bool,
) -> Result<(), Failure> {
    identity::check(local, options, reached)?;
    let mut failures = Vec::new();
    for reached in reached {
        let membership = check_membership(local, options, reached, rename);
        failures.extend(membership.and_then(|()| check_istio(reached, istioctl)).err());
    }
    join(failures).map_or(Ok(()), Err)
}

/// As [`check`], without a look at the Istio that is there.
pub(super) fn check_members(
    local: &Local,
    options: &Options,
    reached: &[Reached<'_>],
) -> Result<(), Failure> {
    identity::check(local, options, reached)?;
    let checks = reached.iter().map(|one| check_membership(local, options, one, false));
    join(checks.filter_map(Result::err).collect()).map_or(Ok(()), Err)
}

/// Refuses a cluster of another mesh, and a cluster that would change its namespace or its name.
fn check_membership(
    local: &Local,
    options: &Options,
    reached: &Reached<'_>,
    rename: bool,
) -> Result<(), Failure> {
    let Reached { site, seen, .. } = reached;
    let context = site.context();
    if let Some(mesh) = seen.mesh_id().filter(|id| *id != local.topology.mesh_id.as_ref()) {
        return Err(Failure::new(format!(
            "`{context}` belongs to the mesh `{mesh}` already, and a cluster can be in one mesh only"
        ))
        .hint(format!(
            "take it out of there first: `kubectl multimesh teardown --mesh {} --contexts {}{}`",
            quote(mesh),
            quote(context),
            options.choice.same_kubeconfig()
        ))
        .hint(format!("or leave it out here: `{}`", without(context))));
    }
    let record = local.state.contexts.get(context).filter(|record| record.uid == seen.uid);
    if let Some(record) = record.filter(|record| record.namespace != site.namespace()) {
        return Err(Failure {
            excerpt: Some(site.member.place_of("namespace").clone()),
            ..Failure::new(format!(
                "`{context}` has what this mesh brought in the namespace {}, and the topology says {}; it is not moved",
                record.namespace,
                site.namespace()
            ))
        }
        .hint(format!("put the former one back: `namespace: {}` under `{context}`", record.namespace))
        .hint(format!(
            "or take the cluster out of the mesh before it changes: `kubectl multimesh teardown --contexts {}{}`",
            quote(context),
            options.same_mesh(local.topology.mesh_id.as_ref())
        )));
    }
    let named = seen.parent.as_ref().and_then(|p| p.pointer("/data/cluster")?.as_str());
    match named.filter(|name| *name != site.cluster.as_ref()) {
        Some(name) if !rename => Err(Failure {
            excerpt: Some(site.member.place.clone()),
            ..Failure::new(format!(
                "`{context}` has the cluster name `{name}` and would become `{}`; that replaces every link to it and restarts its istiod, \
                 and every proxy there keeps the old name until its pod is restarted",
                site.cluster
            ))
        }
        .hint(format!("keep the name: `cluster: {name}` under `{context}`"))
        .hint(format!(
            "or pay the price: `kubectl multimesh apply --allow-cluster-rename{}`",
            options.same_run(local.topology.mesh_id.as_ref())
        ))),
        _ => Ok(()),
    }
}

fn check_istio(reached: &Reached<'_>, istioctl: &str) -> Result<(), Failure> {
    let Reached { site, seen, .. } = reached;
    let (context, namespace) = (site.context(), site.namespace());
    let id = object::set_id(namespace);
    if !site.managed() {
        return check_existing(reached);
    }
    for istiod in &seen.istiods {
        let key = Key::of(istiod);
        // What was applied says more than an image tag, which a base.yaml may choose freely.
        let applied = seen.parent.as_ref().and_then(|p| p.pointer("/data/istio")?.as_str());
        let version = applied.map(str::to_owned).or_else(|| version::of_istiod(istiod));
        if !object::is_ours(istiod, &id) && object::label(istiod, object::PART_OF).is_some() {
            return Err(Failure {
                excerpt: Some(site.member.place_of("namespace").clone()),
                ..Failure::new(format!(
                    "`{context}` has the mesh's control plane in another namespace ({key}), and one is not moved"
                ))
            }
            .hint("put the former `namespace` back, or tear the cluster down before it changes"));
        }
        if !object::is_ours(istiod, &id) {
            let what = version.map_or_else(String::new, |v| format!(" {v}"));
            return Err(Failure::new(format!(
                "`{context}` has an Istio{what} that somebody else installed ({key})"
            ))
            .hint(format!(
                "keep it and join it to the mesh: `control_plane: existing` under `{context}` in the topology"
            ))
            .hint(format!("or remove it first, with all Istio configuration there: `istioctl uninstall --purge{}`", site.same_cluster())));
        }
        if let Some(version) = version.filter(|version| version != istioctl) {
            return Err(Failure::new(format!(
                "`{context}` runs Istio {version}, but istioctl is {istioctl}, and an apply does not change versions"
            ))
            .hint(format!("use the istioctl of that version: `--istioctl <path to istioctl {version}>`")));
        }
    }
    Ok(())
}

/// API servers that are older than Istio supports: istioctl says so too, and goes on.
pub(super) fn too_old(reached: &[Reached<'_>], istioctl: &str) -> Vec<String> {
    let Some(istio) = Version::parse(istioctl) else { return Vec::new() };
    let Some(oldest) = version::oldest_kubernetes(istio) else { return Vec::new() };
    let old = reached.iter().filter(|Reached { seen, .. }| {
        (seen.kubernetes.major, seen.kubernetes.minor) < (1, oldest)
    });
    old.map(|Reached { site, seen, .. }| {
        format!(
            "`{}`: it runs Kubernetes {}, and Istio {istio} supports 1.{oldest} and later",
            site.context(),
            seen.kubernetes
        )
    })
    .collect()
}

/// An existing control plane must be what the topology says: it is not changed to fit.
fn check_existing(reached: &Reached<'_>) -> Result<(), Failure> {
    let Reached { site, seen, .. } = reached;
    let (context, namespace) = (site.context(), site.namespace());
    let mut in_namespace = seen.istiods.iter().filter(|d| d["metadata"]["namespace"] == namespace);
    let Some(istiod) = in_namespace.next() else {
        return Err(Failure::new(format!(
            "`{context}` has no istiod in the namespace {namespace}, but the topology says `control_plane: existing`"
        ))
        .hint("install Istio there first, or leave `control_plane` out to have it installed"));
    };
    if object::is_ours(istiod, &object::set_id(namespace)) {
        return Err(Failure {
            excerpt: Some(site.member.place_of("control_plane").clone()),
            ..Failure::new(format!(
                "`{context}` has the control plane that this mesh installed, so `control_plane: existing` would delete it"
            ))
        }
        .hint("leave `control_plane` out: the mesh goes on with it")
        .hint("or tear the cluster down first, and install Istio there yourself"));
    }
    let name = env(istiod, "CLUSTER_ID").unwrap_or("Kubernetes");
    if name == site.cluster.as_ref() {
        return Ok(());
    }
    Err(Failure {
        excerpt: Some(site.member.place.clone()),
        ..Failure::new(format!(
            "`{context}`: its istiod calls the cluster `{name}`, and the topology `{}`",
            site.cluster
        ))
    }
    .hint(if name == "Kubernetes" {
        format!(
            "give it a name of its own: set `values.global.multiCluster.clusterName: {}` where it is installed from",
            site.cluster
        )
    } else {
        format!("say `cluster: {name}` under `{context}`")
    }))
}

/// A variable in the environment of a Deployment's containers.
pub(super) fn env<'a>(deployment: &'a Value, name: &str) -> Option<&'a str> {
    let containers = deployment.pointer("/spec/template/spec/containers")?.as_array()?;
    let mut variables = containers.iter().filter_map(|c| c["env"].as_array()).flatten();
    variables.find(|v| v["name"] == name)?.get("value")?.as_str()
}

/// Objects that the mesh needs under a name that somebody else uses.
pub(super) fn foreign_objects(foreign: &[(String, Key)], same_run: &str) -> Failure {
    let mut by_context: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (context, key) in foreign {
        by_context.entry(context).or_default().push(key.to_string());
    }
    let lists = by_context.iter().map(|(context, keys)| {
        let shown: Vec<&str> = keys.iter().take(5).map(String::as_str).collect();
        let more = keys.len().saturating_sub(shown.len());
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        format!("\n  `{context}`: {}{more}", shown.join(", "))
    });
    Failure::new(format!(
        "no cluster was written to, because objects that the mesh needs exist and were made by somebody else:{}",
        lists.collect::<String>()
    ))
    .hint("if they are left over and nobody needs them, delete them")
    .hint(format!(
        "or take them over, so that a teardown deletes them: `kubectl multimesh apply --force-conflicts{same_run}`"
    ))
}
