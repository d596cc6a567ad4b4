//! What the user may do on a cluster.

use std::fmt;

use futures::{StreamExt as _, TryStreamExt as _};
use http::Method;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};

use super::cluster::Cluster;
use super::error::Error;
use super::transport::Ask;

/// Reviews that are asked for at the same time.
const PARALLEL: usize = 8;

/// A verb on a resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Access {
    /// The verb of the API: `get`, `list`, `create`, `patch`, `delete`.
    pub verb: String,
    /// The group; empty for the core group.
    pub group: String,
    /// The resource, with a subresource after a slash: `pods/exec`.
    pub resource: String,
    /// The namespace; `None` for all namespaces and for objects of the whole cluster.
    pub namespace: Option<String>,
}

impl Access {
    /// A verb on a resource.
    pub fn new(verb: &str, group: &str, resource: &str, namespace: Option<&str>) -> Self {
        Self {
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.map(str::to_owned),
        }
    }
}

/// As `kubectl auth can-i` takes it: `patch deployments.apps in namespace istio-system`.
impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (resource, subresource) =
            self.resource.split_once('/').unwrap_or((self.resource.as_str(), ""));
        write!(f, "{} {resource}", self.verb)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if !subresource.is_empty() {
            write!(f, "/{subresource}")?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => Ok(()),
        }
    }
}

impl Cluster {
    /// Which of `wanted` the user may not do, in the same order. An administrator costs one
    /// request, anybody else one more for each.
    pub async fn allowed(&self, wanted: &[Access]) -> Result<Vec<Access>, Error> {
        if wanted.is_empty() || self.may(&Access::new("*", "*", "*", None)).await? {
            return Ok(Vec::new());
        }
        let missing: Vec<Option<Access>> = futures::stream::iter(wanted.iter().cloned())
            .map(|access| async move {
                let allowed = self.may(&access).await?;
                Ok::<_, Error>((!allowed).then_some(access))
            })
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        Ok(missing.into_iter().flatten().collect())
    }

    async fn may(&self, access: &Access) -> Result<bool, Error> {
        let (resource, subresource) = match access.resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
            None => (access.resource.as_str(), None),
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    verb: Some(access.verb.clone()),
                    group: Some(access.group.clone()),
                    resource: Some(resource.to_owned()),
                    subresource,
                    namespace: access.namespace.clone(),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned();
        let mut ask = Ask::get("check", format!("the right to {access}"), path);
        let garbled = |ask: &Ask| Error::Garbled {
            call: Box::new(self.call(ask.verb, ask.object.clone())),
            reason: "it is no review of a right".to_owned(),
        };
        ask.method = Method::POST;
        ask.content_type = "application/json";
        ask.body = serde_json::to_vec(&review).map_err(|_| garbled(&ask))?;
        let answer = self.ask_json(&ask).await?;
        let allowed = answer.pointer("/status/allowed").and_then(serde_json::Value::as_bool);
        allowed.ok_or_else(|| garbled(&ask))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_read_as_kubectl_takes_them() {
        let text = |access: Access| access.to_string();
        assert_eq!(
            text(Access::new("patch", "apps", "deployments", Some("istio-system"))),
            "patch deployments.apps in namespace istio-system"
        );
        assert_eq!(
            text(Access::new("create", "", "pods/exec", Some("a"))),
            "create pods/exec in namespace a"
        );
        assert_eq!(text(Access::new("list", "", "nodes", None)), "list nodes");
    }
}
