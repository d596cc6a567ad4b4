//! What etcd holds of a cluster.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::cluster::Cluster;
use crate::controlplane::{ETCD_PORT, etcd_prefix};
use crate::error::{Doing as _, Error, Result};
use crate::faults::enter;
use crate::lab::Lab;

/// Keys and values, both in base64.
type Content = BTreeMap<String, String>;

/// How long a cluster may take to come to rest.
const LIMIT: Duration = Duration::from_secs(120);
/// How often it is looked at meanwhile.
const INTERVAL: Duration = Duration::from_millis(100);
/// For how long nothing may come or go in a cluster that is new.
const REST: Duration = Duration::from_secs(1);
/// The namespaces of every cluster.
const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];
/// How many operations a transaction takes (etcd: `--max-txn-ops`).
const AT_ONCE: usize = 100;

/// What comes and goes by itself.
const RESTLESS: [&str; 3] = ["/events/", "/leases/kube-", "/masterleases/"];
/// Kinds that go first: others are made, or kept, for them.
const FIRST: [&str; 6] = [
    "/namespaces/",
    "/apiextensions.k8s.io/",
    "webhookconfigurations/",
    "/deployments/",
    "/replicasets/",
    "/daemonsets/",
];

/// Keeps what etcd holds of a cluster in a file, once controllers have made all that they make in
/// every cluster.
pub(super) fn keep(lab: &Lab, cluster: &Cluster, file: &Path) -> Result<()> {
    let prefix = etcd_prefix(cluster.member());
    let name = cluster.context.clone();
    let content = on(lab, async move |mut etcd| {
        let end = Instant::now() + LIMIT;
        let (mut found, mut since) = (etcd.content(&prefix).await?, Instant::now());
        loop {
            let missing = missing(&found);
            if missing.is_none() && since.elapsed() >= REST {
                return Ok(found);
            }
            if Instant::now() > end {
                let what = missing.unwrap_or_else(|| "it changes".into());
                return Err(io::Error::other(format!("{name} does not come to rest: {what}")));
            }
            tokio::time::sleep(INTERVAL).await;
            let now = etcd.content(&prefix).await?;
            if !now.keys().eq(found.keys()) {
                since = Instant::now();
            }
            found = now;
        }
    })?;
    let part = file.with_extension("part");
    fs::write(&part, json!(content).to_string()).at("write", &part)?;
    fs::rename(&part, file).at("rename", &part)
}

/// What a controller has not made yet, if anything.
fn missing(content: &Content) -> Option<String> {
    let keys: Vec<String> = content.keys().map(|key| text_of(key)).collect();
    let wanted = NAMESPACES.iter().flat_map(|namespace| {
        let account = format!("/serviceaccounts/{namespace}/default");
        [account, format!("/configmaps/{namespace}/kube-root-ca.crt")]
    });
    wanted.into_iter().find(|wanted| !keys.iter().any(|key| key.ends_with(wanted)))
}

/// Puts back what [`keep`] kept, and waits until nothing else is there.
pub(super) fn restore(lab: &Lab, cluster: &Cluster, file: &Path) -> Result<()> {
    let text = fs::read(file).at("read", file)?;
    let kept: Content = serde_json::from_slice(&text).map_err(io::Error::other).at("read", file)?;
    let prefix = etcd_prefix(cluster.member());
    let context = cluster.context.clone();
    on(lab, async move |mut etcd| {
        let end = Instant::now() + LIMIT;
        let mut first = true;
        loop {
            let now = etcd.content(&prefix).await?;
            let (goes, comes) = differences(&kept, &now, first);
            if goes.is_empty() && comes.is_empty() {
                return Ok(());
            }
            if Instant::now() > end {
                let names: Vec<String> =
                    goes.iter().chain(&comes).map(|key| text_of(key)).collect();
                let why = format!("{context} does not come to rest: {}", names.join(", "));
                return Err(io::Error::other(why));
            }
            let deletions = goes.iter().map(|key| json!({ "requestDeleteRange": { "key": key } }));
            let puts =
                comes.iter().map(|key| json!({ "requestPut": { "key": key, "value": kept[key] } }));
            let operations: Vec<Value> = deletions.chain(puts).collect();
            for part in operations.chunks(AT_ONCE) {
                etcd.call("/v3/kv/txn", &json!({ "success": part })).await?;
            }
            first = false;
            // Controllers that were at work may write once more.
            tokio::time::sleep(INTERVAL).await;
        }
    })
}

/// The keys that go, in order, and those whose value is put back: in a first round what differs,
/// later on what is missing, as some values change by themselves.
fn differences(kept: &Content, now: &Content, first: bool) -> (Vec<String>, Vec<String>) {
    let restless = |key: &str| RESTLESS.iter().any(|kind| text_of(key).contains(kind));
    let goes = now.keys().filter(|key| !kept.contains_key(*key) && !restless(key));
    let mut goes: Vec<String> = goes.cloned().collect();
    goes.sort_by_key(|key| {
        let key = text_of(key);
        FIRST.iter().position(|kind| key.contains(kind)).unwrap_or(FIRST.len())
    });
    let comes = kept.iter().filter(|(key, value)| {
        now.get(*key).is_none_or(|found| first && found != *value) && !restless(key)
    });
    (goes, comes.map(|(key, _)| key.clone()).collect())
}

fn text_of(base64: &str) -> String {
    String::from_utf8_lossy(&BASE64_STANDARD.decode(base64).unwrap_or_default()).into_owned()
}

/// Talks to the etcd of a lab, on a thread in its network.
fn on<T: Send + 'static>(
    lab: &Lab,
    talk: impl AsyncFnOnce(Etcd) -> io::Result<T> + Send + 'static,
) -> Result<T> {
    let network = lab.network()?;
    let talked = thread::spawn(move || {
        enter(&network)?.block_on(async { talk(Etcd::connect().await?).await })
    });
    let result = talked.join().map_err(|_| Error::Refused("talking to etcd failed".into()))?;
    result.doing(|| "talk to etcd".into())
}

/// A connection to the JSON gateway of etcd.
struct Etcd(SendRequest<Full<Bytes>>);

impl Etcd {
    async fn connect() -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", ETCD_PORT)).await?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // An error of the connection is one of the request on it.
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    async fn call(&mut self, path: &str, body: &Value) -> io::Result<Value> {
        let request = Request::post(path)
            .header("host", "etcd")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(io::Error::other)?;
        let answer = self.0.send_request(request).await.map_err(io::Error::other)?;
        let status = answer.status();
        let bytes = answer.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        if !status.is_success() {
            return Err(io::Error::other(format!("{status}: {}", String::from_utf8_lossy(&bytes))));
        }
        serde_json::from_slice(&bytes).map_err(io::Error::other)
    }

    /// Everything under a prefix.
    async fn content(&mut self, prefix: &str) -> io::Result<Content> {
        // The key after all that begin like this: a slash is followed by a zero.
        let (start, end) = (format!("{prefix}/"), format!("{prefix}0"));
        let of = |text: &str| BASE64_STANDARD.encode(text);
        let range = json!({ "key": of(&start), "range_end": of(&end) });
        let mut answer = self.call("/v3/kv/range", &range).await?;
        let entries = answer["kvs"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(entries.iter().map(|entry| (text(&entry["key"]), text(&entry["value"]))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(entries: &[(&str, &str)]) -> Content {
        let of = |text: &&str| BASE64_STANDARD.encode(text);
        entries.iter().map(|(key, value)| (of(key), of(value))).collect()
    }

    fn names(keys: &[String]) -> Vec<String> {
        keys.iter().map(|key| text_of(key)).collect()
    }

    #[test]
    fn what_came_goes_and_what_went_or_changed_comes_back() {
        let kept = content(&[("/r/a/1", "x"), ("/r/a/2", "x"), ("/r/leases/kube-system/3", "x")]);
        let now = content(&[
            ("/r/a/2", "y"),
            ("/r/secrets/4", "x"),
            ("/r/namespaces/n", "x"),
            ("/r/events/5", "x"),
            ("/r/leases/n/6", "x"),
        ]);
        let (goes, comes) = differences(&kept, &now, true);
        assert_eq!(names(&goes), ["/r/namespaces/n", "/r/leases/n/6", "/r/secrets/4"]);
        assert_eq!(names(&comes), ["/r/a/1", "/r/a/2"]);
        assert_eq!(names(&differences(&kept, &now, false).1), ["/r/a/1"]);
    }
}
