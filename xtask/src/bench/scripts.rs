//! What the floor sends.

use std::fs;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use multimesh_lab::Cluster;
use serde_json::{Map, Value, json};

use super::bare::{Call, Member, Script, Target};
use super::ground::Ground;
use super::manual::{self, CACERTS, NAMESPACE};
use super::measure;

/// The kinds that a cluster of the mesh holds, as paths of their collections.
const COLLECTIONS: [&str; 17] = [
    "api/v1/namespaces",
    "api/v1/serviceaccounts",
    "api/v1/configmaps",
    "api/v1/secrets",
    "api/v1/services",
    "apis/apps/v1/deployments",
    "apis/apps/v1/daemonsets",
    "apis/autoscaling/v2/horizontalpodautoscalers",
    "apis/policy/v1/poddisruptionbudgets",
    "apis/rbac.authorization.k8s.io/v1/clusterroles",
    "apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "apis/rbac.authorization.k8s.io/v1/roles",
    "apis/rbac.authorization.k8s.io/v1/rolebindings",
    "apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    "apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "apis/networking.istio.io/v1/gateways",
];
const READER: &str = "istio-reader-service-account";

/// A mesh from nothing: the objects that the tool makes too, but for the record that it keeps of
/// them. Clusters without nodes have no gateways, and nothing is waited for.
pub(super) fn cold(
    ground: &Ground<'_>,
    clusters: &[Cluster],
    nodes: bool,
) -> Result<Script, String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let contexts: Vec<&str> = clusters.iter().map(|cluster| cluster.context.as_str()).collect();
    for context in &contexts {
        fs::create_dir(folder.path().join(context)).map_err(|e| e.to_string())?;
    }
    manual::certificates(folder.path(), &contexts)?;
    let mut members = Vec::new();
    for cluster in clusters {
        let mut operator = manual::control_plane(&cluster.context, &cluster.network, true)?;
        if nodes {
            let gateway = manual::eastwest(&cluster.network, true);
            operator["spec"]["components"]["ingressGateways"] =
                gateway["spec"]["components"]["ingressGateways"].clone();
            operator["spec"]["values"]["gateways"] = gateway["spec"]["values"]["gateways"].clone();
        }
        let file = folder.path().join("operator.yaml");
        fs::write(&file, operator.to_string()).map_err(|e| e.to_string())?;
        let mut render = ground.command("istioctl")?;
        let rendered = measure::run(render.args(["manifest", "generate", "-f"]).arg(&file))?;
        // `defaultMode: 0644` means 420 to every reader of YAML 1.1.
        let options = serde_saphyr::options! { legacy_octal_numbers: true };
        let rendered: Vec<Value> =
            serde_saphyr::from_multiple_with_options(&rendered.stdout, options)
                .map_err(|e| e.to_string())?;
        let named_as_gateway = |object: &Value| {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            name.starts_with("istio-eastwestgateway")
        };
        let objects = rendered.into_iter().filter(|object| !object.is_null());
        let (mut gateway, mut control_plane): (Vec<_>, Vec<_>) =
            objects.partition(named_as_gateway);
        if nodes {
            gateway.push(manual::opening());
        }
        let mut data = Map::new();
        for name in CACERTS {
            let path = folder.path().join(&cluster.context).join(name);
            let bytes = fs::read(path).map_err(|e| e.to_string())?;
            data.insert(name.into(), BASE64_STANDARD.encode(bytes).into());
        }
        control_plane.push(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "cacerts", "namespace": NAMESPACE},
            "data": data,
        }));
        // A token's Secret whose account is not there yet is deleted by the API server.
        gateway.push(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": format!("{READER}-istio-remote-secret-token"),
                "namespace": NAMESPACE,
                "annotations": {"kubernetes.io/service-account.name": READER},
            },
            "type": "kubernetes.io/service-account-token",
        }));
        members.push(Member {
            target: ground.target(cluster)?,
            namespace: json!({
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {
                    "name": NAMESPACE,
                    "labels": {"topology.istio.io/network": cluster.network},
                },
            }),
            control_plane,
            gateway,
        });
    }
    Ok(Script::Cold { members, waits: nodes })
}

/// One list of each kind from each cluster: the tool's objects only, as it marks them.
pub(super) fn lists(ground: &Ground<'_>, clusters: &[Cluster]) -> Result<Script, String> {
    let label = "applyset.kubernetes.io%2Fpart-of";
    let phase = (0..clusters.len()).flat_map(|target| {
        COLLECTIONS
            .iter()
            .map(move |it| Call::get(target, format!("/{it}?labelSelector={label}&limit=500")))
    });
    Ok(Script::Requests { targets: targets(ground, clusters)?, phases: vec![phase.collect()] })
}

/// What there is to ask of a mesh: its objects, what its istiods tell, and whether the tokens with
/// which the clusters read each other are accepted.
pub(super) fn status(
    ground: &Ground<'_>,
    clusters: &[Cluster],
    gateways: bool,
) -> Result<Script, String> {
    let mut reads = Vec::new();
    for index in 0..clusters.len() {
        let mut get = |path: String| reads.push(Call::get(index, path));
        let core = format!("/api/v1/namespaces/{NAMESPACE}");
        let apps = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments");
        get("/version".into());
        get("/api/v1/namespaces/kube-system".into());
        get(core.clone());
        get(format!("{core}/configmaps/multimesh"));
        get(format!("{core}/secrets/cacerts"));
        get(format!("{core}/secrets?labelSelector=istio%2FmultiCluster%3Dtrue"));
        get(format!("{apps}?labelSelector=app%3Distiod"));
        if gateways {
            get(format!("{apps}/istio-eastwestgateway"));
            get(format!("{core}/services/istio-eastwestgateway"));
            let gateways = "apis/networking.istio.io/v1/namespaces/istio-system/gateways";
            get(format!("/{gateways}/cross-network-gateway"));
        }
    }
    let mut script = what_runs(ground, clusters)?;
    if let Script::Requests { phases, .. } = &mut script
        && let Some(first) = phases.first_mut()
    {
        first.extend(reads);
    }
    Ok(script)
}

/// The part of it that an apply with nothing to do asks at its end: istiods and tokens.
pub(super) fn what_runs(ground: &Ground<'_>, clusters: &[Cluster]) -> Result<Script, String> {
    let (mut reads, mut reviews) = (Vec::new(), Vec::new());
    for (index, cluster) in clusters.iter().enumerate() {
        let mut get = |path: String| reads.push(Call::get(index, path));
        let core = format!("/api/v1/namespaces/{NAMESPACE}");
        get(format!("{core}/pods?labelSelector=app%3Distiod"));
        let words = ["get", "pods", "-n", NAMESPACE, "-l", "app=istiod", "-o", "name"];
        for pod in ground.kubectl(cluster, &words)?.lines() {
            let pod = pod.trim_start_matches("pod/");
            if cluster.has_node {
                get(format!("{core}/pods/{pod}:15014/proxy/metrics"));
            }
        }
        let secret = format!("{READER}-istio-remote-secret-token");
        let words = ["get", "secret", &secret, "-n", NAMESPACE, "-o", "jsonpath={.data.token}"];
        let token = ground.kubectl(cluster, &words)?;
        let token = BASE64_STANDARD.decode(token.trim()).map_err(|e| e.to_string())?;
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": String::from_utf8_lossy(&token)},
        });
        reviews.push(Call::post(index, "/apis/authentication.k8s.io/v1/tokenreviews", &review));
    }
    Ok(Script::Requests { targets: targets(ground, clusters)?, phases: vec![reads, reviews] })
}

/// One script after the other, on the same clusters.
pub(super) fn then(first: Script, second: Script) -> Script {
    match (first, second) {
        (Script::Requests { targets, phases }, Script::Requests { phases: more, .. }) => {
            Script::Requests { targets, phases: phases.into_iter().chain(more).collect() }
        }
        (first, _) => first,
    }
}

fn targets(ground: &Ground<'_>, clusters: &[Cluster]) -> Result<Vec<Target>, String> {
    clusters.iter().map(|cluster| ground.target(cluster)).collect()
}

/// The objects that a script sends to each cluster, in the order of the clusters.
pub(super) fn objects(script: &Script) -> Vec<Vec<&Value>> {
    let Script::Cold { members, .. } = script else { return Vec::new() };
    let of_each = members.iter().map(|member| {
        let Member { namespace, control_plane, gateway, .. } = member;
        std::iter::once(namespace).chain(control_plane).chain(gateway).collect()
    });
    of_each.collect()
}

/// How many requests a script makes, or how many objects it sends to each cluster.
pub(super) fn size(script: &Script) -> usize {
    match script {
        Script::Requests { phases, .. } => phases.iter().map(Vec::len).sum(),
        Script::Cold { members, .. } => members.first().map_or(0, |first| {
            first.control_plane.len() + first.gateway.len() + 1 + members.len() - 1
        }),
    }
}
