//! The `IstioOperator` that istioctl renders: the user's base, an overlay, and what the mesh needs.

use serde_json::{Map, Value, json};

/// Stands for the cluster name while rendering, so that one istioctl run serves many clusters.
pub const CLUSTER_PLACEHOLDER: &str = "multimesh-cluster-placeholder";
/// Stands for the network name while rendering.
pub const NETWORK_PLACEHOLDER: &str = "multimesh-network-placeholder";
/// The name of the east-west gateway's Deployment and Service
/// (istio: `samples/multicluster/gen-eastwest-gateway.sh`).
pub const GATEWAY: &str = "istio-eastwestgateway";
/// The port on which the east-west gateway takes mTLS traffic of other networks.
pub const GATEWAY_PORT: u16 = 15443;

/// Profiles whose `istio-ingressgateway` is off (istio: `manifests/profiles`).
const PROFILES_WITHOUT_INGRESS: [&str; 5] =
    ["ambient", "empty", "minimal", "openshift-ambient", "remote"];

/// What a probe may ask; it can have one of them only (Kubernetes API: `Probe`).
const HANDLERS: [&str; 4] = ["exec", "grpc", "httpGet", "tcpSocket"];

/// What distinguishes one rendering from another; clusters that agree share one istioctl run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Variant {
    /// The mesh ID, `values.global.meshID`.
    pub mesh_id: String,
    /// The namespace of the control plane.
    pub namespace: String,
    /// Whether istiod is ours to install, or somebody else's to keep.
    pub control_plane: bool,
    /// Whether there is more than one network, so that an east-west gateway is needed.
    pub gateway: bool,
    /// Gateways that are reached under another address than their Service tells.
    pub addresses: Vec<GatewayOverride>,
}

/// The address of a cluster's east-west gateway as the user knows it, behind a NAT for instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayOverride {
    /// The gateway's network.
    pub network: String,
    /// The cluster whose endpoints are in that network.
    pub cluster: String,
    /// The IP or hostname.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Builds the operator from the user's base and overlay. A user's own value wins wherever the
/// mesh does not depend on the tool's.
pub fn build(base: &Value, overlay: Option<&Value>, variant: &Variant) -> Value {
    let mut spec = Map::new();
    if variant.control_plane {
        merge(&mut spec, base.get("spec"));
        merge(&mut spec, overlay.and_then(|o| o.get("spec")));
    } else {
        // An existing control plane takes nothing from us but the gateway and its images.
        for source in [Some(base), overlay].into_iter().flatten() {
            keep_gateway_parts(&mut spec, source);
        }
        spec.insert("profile".into(), json!("empty"));
    }
    let mut spec = Value::Object(spec);
    let global = json!({
        "meshID": variant.mesh_id,
        "multiCluster": { "clusterName": CLUSTER_PLACEHOLDER },
        "network": NETWORK_PLACEHOLDER,
        "istioNamespace": variant.namespace,
    });
    force(&mut spec, &json!({ "namespace": variant.namespace, "values": { "global": global } }));
    if variant.control_plane {
        default(&mut spec, &ready_for_rotation());
        default_probe(&mut spec, &["components", "pilot"], &istiod_probe());
        if !variant.addresses.is_empty() {
            force(&mut spec, &mesh_networks(&variant.addresses));
        }
    }
    if variant.gateway {
        add_gateway(&mut spec);
    }
    json!({
        "apiVersion": "install.istio.io/v1alpha1",
        "kind": "IstioOperator",
        // Without a name `istioctl install` would prune what other operators own.
        "metadata": { "name": "multimesh", "namespace": variant.namespace },
        "spec": spec,
    })
}

/// The two switches without which a later change of the root CA needs every pod re-created:
/// istiod takes a second root live, and proxies fetch new certificates when it does.
fn ready_for_rotation() -> Value {
    json!({
        "values": { "pilot": { "env": { "ISTIO_MULTIROOT_MESH": "true" } } },
        "meshConfig": {
            "defaultConfig": { "proxyMetadata": { "PROXY_CONFIG_XDS_AGENT": "true" } }
        },
    })
}

/// Fills in the readiness probe of a component, unless the user says what it asks.
fn default_probe(spec: &mut Value, component: &[&str], probe: &Value) {
    let path = [component, &["k8s", "readinessProbe"]].concat();
    let theirs = path.iter().try_fold(&*spec, |value, key| value.get(key));
    if theirs.is_some_and(|theirs| HANDLERS.iter().any(|handler| theirs.get(handler).is_some())) {
        return;
    }
    let under = path.iter().rev().fold(probe.clone(), |inner, key| json!({ *key: inner }));
    default(spec, &under);
}

/// The chart asks every 3 s, and gateways wait for what may be ready all the while.
fn istiod_probe() -> Value {
    json!({
        "httpGet": { "path": "/ready", "port": 8080 },
        "initialDelaySeconds": 1,
        "periodSeconds": 1,
        "timeoutSeconds": 5,
    })
}

/// The chart asks every 15 s, so a gateway that misses the first probe stands idle for that long
/// although it serves.
fn gateway_probe() -> Value {
    json!({
        "httpGet": { "path": "/healthz/ready", "port": 15021 },
        "periodSeconds": 1,
        "timeoutSeconds": 3,
        "failureThreshold": 30,
    })
}

/// istiod knows no address for a gateway but its Service's, unless `meshNetworks` says it.
fn mesh_networks(addresses: &[GatewayOverride]) -> Value {
    let mut networks = Map::new();
    for address in addresses {
        let network = networks
            .entry(&address.network)
            .or_insert_with(|| json!({ "endpoints": [], "gateways": [] }));
        let endpoint = json!({ "fromRegistry": address.cluster });
        let gateway = json!({ "address": address.host, "port": address.port });
        for (key, value) in [("endpoints", endpoint), ("gateways", gateway)] {
            if let Some(list) = network[key].as_array_mut() {
                list.push(value);
            }
        }
    }
    json!({ "values": { "global": { "meshNetworks": networks } } })
}

fn keep_gateway_parts(spec: &mut Map<String, Value>, source: &Value) {
    let user = source.get("spec");
    for key in ["hub", "tag"] {
        if let Some(value) = user.and_then(|s| s.get(key)) {
            spec.insert(key.into(), value.clone());
        }
    }
    let gateways = user.and_then(|s| s.pointer("/components/ingressGateways")?.as_array());
    let own: Vec<Value> =
        gateways.into_iter().flatten().filter(|g| g["name"] == GATEWAY).cloned().collect();
    if !own.is_empty() {
        spec.insert("components".into(), json!({ "ingressGateways": own }));
    }
    let mut values = Map::new();
    for key in ["global", "gateways", "revision"] {
        if let Some(value) = user.and_then(|s| s.get("values")?.get(key)) {
            values.insert(key.into(), value.clone());
        }
    }
    merge(spec, Some(&json!({ "values": values })));
}

/// istioctl replaces lists as a whole, so the profile's own ingress gateway is spelled out where
/// the profile would have brought it.
fn add_gateway(spec: &mut Value) {
    let profile = spec.get("profile").and_then(Value::as_str).unwrap_or("default");
    let profile_has_ingress = !PROFILES_WITHOUT_INGRESS.contains(&profile);
    let listed = spec.pointer("/components/ingressGateways").and_then(Value::as_array).cloned();
    let mut gateways = listed.unwrap_or_else(|| {
        let ingress = json!({ "name": "istio-ingressgateway", "enabled": true });
        if profile_has_ingress { vec![ingress] } else { Vec::new() }
    });
    let position = gateways.iter().position(|g| g["name"] == GATEWAY).unwrap_or_else(|| {
        gateways.push(json!({ "name": GATEWAY }));
        gateways.len() - 1
    });
    if let Some(gateway) = gateways.get_mut(position) {
        default(gateway, &gateway_defaults());
        default_probe(gateway, &[], &gateway_probe());
        force(gateway, &json!({ "enabled": true, "label": gateway_labels() }));
    }
    force(spec, &json!({ "components": { "ingressGateways": gateways } }));
    let injected =
        json!({ "gateways": { "istio-ingressgateway": { "injectionTemplate": "gateway" } } });
    default(spec, &json!({ "values": injected }));
}

/// The labels by which istiod finds the gateway and its network.
fn gateway_labels() -> Value {
    json!({
        "app": GATEWAY,
        "istio": "eastwestgateway",
        "topology.istio.io/network": NETWORK_PLACEHOLDER,
    })
}

fn gateway_defaults() -> Value {
    json!({
        "k8s": {
            "env": [{ "name": "ISTIO_META_REQUESTED_NETWORK_VIEW", "value": NETWORK_PLACEHOLDER }],
            "service": { "ports": [
                { "name": "status-port", "port": 15021, "targetPort": 15021 },
                { "name": "tls", "port": GATEWAY_PORT, "targetPort": GATEWAY_PORT },
            ] },
        },
    })
}

fn merge(into: &mut Map<String, Value>, from: Option<&Value>) {
    let mut value = Value::Object(std::mem::take(into));
    if let Some(from) = from {
        force(&mut value, from);
    }
    if let Value::Object(map) = value {
        *into = map;
    }
}

/// Lays `over` upon `value`, mapping by mapping; everything else is replaced.
fn force(value: &mut Value, over: &Value) {
    overlay(value, over, true);
}

/// Fills in what `value` does not say.
fn default(value: &mut Value, under: &Value) {
    overlay(value, under, false);
}

fn overlay(value: &mut Value, other: &Value, replace: bool) {
    match (value, other) {
        (Value::Object(map), Value::Object(other)) => {
            for (key, theirs) in other {
                match map.get_mut(key) {
                    Some(ours) if !ours.is_null() => overlay(ours, theirs, replace),
                    _ => {
                        map.insert(key.clone(), theirs.clone());
                    }
                }
            }
        }
        (value, other) => {
            if replace {
                *value = other.clone();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variant(control_plane: bool, gateway: bool) -> Variant {
        Variant {
            mesh_id: "m1".into(),
            namespace: "istio-system".into(),
            control_plane,
            gateway,
            addresses: Vec::new(),
        }
    }

    fn names(operator: &Value) -> Vec<&str> {
        let list = operator.pointer("/spec/components/ingressGateways").and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|g| g["name"].as_str()).collect()
    }

    #[test]
    fn owned_values_are_set_and_the_users_are_kept() {
        let base = json!({ "spec": {
            "profile": "minimal",
            "values": { "global": { "imagePullPolicy": "IfNotPresent" } },
        }});
        let built = build(&base, None, &variant(true, true));
        let global = &built["spec"]["values"]["global"];
        assert_eq!(global["imagePullPolicy"], "IfNotPresent");
        assert_eq!(global["meshID"], "m1");
        assert_eq!(global["multiCluster"]["clusterName"], CLUSTER_PLACEHOLDER);
        assert_eq!(names(&built), [GATEWAY]);
        assert!(built["metadata"]["name"].is_string());
    }

    #[test]
    fn readiness_is_asked_every_second_unless_the_user_says_what_is_asked() {
        let built = |probe: Option<Value>, variant: &Variant| {
            let k8s = |probe: &Value| json!({ "k8s": { "readinessProbe": probe } });
            let overlay = probe.map(|probe| {
                let mut gateway = k8s(&probe);
                gateway["name"] = json!(GATEWAY);
                json!({ "spec": { "components": {
                    "pilot": k8s(&probe), "ingressGateways": [gateway],
                } } })
            });
            let built = build(&json!({ "spec": {} }), overlay.as_ref(), variant);
            let components = &built["spec"]["components"];
            let mut gateways = components["ingressGateways"].as_array().into_iter().flatten();
            let gateway = gateways.find(|g| g["name"] == GATEWAY).cloned().unwrap_or_default();
            let probe = |component: &Value| component["k8s"]["readinessProbe"].clone();
            (probe(&components["pilot"]), probe(&gateway))
        };
        let both = variant(true, true);
        assert_eq!(built(None, &both), (istiod_probe(), gateway_probe()));
        let theirs = json!({ "exec": { "command": ["true"] } });
        assert_eq!(built(Some(theirs.clone()), &both), (theirs.clone(), theirs));
        let (istiod, gateway) = built(Some(json!({ "periodSeconds": 7 })), &both);
        for (probe, tools) in [(istiod, istiod_probe()), (gateway, gateway_probe())] {
            assert_eq!(
                (&probe["periodSeconds"], &probe["httpGet"]),
                (&json!(7), &tools["httpGet"])
            );
        }
        assert_eq!(built(None, &variant(false, true)), (Value::Null, gateway_probe()));
    }

    #[test]
    fn a_user_may_switch_rotation_off_and_add_to_the_gateways_service() {
        let base = json!({ "spec": {
            "profile": "minimal",
            "values": { "pilot": { "env": { "ISTIO_MULTIROOT_MESH": "false" } } },
            "components": { "ingressGateways": [
                { "name": GATEWAY, "k8s": { "service": { "externalTrafficPolicy": "Local" } } },
            ]},
        }});
        let built = build(&base, None, &variant(true, true));
        assert_eq!(built["spec"]["values"]["pilot"]["env"]["ISTIO_MULTIROOT_MESH"], "false");
        let service = &built["spec"]["components"]["ingressGateways"][0]["k8s"]["service"];
        assert_eq!(service["externalTrafficPolicy"], "Local");
        assert_eq!(service["ports"][1]["port"], GATEWAY_PORT);
    }

    #[test]
    fn the_profiles_own_ingress_gateway_stays() {
        let built = build(&json!({ "spec": {} }), None, &variant(true, true));
        assert_eq!(names(&built), ["istio-ingressgateway", GATEWAY]);
    }

    #[test]
    fn one_network_has_no_gateway() {
        let built =
            build(&json!({ "spec": { "profile": "minimal" } }), None, &variant(true, false));
        assert!(names(&built).is_empty());
    }

    #[test]
    fn an_overlay_wins_over_the_base() {
        let base = json!({ "spec": { "meshConfig": { "accessLogFile": "/dev/stdout", "x": 1 } } });
        let over = json!({ "spec": { "meshConfig": { "accessLogFile": "" } } });
        let built = build(&base, Some(&over), &variant(true, false));
        assert_eq!(built["spec"]["meshConfig"]["accessLogFile"], "");
        assert_eq!(built["spec"]["meshConfig"]["x"], 1);
    }

    #[test]
    fn an_address_behind_a_nat_is_told_to_istiod() {
        let address = GatewayOverride {
            network: "n1".into(),
            cluster: "c1".into(),
            host: "192.0.2.1".into(),
            port: 443,
        };
        let variant = Variant { addresses: vec![address], ..variant(true, true) };
        let built = build(&json!({ "spec": { "profile": "minimal" } }), None, &variant);
        let network = &built["spec"]["values"]["global"]["meshNetworks"]["n1"];
        assert_eq!(network["endpoints"], json!([{ "fromRegistry": "c1" }]));
        assert_eq!(network["gateways"], json!([{ "address": "192.0.2.1", "port": 443 }]));
    }

    #[test]
    fn an_existing_control_plane_is_not_rendered() {
        let base = json!({ "spec": {
            "profile": "default",
            "components": { "pilot": { "enabled": true } },
        }});
        let built = build(&base, None, &variant(false, true));
        assert_eq!(built["spec"]["profile"], "empty");
        assert_eq!(built["spec"]["components"].get("pilot"), None);
        assert_eq!(names(&built), [GATEWAY]);
    }
}
