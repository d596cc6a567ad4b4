//! The credentials of links: what the remote secrets hold, and whether it is accepted where it
//! leads.
//!
//! istiod does not notice a token that died: it goes on saying `synced`. So each is shown to the
//! API server that issued it, in a `TokenReview`. To that API server it counts as a use of the token.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::engine::fleet;
use crate::error::Failure;
use crate::istio::remote_secret;
use crate::kube::{Cluster, Error};

/// What a cluster holds to read another one.
pub(super) struct Held {
    /// The Secret.
    pub secret: String,
    /// Other Secrets for the same cluster, which istiod passes over.
    pub ignored: Vec<String>,
    /// The API server that it leads to; `None` where it holds no kubeconfig.
    pub server: Option<String>,
    /// The token, where the kubeconfig has one.
    pub token: Option<Zeroizing<String>>,
}

/// Finds what is held for a cluster.
pub(super) fn held(secrets: &[Value], cluster: &str) -> Option<Held> {
    let mut all = secrets.iter().filter(|s| remote_secret::clusters(s).contains(&cluster));
    let secret = all.next()?;
    let name = |s: &Value| s["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    Some(Held {
        secret: name(secret),
        ignored: all.map(name).collect(),
        server: remote_secret::server(secret, cluster),
        token: remote_secret::token(secret, cluster),
    })
}

/// What an API server says of a token.
#[derive(Clone)]
pub(in crate::engine) enum Review {
    /// It is accepted.
    Valid,
    /// It is not, in the words of the server.
    Refused(String),
    /// The server was not asked, or would not tell.
    Unchecked(Failure),
}

type Digest = [u8; 32];

fn digest(token: &str) -> Digest {
    Sha256::digest(token.as_bytes()).into()
}

/// The reviews of a run, each token once in each cluster.
#[derive(Default)]
pub(super) struct Reviews(BTreeMap<(String, Digest), Review>);

impl Reviews {
    /// Has tokens reviewed: `(cluster, token)` with the cluster that it leads to.
    pub(super) async fn ask(limit: usize, tokens: Vec<(Cluster, Zeroizing<String>)>) -> Self {
        let mut distinct = BTreeMap::new();
        for (cluster, token) in tokens {
            let key = (cluster.context().to_owned(), digest(&token));
            distinct.entry(key).or_insert((cluster, token));
        }
        let asked = distinct
            .into_iter()
            .map(|(key, (cluster, token))| async move { (key, review(&cluster, &token).await) });
        Self(fleet::all(limit.max(fleet::REQUESTS), asked).await.into_iter().collect())
    }

    /// What the cluster of that context says of a token.
    pub(super) fn of(&self, context: &str, token: &str) -> Option<&Review> {
        self.0.get(&(context.to_owned(), digest(token)))
    }

    #[cfg(test)]
    pub(super) fn with(mut self, context: &str, token: &str, review: Review) -> Self {
        self.0.insert((context.to_owned(), digest(token)), review);
        self
    }
}

/// Asks an API server whether it accepts a token.
async fn review(cluster: &Cluster, token: &str) -> Review {
    let answer = try_review(cluster, token).await;
    answer.unwrap_or_else(|error| Review::Unchecked(error.into()))
}

/// As [`review`], with the error where the server was not asked or would not tell.
pub(in crate::engine) async fn try_review(cluster: &Cluster, token: &str) -> Result<Review, Error> {
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": { "token": token },
    });
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    Ok(judge(&cluster.review(path, &body).await?))
}

fn judge(answer: &Value) -> Review {
    if answer.pointer("/status/authenticated").and_then(Value::as_bool) == Some(true) {
        return Review::Valid;
    }
    let error = answer.pointer("/status/error").and_then(Value::as_str).unwrap_or_default();
    let words: Vec<&str> = error.split_whitespace().collect();
    let words = words.join(" ");
    Review::Refused(words.trim_matches(['[', ']']).chars().take(200).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::istio::remote_secret::Credential;

    fn secret(cluster: &str) -> Value {
        let credential = Credential {
            cluster: cluster.into(),
            server: "https://10.0.0.2:6443".into(),
            tls_server_name: None,
            proxy_url: None,
            ca: "CA".into(),
            token: Zeroizing::new("t0ken".into()),
        };
        remote_secret::secret(&credential, "istio-system")
    }

    #[test]
    fn the_first_secret_for_a_cluster_is_the_one_in_use() {
        let mut second = secret("west");
        second["metadata"]["name"] = json!("zz-by-hand");
        let secrets = [secret("east"), secret("west"), second];
        let held = held(&secrets, "west").unwrap();
        assert_eq!(held.secret, "istio-remote-secret-west");
        assert_eq!(held.ignored, ["zz-by-hand"]);
        assert_eq!(held.server.as_deref(), Some("https://10.0.0.2:6443"));
        assert_eq!(held.token.unwrap().as_str(), "t0ken");
        assert!(super::held(&secrets, "north").is_none());
    }

    #[test]
    fn only_a_clear_yes_makes_a_token_valid() {
        let yes = json!({ "status": { "authenticated": true, "user": { "username": "u" } } });
        assert!(matches!(judge(&yes), Review::Valid));
        let no = json!({ "status": { "user": {}, "error":
            "[invalid bearer token, Token has been\ninvalidated]" } });
        let Review::Refused(words) = judge(&no) else { panic!("accepted") };
        assert_eq!(words, "invalid bearer token, Token has been invalidated");
        assert!(matches!(judge(&json!({ "status": { "user": {} } })), Review::Refused(_)));
    }
}
