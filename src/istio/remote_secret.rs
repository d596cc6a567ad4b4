//! Remote secrets: how one cluster's istiod reaches another cluster's API server.
//!
//! Shape of `istioctl create-remote-secret` (istio: `istioctl/pkg/multicluster/remote_secret.go`).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// The label by which istiod finds remote secrets.
pub const LABEL: &str = "istio/multiCluster";
/// The annotation that names the cluster which a remote secret is for.
pub const CLUSTER_ANNOTATION: &str = "networking.istio.io/cluster";

/// What peers need to reach a cluster's API server as its reader account.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The cluster name, which must equal its `values.global.multiCluster.clusterName`.
    pub cluster: String,
    /// The API server's URL, as the peers see it.
    pub server: String,
    /// The name in the server's certificate, where it differs from the URL's host.
    pub tls_server_name: Option<String>,
    /// The proxy through which the peers reach it.
    pub proxy_url: Option<String>,
    /// The CA of the API server, PEM.
    pub ca: String,
    /// The reader account's token.
    pub token: Zeroizing<String>,
}

/// The name of the remote secret for a cluster.
pub fn name(cluster: &str) -> String {
    format!("istio-remote-secret-{cluster}")
}

/// The name of the Secret that holds the reader account's token, as istioctl names it.
pub fn token_secret_name(reader: &str) -> String {
    format!("{reader}-istio-remote-secret-token")
}

/// Builds the remote secret that a peer's namespace holds.
pub fn secret(credential: &Credential, namespace: &str) -> Value {
    let mut data = serde_json::Map::new();
    let kubeconfig = kubeconfig(credential);
    data.insert(credential.cluster.clone(), BASE64_STANDARD.encode(kubeconfig.as_bytes()).into());
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name(&credential.cluster),
            "namespace": namespace,
            "labels": { LABEL: "true" },
            "annotations": { CLUSTER_ANNOTATION: credential.cluster },
        },
        "type": "Opaque",
        "data": data,
    })
}

fn kubeconfig(credential: &Credential) -> Zeroizing<String> {
    let name = &credential.cluster;
    let mut cluster = json!({
        "certificate-authority-data": BASE64_STANDARD.encode(&credential.ca),
        "server": credential.server,
    });
    if let Some(tls_server_name) = &credential.tls_server_name {
        cluster["tls-server-name"] = json!(tls_server_name);
    }
    if let Some(proxy_url) = &credential.proxy_url {
        cluster["proxy-url"] = json!(proxy_url);
    }
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": name, "cluster": cluster }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": name } }],
        "current-context": name,
        "preferences": {},
        "users": [{ "name": name, "user": { "token": credential.token.as_str() } }],
    });
    // JSON is YAML, and has no string that a reader of YAML could take for something else.
    Zeroizing::new(kubeconfig.to_string())
}

/// The cluster names that a remote secret registers: every data key is one
/// (istio: `pkg/kube/multicluster/secretcontroller.go`).
pub fn clusters(secret: &Value) -> Vec<&str> {
    let data = secret.get("data").and_then(Value::as_object);
    data.into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

/// The token in a remote secret, for a review by the API server that issued it.
pub fn token(secret: &Value, cluster: &str) -> Option<Zeroizing<String>> {
    let kubeconfig = read_kubeconfig(secret, cluster)?;
    let token = kubeconfig.pointer("/users/0/user/token")?.as_str()?;
    Some(Zeroizing::new(token.to_owned()))
}

/// The API server to which a remote secret leads; `None` where it holds no kubeconfig.
pub fn server(secret: &Value, cluster: &str) -> Option<String> {
    let kubeconfig = read_kubeconfig(secret, cluster)?;
    kubeconfig.pointer("/clusters/0/cluster/server")?.as_str().map(str::to_owned)
}

fn read_kubeconfig(secret: &Value, cluster: &str) -> Option<Value> {
    let kubeconfig = BASE64_STANDARD.decode(secret.get("data")?.get(cluster)?.as_str()?).ok()?;
    let kubeconfig = Zeroizing::new(kubeconfig);
    // Those that an apply makes are JSON, which takes a fraction of the time.
    let json = serde_json::from_slice(&kubeconfig).ok();
    json.or_else(|| serde_saphyr::from_slice(&kubeconfig).ok())
}

/// Whether an API server URL is one that only its own machine can reach.
pub fn is_loopback(server: &str) -> bool {
    let Ok(uri) = server.parse::<http::Uri>() else { return false };
    let Some(host) = uri.host() else { return false };
    let host = host.trim_matches(['[', ']']);
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential() -> Credential {
        Credential {
            cluster: "east-1".into(),
            server: "https://10.0.0.1:6443".into(),
            tls_server_name: Some("api.east".into()),
            proxy_url: None,
            ca: "CA".into(),
            token: Zeroizing::new("t0ken".into()),
        }
    }

    #[test]
    fn the_shape_is_istioctls() {
        let secret = secret(&credential(), "istio-system");
        assert_eq!(secret["metadata"]["name"], "istio-remote-secret-east-1");
        assert_eq!(secret["metadata"]["labels"][LABEL], "true");
        assert_eq!(clusters(&secret), ["east-1"]);
        let kubeconfig =
            BASE64_STANDARD.decode(secret["data"]["east-1"].as_str().unwrap()).unwrap();
        let kubeconfig: Value = serde_json::from_slice(&kubeconfig).unwrap();
        assert_eq!(kubeconfig["current-context"], "east-1");
        assert_eq!(kubeconfig["clusters"][0]["cluster"]["tls-server-name"], "api.east");
        assert_eq!(token(&secret, "east-1").unwrap().as_str(), "t0ken");
        assert_eq!(token(&secret, "west"), None);
        assert_eq!(server(&secret, "east-1").as_deref(), Some("https://10.0.0.1:6443"));
        assert_eq!(server(&secret, "west"), None);
    }

    #[test]
    fn loopback_servers_are_told_from_others() {
        for server in [
            "https://127.0.0.1:6443",
            "https://localhost",
            "https://[::1]:6443",
            "https://0.0.0.0:6443",
            "https://127.4.5.6",
        ] {
            assert!(is_loopback(server), "{server}");
        }
        for server in ["https://10.0.0.1:6443", "https://api.example.com", "https://[2001:db8::1]"]
        {
            assert!(!is_loopback(server), "{server}");
        }
    }
}
