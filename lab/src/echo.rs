//! An application in every cluster that says which cluster answered.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::command;
use crate::error::Result;
use crate::images;
use crate::lab::Lab;
use crate::parallel;
use crate::template::fill;

/// Where the application is reached from every cluster of a mesh.
pub const ECHO_URL: &str = "http://echo.demo.svc.cluster.local:80/";

const LIMIT: Duration = Duration::from_secs(120);

/// What came back from one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// The context of the cluster that answered; empty if the request failed.
    pub cluster: String,
    /// The status code, or the words of the failure.
    pub code: String,
    /// The name of the pod that answered.
    pub host: String,
    /// The headers of the request as the application got it, such as
    /// `X-Forwarded-Client-Cert`.
    pub headers: BTreeMap<String, String>,
}

impl Lab {
    /// Puts the application into the namespace `demo` of those clusters and waits until it runs.
    pub fn deploy_echo(&self, clusters: &[Cluster]) -> Result<()> {
        parallel::each(clusters, clusters.len(), &mut |_| {}, |cluster, _| {
            let manifest = fill(
                include_str!("../templates/echo.yaml"),
                &[("cluster", &cluster.context), ("image", images::ECHO)],
            )?;
            self.kubectl(cluster, &["apply", "-f", "-"], Some(&manifest))?;
            let rollout = [
                "rollout",
                "status",
                "deployment/echo",
                "--namespace=demo",
                "--timeout=110s",
            ];
            self.kubectl(cluster, &rollout, None).map(drop)
        })
    }

    /// Sends requests to the application from within a cluster, one reply for each.
    pub fn request_echo(&self, from: &Cluster, count: usize) -> Result<Vec<Reply>> {
        self.request(from, count, ECHO_URL)
    }

    /// Sends requests to an address from the application of a cluster, one reply for each.
    pub fn request(&self, from: &Cluster, count: usize, url: &str) -> Result<Vec<Reply>> {
        let count = count.to_string();
        let mut kubectl = self.site()?.kubectl(from.member());
        kubectl
            .args([
                "exec",
                "--namespace=demo",
                "deployment/echo",
                "--container=app",
                "--",
            ])
            .args(["/usr/local/bin/echo-client", "--count", &count, url]);
        let output = command::run(&mut kubectl, LIMIT)?;
        Ok(replies(&output))
    }
}

/// Reads lines such as `[3 body] Cluster=c1`.
fn replies(output: &str) -> Vec<Reply> {
    let mut replies: BTreeMap<usize, Reply> = BTreeMap::new();
    for line in output.lines() {
        let Some((label, text)) = line.strip_prefix('[').and_then(|it| it.split_once("] ")) else {
            continue;
        };
        let (number, part) = label.split_once(' ').unwrap_or((label, ""));
        let Ok(number) = number.parse() else {
            continue;
        };
        let reply = replies.entry(number).or_default();
        if part == "error" {
            text.clone_into(&mut reply.code);
        }
        match text.split_once('=') {
            Some(("Cluster", value)) if part == "body" => value.clone_into(&mut reply.cluster),
            Some(("Hostname", value)) if part == "body" => value.clone_into(&mut reply.host),
            Some(("StatusCode", value)) => value.clone_into(&mut reply.code),
            Some(("RequestHeader", value)) if part == "body" => {
                if let Some((name, value)) = value.split_once(':') {
                    reply.headers.insert(name.to_owned(), value.to_owned());
                }
            }
            _ => {}
        }
    }
    replies.into_values().collect()
}
