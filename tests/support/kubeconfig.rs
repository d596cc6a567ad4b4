//! Kubeconfigs for tests, with credentials that are easy to find again in an output.

use serde_json::{Value, json};

/// The token of every user entry: a text that must never be shown.
pub(crate) const TOKEN: &str = "eyJhbGciOi.secret-of-the-kubeconfig.c2lnbmF0dXJl";

/// The text of a kubeconfig, part by part.
#[derive(Default)]
pub(crate) struct Kubeconfig {
    contexts: Vec<Value>,
    clusters: Vec<Value>,
    users: Vec<Value>,
}

impl Kubeconfig {
    /// Adds a context with its cluster and user entries.
    pub(crate) fn context(self, name: &str, server: &str) -> Self {
        self.cluster(name, &json!({ "server": server }))
    }

    /// Adds a context whose API server is behind a proxy at which nobody listens: it fails at once,
    /// whatever networks this machine is on.
    pub(crate) fn unreachable(self, name: &str, server: &str) -> Self {
        self.cluster(name, &json!({ "server": server, "proxy-url": "http://127.0.0.1:9" }))
    }

    /// Adds a context with a cluster entry of its own.
    pub(crate) fn cluster(mut self, name: &str, cluster: &Value) -> Self {
        self = self.context_alone(name);
        self.clusters.push(json!({ "name": name, "cluster": cluster }));
        self.users.push(json!({ "name": format!("{name}-user"), "user": { "token": TOKEN } }));
        self
    }

    /// Adds a context whose entries are missing.
    pub(crate) fn context_alone(mut self, name: &str) -> Self {
        let user = format!("{name}-user");
        self.contexts.push(json!({ "name": name, "context": { "cluster": name, "user": user } }));
        self
    }

    /// Takes the user entry of a context away.
    pub(crate) fn without_user(mut self, context: &str) -> Self {
        let user = format!("{context}-user");
        self.users.retain(|entry| entry["name"] != *user);
        self
    }

    /// The file.
    pub(crate) fn text(&self) -> String {
        let file = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "contexts": self.contexts,
            "clusters": self.clusters,
            "users": self.users,
        });
        format!("{file:#}\n")
    }
}
