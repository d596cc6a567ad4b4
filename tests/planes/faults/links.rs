//! What the Secrets of the planes hold: links, tokens and CAs.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use multimesh::pki::Cacerts;
use serde_json::Value;

use super::front::Fronted;

/// All Secrets of a plane's control plane.
pub(crate) struct Secrets(Vec<Value>);

impl Secrets {
    /// Those of a plane as they are now.
    pub(crate) fn of(fronted: &Fronted, index: usize) -> Self {
        let get = ["get", "secrets", "-n", "istio-system", "-o", "json"];
        let mut list: Value = serde_json::from_str(&fronted.kubectl(index, &get)).unwrap();
        Self(serde_json::from_value(list["items"].take()).unwrap())
    }

    /// Those of all planes, in their order.
    pub(crate) fn of_all(fronted: &Fronted) -> Vec<Self> {
        (0..fronted.clusters.len()).map(|index| Self::of(fronted, index)).collect()
    }

    /// The intermediate CA, where there is one that can be read.
    pub(crate) fn cacerts(&self) -> Option<Cacerts> {
        let secret = self.0.iter().find(|secret| secret["metadata"]["name"] == "cacerts")?;
        let data = secret["data"].as_object()?;
        let entries = data.iter().filter_map(|(key, value)| Some((key.clone(), decoded(value)?)));
        Cacerts::from_entries(&entries.collect()).ok()
    }

    /// The names of the links.
    fn links(&self) -> impl Iterator<Item = (&str, &Value)> {
        let label = |secret: &Value| secret["metadata"]["labels"]["istio/multiCluster"] == "true";
        let links = self.0.iter().filter(move |secret| label(secret));
        links.filter_map(|link| Some((link["metadata"]["name"].as_str()?, link)))
    }

    /// Whether an account has this token.
    fn has_token(&self, token: &str) -> bool {
        let accounts =
            self.0.iter().filter(|secret| secret["type"] == "kubernetes.io/service-account-token");
        accounts.filter_map(|it| decoded(&it["data"]["token"])).any(|it| it == token.as_bytes())
    }
}

pub(crate) fn decoded(value: &Value) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(value.as_str()?).ok()
}

/// What is wrong with the links that a plane holds: it must have those to `must`, each to the
/// server of that plane, with its CA and a token that its account has now; it may have those to
/// `may`, which have to lead to the right server; and no other one.
pub(crate) fn wrong_links(
    fronted: &Fronted,
    secrets: &[Secrets],
    holder: usize,
    must: &[usize],
    may: &[usize],
) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut links: Vec<(&str, &Value)> = secrets[holder].links().collect();
    for &peer in must.iter().chain(may).filter(|&&peer| peer != holder) {
        let name = format!("istio-remote-secret-{}", fronted.clusters[peer].context);
        let found = links.iter().position(|(link, _)| *link == name);
        let is_needed = must.contains(&peer);
        match found.map(|at| links.swap_remove(at).1) {
            Some(link) => wrong.extend(
                fault_of(fronted, link, peer, is_needed.then_some(&secrets[peer]))
                    .map(|why| format!("plane {holder}: the link to plane {peer} {why}")),
            ),
            None if is_needed => {
                wrong.push(format!("plane {holder}: the link to plane {peer} is lost"));
            }
            None => {}
        }
    }
    wrong.extend(links.iter().map(|(name, _)| format!("plane {holder}: {name} is too many")));
    wrong
}

/// What is wrong with a link; its token is looked at where the Secrets of its plane are given.
fn fault_of(fronted: &Fronted, link: &Value, peer: usize, has: Option<&Secrets>) -> Option<String> {
    let cluster = &fronted.clusters[peer];
    let read = |bytes: &[u8]| serde_yaml::from_slice::<Value>(bytes).ok();
    let Some(kubeconfig) = decoded(&link["data"][&cluster.context]).and_then(|it| read(&it)) else {
        return Some("has no kubeconfig".into());
    };
    let own = read(&std::fs::read(cluster.kubeconfig()).unwrap()).unwrap();
    let text = |value: &Value, path: &str| {
        value.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let server = text(&kubeconfig, "/clusters/0/cluster/server");
    if server != cluster.server {
        return Some(format!("leads to {server:?}"));
    }
    let authority = "/clusters/0/cluster/certificate-authority-data";
    if text(&kubeconfig, authority) != text(&own, authority) {
        return Some("trusts another CA".into());
    }
    let token = text(&kubeconfig, "/users/0/user/token");
    let good = has.is_none_or(|secrets| secrets.has_token(&token));
    (!good).then(|| "has a token that no account has".into())
}

/// What is wrong with the links among these planes, which are all members and hold no other link.
pub(crate) fn lost_links(fronted: &Fronted, members: &[usize]) -> Vec<String> {
    let secrets = Secrets::of_all(fronted);
    let wrong = members.iter().map(|&holder| wrong_links(fronted, &secrets, holder, members, &[]));
    wrong.flatten().collect()
}
