//! Which kind lives at which path.
//!
//! The kinds that Istio and this plugin use are known beforehand and cost no request. Any other is
//! looked up in the list of its group and version: one small answer of the API server itself, which
//! an aggregated API that is down elsewhere cannot spoil.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::{
    admissionregistration::v1 as admission, apps::v1 as apps, autoscaling::v2 as autoscaling,
    coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery,
    networking::v1 as networking, policy::v1 as policy, rbac::v1 as rbac, storage::v1 as storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as extensions;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope, Resource as Typed};
use serde_json::Value;

use super::cluster::Cluster;
use super::error::Error;
use super::transport::Ask;
use crate::plan::object::Key;
use crate::plan::removal::Target;

/// One object on a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId {
    /// Group and version: `v1`, `apps/v1`.
    pub api_version: String,
    /// The kind: `Deployment`.
    pub kind: String,
    /// The namespace; `None` for objects of the whole cluster.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

impl ResourceId {
    /// An object in a namespace.
    pub fn namespaced(api_version: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: Some(namespace.to_owned()),
            name: name.to_owned(),
        }
    }

    /// An object of the whole cluster.
    pub fn cluster(api_version: &str, kind: &str, name: &str) -> Self {
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: None,
            name: name.to_owned(),
        }
    }

    /// The key of the object, whatever the version of its group.
    pub fn key(&self) -> Key {
        Key {
            group: self.api_version.split_once('/').map_or("", |(group, _)| group).to_owned(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone().unwrap_or_default(),
            name: self.name.clone(),
        }
    }

    /// Where a complete object belongs; `None` if it lacks API version, kind or name.
    pub fn of(object: &Value) -> Option<Self> {
        let text = |path| object.pointer(path).and_then(Value::as_str).filter(|t| !t.is_empty());
        Some(Self {
            api_version: text("/apiVersion")?.to_owned(),
            kind: text("/kind")?.to_owned(),
            namespace: text("/metadata/namespace").map(str::to_owned),
            name: text("/metadata/name")?.to_owned(),
        })
    }
}

impl From<&Target> for ResourceId {
    fn from(target: &Target) -> Self {
        let Key { kind, namespace, name, .. } = &target.key;
        if namespace.is_empty() {
            Self::cluster(&target.api_version, kind, name)
        } else {
            Self::namespaced(&target.api_version, kind, namespace, name)
        }
    }
}

/// As operators write it: `Deployment istio-system/istiod`.
impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// Where the objects of a kind live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The plural in paths and in RBAC rules: `deployments`.
    pub plural: String,
    /// Whether the objects live in namespaces.
    pub namespaced: bool,
}

impl Resource {
    fn new(plural: &str, namespaced: bool) -> Self {
        Self { plural: plural.to_owned(), namespaced }
    }

    /// The path of the collection, in one namespace or in all.
    pub(super) fn collection(&self, api_version: &str, namespace: Option<&str>) -> String {
        let root = if api_version.contains('/') { "apis" } else { "api" };
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => {
                format!("/{root}/{api_version}/namespaces/{}/{}", segment(namespace), self.plural)
            }
            None => format!("/{root}/{api_version}/{}", self.plural),
        }
    }
}

/// Istio's and the Gateway API's kinds: group, kind, plural, whether namespaced. Versions of a group
/// share the plural.
const CUSTOM: &[(&str, &str, &str, bool)] = &[
    ("networking.istio.io", "DestinationRule", "destinationrules", true),
    ("networking.istio.io", "EnvoyFilter", "envoyfilters", true),
    ("networking.istio.io", "Gateway", "gateways", true),
    ("networking.istio.io", "ProxyConfig", "proxyconfigs", true),
    ("networking.istio.io", "ServiceEntry", "serviceentries", true),
    ("networking.istio.io", "Sidecar", "sidecars", true),
    ("networking.istio.io", "VirtualService", "virtualservices", true),
    ("networking.istio.io", "WorkloadEntry", "workloadentries", true),
    ("networking.istio.io", "WorkloadGroup", "workloadgroups", true),
    ("security.istio.io", "AuthorizationPolicy", "authorizationpolicies", true),
    ("security.istio.io", "PeerAuthentication", "peerauthentications", true),
    ("security.istio.io", "RequestAuthentication", "requestauthentications", true),
    ("telemetry.istio.io", "Telemetry", "telemetries", true),
    ("extensions.istio.io", "WasmPlugin", "wasmplugins", true),
    ("gateway.networking.k8s.io", "Gateway", "gateways", true),
    ("gateway.networking.k8s.io", "GatewayClass", "gatewayclasses", false),
    ("gateway.networking.k8s.io", "GRPCRoute", "grpcroutes", true),
    ("gateway.networking.k8s.io", "HTTPRoute", "httproutes", true),
    ("gateway.networking.k8s.io", "ReferenceGrant", "referencegrants", true),
    ("gateway.networking.k8s.io", "TCPRoute", "tcproutes", true),
    ("gateway.networking.k8s.io", "TLSRoute", "tlsroutes", true),
];

/// The resource of a kind that is known beforehand.
pub(super) fn known(api_version: &str, kind: &str) -> Option<Resource> {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    built_in(group, kind).or_else(|| {
        CUSTOM
            .iter()
            .find(|custom| custom.0 == group && custom.1 == kind)
            .map(|(_, _, plural, namespaced)| Resource::new(plural, *namespaced))
    })
}

fn built_in(group: &str, kind: &str) -> Option<Resource> {
    type Row = (&'static str, &'static str, &'static str, bool);
    const fn namespaced<T: Typed<Scope = NamespaceResourceScope>>() -> Row {
        (T::GROUP, T::KIND, T::URL_PATH_SEGMENT, true)
    }
    const fn cluster<T: Typed<Scope = ClusterResourceScope>>() -> Row {
        (T::GROUP, T::KIND, T::URL_PATH_SEGMENT, false)
    }
    const ROWS: &[Row] = &[
        namespaced::<core::ConfigMap>(),
        namespaced::<core::Endpoints>(),
        namespaced::<core::Event>(),
        namespaced::<core::PersistentVolumeClaim>(),
        namespaced::<core::Pod>(),
        namespaced::<core::ResourceQuota>(),
        namespaced::<core::Secret>(),
        namespaced::<core::Service>(),
        namespaced::<core::ServiceAccount>(),
        cluster::<core::Namespace>(),
        cluster::<core::Node>(),
        cluster::<core::PersistentVolume>(),
        namespaced::<apps::DaemonSet>(),
        namespaced::<apps::Deployment>(),
        namespaced::<apps::ReplicaSet>(),
        namespaced::<apps::StatefulSet>(),
        namespaced::<autoscaling::HorizontalPodAutoscaler>(),
        namespaced::<coordination::Lease>(),
        namespaced::<discovery::EndpointSlice>(),
        namespaced::<networking::NetworkPolicy>(),
        namespaced::<policy::PodDisruptionBudget>(),
        namespaced::<rbac::Role>(),
        namespaced::<rbac::RoleBinding>(),
        cluster::<rbac::ClusterRole>(),
        cluster::<rbac::ClusterRoleBinding>(),
        cluster::<storage::StorageClass>(),
        cluster::<admission::MutatingWebhookConfiguration>(),
        cluster::<admission::ValidatingWebhookConfiguration>(),
        cluster::<extensions::CustomResourceDefinition>(),
    ];
    ROWS.iter()
        .find(|row| row.0 == group && row.1 == kind)
        .map(|(_, _, plural, namespaced)| Resource::new(plural, *namespaced))
}

/// The kinds of the groups and versions that were looked up on a cluster.
#[derive(Default)]
pub(super) struct Discovered(Mutex<BTreeMap<String, BTreeMap<String, Resource>>>);

impl Discovered {
    fn find(&self, api_version: &str, kind: &str) -> Option<Resource> {
        let groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        groups.get(api_version)?.get(kind).cloned()
    }

    fn remember(&self, api_version: &str, kinds: BTreeMap<String, Resource>) {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        groups.insert(api_version.to_owned(), kinds);
    }
}

impl Cluster {
    /// Where the objects of a kind live, or `None` if the API server does not serve the kind. What
    /// was not there is asked for again, since a CRD may have been created meanwhile.
    pub async fn resource(&self, api_version: &str, kind: &str) -> Result<Option<Resource>, Error> {
        let cached = known(api_version, kind).or_else(|| self.discovered().find(api_version, kind));
        if cached.is_some() {
            return Ok(cached);
        }
        let Some(list) = self.resource_list(api_version, kind).await? else {
            return Ok(None);
        };
        let kinds = list
            .resources
            .into_iter()
            .filter(|resource| !resource.name.contains('/'))
            .map(|resource| {
                (resource.kind, Resource { plural: resource.name, namespaced: resource.namespaced })
            })
            .collect();
        self.discovered().remember(api_version, kinds);
        Ok(self.discovered().find(api_version, kind))
    }

    /// What the API server says of a group and version; `None` if it does not serve it.
    pub(super) async fn resource_list(
        &self,
        api_version: &str,
        kind: &str,
    ) -> Result<Option<APIResourceList>, Error> {
        let root = if api_version.contains('/') { "apis" } else { "api" };
        let path = format!(
            "/{root}/{}",
            api_version.split('/').map(segment).collect::<Vec<_>>().join("/")
        );
        let ask = Ask::get("look up", format!("the kind {kind} of {api_version}"), path);
        let answer = match self.ask_json(&ask).await {
            Ok(answer) => answer,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        serde_json::from_value(answer).map(Some).map_err(|_| Error::Garbled {
            call: Box::new(self.call(ask.verb, ask.object)),
            reason: "it is no list of resources".to_owned(),
        })
    }
}

impl Cluster {
    /// The version of a group that the API server prefers, as an object's `apiVersion`; `None` if
    /// it does not serve the group.
    pub async fn preferred_version(&self, group: &str) -> Result<Option<String>, Error> {
        if group.is_empty() {
            return Ok(Some("v1".to_owned()));
        }
        let path = format!("/apis/{}", segment(group));
        let ask = Ask::get("look up", format!("the API group {group}"), path);
        match self.ask_json(&ask).await {
            Ok(answer) => {
                let version = answer.pointer("/preferredVersion/groupVersion");
                Ok(version.and_then(Value::as_str).map(str::to_owned))
            }
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A text as one segment of a path, or as a value in a query.
pub(super) fn segment(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths() {
        let path = |api_version: &str, kind: &str, namespace: Option<&str>| {
            known(api_version, kind).unwrap().collection(api_version, namespace)
        };
        assert_eq!(
            path("v1", "Secret", Some("istio-system")),
            "/api/v1/namespaces/istio-system/secrets"
        );
        assert_eq!(path("v1", "Secret", None), "/api/v1/secrets");
        assert_eq!(path("v1", "Namespace", Some("ignored")), "/api/v1/namespaces");
        assert_eq!(
            path("networking.istio.io/v1alpha3", "EnvoyFilter", Some("a")),
            "/apis/networking.istio.io/v1alpha3/namespaces/a/envoyfilters"
        );
        assert_eq!(
            path("rbac.authorization.k8s.io/v1", "ClusterRole", None),
            "/apis/rbac.authorization.k8s.io/v1/clusterroles"
        );
        assert_eq!(path("v1", "Endpoints", None), "/api/v1/endpoints");
    }

    #[test]
    fn same_kind_in_two_groups() {
        assert!(known("networking.istio.io/v1", "Gateway").unwrap().namespaced);
        assert!(known("gateway.networking.k8s.io/v1", "Gateway").unwrap().namespaced);
        assert_eq!(known("example.io/v1", "Gateway"), None);
    }

    #[test]
    fn segments_cannot_leave_their_place() {
        assert_eq!(segment("system:node"), "system:node");
        assert_eq!(segment("a/../b?c=d"), "a%2F..%2Fb%3Fc%3Dd");
        assert_eq!(segment("istio/multiCluster=true"), "istio%2FmultiCluster%3Dtrue");
    }

    #[test]
    fn identity_of_an_object() {
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "istiod", "namespace": "istio-system"}});
        assert_eq!(ResourceId::of(&object).unwrap().to_string(), "Deployment istio-system/istiod");
        assert_eq!(ResourceId::of(&json!({"metadata": {"name": "x"}})), None);
    }
}
