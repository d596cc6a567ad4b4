//! Everything in a namespace, whatever its kind.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use http::Method;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIGroupList;
use serde_json::Value;

use super::cluster::Cluster;
use super::error::Error;

/// Requests that are under way at the same time.
const PARALLEL: usize = 8;

/// What a namespace holds.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// The objects, each with `apiVersion`, `kind` and `metadata` only. What an aggregated API
    /// makes up and does not store, such as the measurements of a pod, is left out, and so are
    /// events.
    pub objects: Vec<Value>,
    /// Groups and versions that could not be looked through, each with the reason.
    pub unlisted: Vec<(String, String)>,
}

impl Cluster {
    /// Lists all objects of a namespace. An aggregated API that is down is told, not an error.
    pub async fn inventory(&self, namespace: &str) -> Result<Inventory, Error> {
        let mut inventory = Inventory::default();
        let looks = self.api_versions().await?.into_iter().map(|api_version| async move {
            let kinds = self.listable(&api_version).await;
            (api_version, kinds)
        });
        let mut seen = BTreeSet::new();
        let mut kinds = Vec::new();
        let mut looks = futures::stream::iter(looks).buffered(PARALLEL);
        while let Some((api_version, found)) = looks.next().await {
            match found {
                // Versions of a group show the same objects; the preferred one comes first.
                Ok(found) => kinds.extend(
                    found
                        .into_iter()
                        .filter(|kind| seen.insert((group(&api_version), kind.clone())))
                        .map(|kind| (api_version.clone(), kind)),
                ),
                Err(error) if error.is_unreachable() => return Err(error),
                Err(error) => inventory.unlisted.push((api_version, error.to_string())),
            }
        }
        let lists = kinds.into_iter().map(|(api_version, kind)| async move {
            let list = self.list_metadata(&api_version, &kind, Some(namespace), None).await;
            (api_version, list)
        });
        let mut uids = BTreeSet::new();
        let mut lists = futures::stream::iter(lists).buffered(PARALLEL);
        while let Some((api_version, list)) = lists.next().await {
            match list {
                Ok(list) => inventory.objects.extend(list.into_iter().filter(|object| {
                    let uid = object.pointer("/metadata/uid").and_then(Value::as_str);
                    uid.is_some_and(|uid| uids.insert(uid.to_owned()))
                })),
                Err(error) if error.is_unreachable() => return Err(error),
                Err(error) => inventory.unlisted.push((api_version, error.to_string())),
            }
        }
        Ok(inventory)
    }

    /// All groups and versions that are served, the preferred version of a group first.
    async fn api_versions(&self) -> Result<Vec<String>, Error> {
        let answer = self.request(Method::GET, "/apis", None).await?;
        let groups: APIGroupList = serde_json::from_value(answer).map_err(|_| Error::Garbled {
            call: Box::new(self.call("list", "the API groups".to_owned())),
            reason: "it is no list of groups".to_owned(),
        })?;
        let mut versions = vec!["v1".to_owned()];
        for group in groups.groups {
            let preferred = group.preferred_version.map(|version| version.group_version);
            let others = group.versions.into_iter().map(|version| version.group_version);
            let others: Vec<String> =
                others.filter(|version| Some(version) != preferred.as_ref()).collect();
            versions.extend(preferred.into_iter().chain(others));
        }
        Ok(versions)
    }

    /// The kinds of a group and version that live in namespaces and can be listed.
    async fn listable(&self, api_version: &str) -> Result<Vec<String>, Error> {
        let list = self.resource_list(api_version, "list").await?;
        let resources = list.map(|list| list.resources).unwrap_or_default();
        let listable = resources.into_iter().filter(|resource| {
            resource.namespaced
                && !resource.name.contains('/')
                && resource.kind != "Event"
                && resource.verbs.iter().any(|verb| verb == "list")
        });
        Ok(listable.map(|resource| resource.kind).collect())
    }
}

fn group(api_version: &str) -> String {
    api_version.split_once('/').map_or_else(String::new, |(group, _)| group.to_owned())
}
