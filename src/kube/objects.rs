//! Reading, applying, creating, patching and deleting objects.

use http::Method;
use serde_json::{Value, json};

use super::FIELD_MANAGER;
use super::cluster::Cluster;
use super::error::{Call, Error};
use super::resources::{Resource, ResourceId, segment};
use super::transport::Ask;

/// Objects in one answer to a list; longer lists come in pages.
const PAGE: usize = 500;

/// Asks for the metadata of an object alone.
const METADATA: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
/// Asks for the metadata of the objects of a list.
const METADATA_OF_ALL: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// How to apply an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Apply {
    /// Only say what would become of the object.
    pub dry_run: bool,
    /// Take over fields that other field managers own. Without it they are an
    /// [`Error::Conflict`].
    pub force: bool,
}

/// What becomes of the objects that the deleted one owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Propagation {
    /// They are deleted after it.
    #[default]
    Background,
    /// They are deleted before it; until then it stays, marked as being deleted.
    Foreground,
    /// They stay.
    Orphan,
}

/// What came of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// The object is gone.
    Deleted,
    /// The object is being deleted: finalizers, its dependants or (a namespace) its contents come
    /// first.
    Deleting,
    /// There was no such object.
    AlreadyGone,
    /// Another object has the name now; it was left alone.
    Replaced,
}

impl Cluster {
    /// Reads an object. `None` if it does not exist, or if its kind is not served.
    pub async fn get(&self, id: &ResourceId) -> Result<Option<Value>, Error> {
        let Some(resource) = self.resource(&id.api_version, &id.kind).await? else {
            return Ok(None);
        };
        let ask = Ask::get("get", id.to_string(), self.path(id, &resource)?);
        absent_as_none(self.ask_json(&ask).await)
    }

    /// Lists objects of a kind: of one namespace or (`None`) of all, with a label selector as
    /// kubectl takes it. Empty if the kind is not served. Each object has its `apiVersion` and
    /// `kind`, which API servers leave out of lists.
    pub async fn list(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        label_selector: Option<&str>,
    ) -> Result<Vec<Value>, Error> {
        self.pages(api_version, kind, namespace, label_selector, "application/json").await
    }

    /// As [`Cluster::list`], but the objects have only `apiVersion`, `kind` and `metadata`.
    pub async fn list_metadata(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        label_selector: Option<&str>,
    ) -> Result<Vec<Value>, Error> {
        self.pages(api_version, kind, namespace, label_selector, METADATA_OF_ALL).await
    }

    /// Server-side apply as [`FIELD_MANAGER`]; unknown fields are errors. Returns the object as it
    /// would be in a dry run, else its metadata: all of a definition comes to megabytes.
    ///
    /// # Errors
    /// [`Error::Conflict`] lists fields that others own; [`Error::NoNamespace`] and
    /// [`Error::UnknownKind`] name what must be there first, in a dry run too.
    pub async fn apply(&self, object: &Value, how: Apply) -> Result<Value, Error> {
        let (id, resource) = self.place(object).await?;
        let mut query = format!("?fieldManager={FIELD_MANAGER}&fieldValidation=Strict");
        if how.force {
            query.push_str("&force=true");
        }
        if how.dry_run {
            query.push_str("&dryRun=All");
        }
        let body = if object.pointer("/metadata/managedFields").is_some() {
            let mut object = object.clone();
            if let Some(metadata) = object["metadata"].as_object_mut() {
                // An API server refuses them (kubernetes/kubernetes#81453).
                metadata.remove("managedFields");
            }
            object.to_string()
        } else {
            object.to_string()
        };
        let verb = if how.dry_run { "try to apply" } else { "apply" };
        let mut ask = Ask::get(verb, id.to_string(), self.path(&id, &resource)? + &query);
        ask.kind = Some((id.api_version, id.kind));
        ask.method = Method::PATCH;
        if !how.dry_run {
            ask.accept = METADATA;
        }
        ask.content_type = "application/apply-patch+yaml";
        ask.body = body.into_bytes();
        self.ask_json(&ask).await
    }

    /// Creates an object that must not exist yet; unknown fields are errors. Not repeated when it
    /// may have arrived: after [`Error::Interrupted`] or [`Error::TimedOut`] the object may exist.
    pub async fn create(&self, object: &Value, dry_run: bool) -> Result<Value, Error> {
        let (id, resource) = self.place(object).await?;
        let collection = resource.collection(&id.api_version, id.namespace.as_deref());
        let mut path = format!("{collection}?fieldManager={FIELD_MANAGER}&fieldValidation=Strict");
        if dry_run {
            path.push_str("&dryRun=All");
        }
        let mut ask = Ask::get("create", id.to_string(), path);
        ask.kind = Some((id.api_version, id.kind));
        ask.method = Method::POST;
        ask.content_type = "application/json";
        ask.body = object.to_string().into_bytes();
        ask.repeatable = dry_run;
        self.ask_json(&ask).await
    }

    /// Sends a JSON merge patch (RFC 7386), for the few changes that are no apply: removing a key
    /// that somebody else owns, or changing an object only in a given `metadata.resourceVersion`
    /// ([`Error::Changed`] otherwise).
    pub async fn patch_merge(&self, id: &ResourceId, patch: &Value) -> Result<Value, Error> {
        let resource = self.served(id, "patch").await?;
        let query = format!("?fieldManager={FIELD_MANAGER}&fieldValidation=Strict");
        let mut ask = Ask::get("patch", id.to_string(), self.path(id, &resource)? + &query);
        ask.kind = Some((id.api_version.clone(), id.kind.clone()));
        ask.method = Method::PATCH;
        ask.content_type = "application/merge-patch+json";
        ask.body = patch.to_string().into_bytes();
        // Somebody else's change does not go away by trying again.
        ask.repeatable = patch.pointer("/metadata/resourceVersion").is_none();
        self.ask_json(&ask).await
    }

    /// Deletes an object, with `uid` only that very one.
    pub async fn delete(
        &self,
        id: &ResourceId,
        uid: Option<&str>,
        propagation: Propagation,
    ) -> Result<Deletion, Error> {
        let precondition = uid.map_or(Value::Null, |uid| json!({"uid": uid}));
        self.delete_if(id, precondition, propagation).await
    }

    /// Deletes this very object as long as nobody has changed it: [`Deletion::Replaced`] otherwise.
    ///
    /// # Errors
    /// [`Error::InvalidObject`] for an object that was not read from a cluster.
    pub async fn delete_unchanged(&self, object: &Value) -> Result<Deletion, Error> {
        let text = |key: &str| object["metadata"][key].as_str().filter(|text| !text.is_empty());
        let known = ResourceId::of(object).zip(text("uid")).zip(text("resourceVersion"));
        let Some(((id, uid), version)) = known else {
            return Err(self.invalid("an object".to_owned(), "it lacks what identifies it"));
        };
        let precondition = json!({"uid": uid, "resourceVersion": version});
        self.delete_if(&id, precondition, Propagation::Background).await
    }

    async fn delete_if(
        &self,
        id: &ResourceId,
        precondition: Value,
        propagation: Propagation,
    ) -> Result<Deletion, Error> {
        let Some(resource) = self.resource(&id.api_version, &id.kind).await? else {
            return Ok(Deletion::AlreadyGone);
        };
        let policy = match propagation {
            Propagation::Background => "Background",
            Propagation::Foreground => "Foreground",
            Propagation::Orphan => "Orphan",
        };
        let mut options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy,
        });
        if !precondition.is_null() {
            options["preconditions"] = precondition;
        }
        let mut ask = Ask::get("delete", id.to_string(), self.path(id, &resource)?);
        ask.method = Method::DELETE;
        ask.content_type = "application/json";
        ask.body = options.to_string().into_bytes();
        match absent_as_none(self.ask_json(&ask).await) {
            Ok(None) => Ok(Deletion::AlreadyGone),
            // A status means that the object is gone; else the answer is the object that remains.
            Ok(Some(answer)) if answer["kind"] == "Status" => Ok(Deletion::Deleted),
            Ok(Some(answer)) if answer["metadata"]["deletionTimestamp"].is_null() => {
                Ok(Deletion::Deleted)
            }
            Ok(Some(_)) => Ok(Deletion::Deleting),
            Err(Error::Replaced { .. }) => Ok(Deletion::Replaced),
            Err(error) => Err(error),
        }
    }

    async fn pages(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        label_selector: Option<&str>,
        accept: &'static str,
    ) -> Result<Vec<Value>, Error> {
        let Some(resource) = self.resource(api_version, kind).await? else {
            return Ok(Vec::new());
        };
        let object = match namespace {
            Some(namespace) => format!("{} in {namespace}", resource.plural),
            None => resource.plural.clone(),
        };
        let base = resource.collection(api_version, namespace);
        let selector = label_selector
            .filter(|selector| !selector.is_empty())
            .map_or_else(String::new, |selector| format!("&labelSelector={}", segment(selector)));
        let mut objects = Vec::new();
        let mut next = format!("{base}?limit={PAGE}{selector}");
        loop {
            let mut ask = Ask::get("list", object.clone(), next);
            ask.accept = accept;
            let mut page = match absent_as_none(self.ask_json(&ask).await) {
                Ok(Some(page)) => page,
                Ok(None) => return Ok(Vec::new()),
                // The snapshot behind a continued list lives five minutes: start again, in one go.
                Err(Error::Rejected { code: 410, .. }) if ask.path.contains("&continue=") => {
                    objects.clear();
                    next = format!("{base}?limit=0{selector}");
                    continue;
                }
                Err(error) => return Err(error),
            };
            let items = match page.get_mut("items").map(Value::take) {
                Some(Value::Array(items)) => items,
                // An empty list of metadata has `null` for its items.
                Some(Value::Null) => Vec::new(),
                _ => {
                    return Err(Error::Garbled {
                        call: Box::new(self.call("list", object)),
                        reason: "it is no list".to_owned(),
                    });
                }
            };
            objects.extend(items.into_iter().map(|mut item| {
                item["apiVersion"] = json!(api_version);
                item["kind"] = json!(kind);
                item
            }));
            match page.pointer("/metadata/continue").and_then(Value::as_str) {
                Some(token) if !token.is_empty() => {
                    next = format!("{base}?limit={PAGE}{selector}&continue={}", segment(token));
                }
                _ => return Ok(objects),
            }
        }
    }

    /// Where an object to be sent belongs.
    async fn place(&self, object: &Value) -> Result<(ResourceId, Resource), Error> {
        let id = ResourceId::of(object).ok_or_else(|| {
            let text = |path| object.pointer(path).and_then(Value::as_str).unwrap_or("unknown");
            self.invalid(
                format!("{} {}", text("/kind"), text("/metadata/name")),
                "it lacks `apiVersion`, `kind` or `metadata.name`",
            )
        })?;
        let resource = self.served(&id, "apply").await?;
        Ok((id, resource))
    }

    async fn served(&self, id: &ResourceId, verb: &'static str) -> Result<Resource, Error> {
        let found = self.resource(&id.api_version, &id.kind).await?;
        found.ok_or_else(|| Error::UnknownKind {
            call: Box::new(self.call(verb, id.to_string())),
            api_version: id.api_version.clone(),
            kind: id.kind.clone(),
        })
    }

    fn path(&self, id: &ResourceId, resource: &Resource) -> Result<String, Error> {
        if resource.namespaced && id.namespace.is_none() {
            return Err(self.invalid(id.to_string(), "it lacks a namespace"));
        }
        if id.name.is_empty() || id.name == "." || id.name == ".." {
            return Err(self.invalid(id.to_string(), "its name is not one"));
        }
        let collection = resource.collection(&id.api_version, id.namespace.as_deref());
        Ok(format!("{collection}/{}", segment(&id.name)))
    }

    fn invalid(&self, object: String, reason: &str) -> Error {
        let Call { context, object, .. } = self.call("send", object);
        Error::InvalidObject { context, object, reason: reason.to_owned() }
    }
}

fn absent_as_none(answer: Result<Value, Error>) -> Result<Option<Value>, Error> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(Error::NotFound { .. } | Error::UnknownKind { .. } | Error::NoNamespace { .. }) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
