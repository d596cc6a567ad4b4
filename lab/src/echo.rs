//! An application in every cluster that says which cluster answered.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::command::{self, wait_for};
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
    /// The context of the cluster that answered; empty if none of its applications did.
    pub cluster: String,
    /// The status code.
    pub code: String,
    /// The name of the pod that answered.
    pub host: String,
    /// The headers of the request as the application got it, such as
    /// `X-Forwarded-Client-Cert`.
    pub headers: BTreeMap<String, String>,
}

impl Lab {
    /// Puts the application into the namespace `demo` of those clusters and waits until each
    /// of them gets an answer.
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
            self.kubectl(cluster, &rollout, None)?;
            // The rules of the Service come a moment after its endpoints.
            let what = format!("an answer from the echo application in {}", cluster.context);
            wait_for(LIMIT, &what, || match self.request_echo(cluster, 1) {
                Ok(replies) if replies.iter().all(|it| it.code == "200") => Ok(()),
                Ok(replies) => Err(replies.into_iter().map(|it| it.code).collect()),
                Err(error) => Err(error.to_string()),
            })
        })
    }

    /// Sends requests to the application from within a cluster, one reply for each. One that
    /// finds no server at all is an error for all of them.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_from_the_output_of_the_client() {
        let output = "[0] Url=http://echo/\n\
                      [1] StatusCode=503\n\
                      [0] StatusCode=200\n\
                      [0 body] Cluster=context-west-1\n\
                      [0 body] Hostname=echo-1\n\
                      [0 body] RequestHeader=X-Forwarded-Client-Cert:By=spiffe://a;URI=b\n\
                      2026-01-01T00:00:00Z\tinfo\tAll 2 requests succeeded\n";
        let replies = replies(output);
        assert_eq!(replies.len(), 2);
        assert_eq!(replies[0].cluster, "context-west-1");
        assert_eq!(replies[0].code, "200");
        assert_eq!(replies[0].host, "echo-1");
        assert_eq!(
            replies[0].headers["X-Forwarded-Client-Cert"],
            "By=spiffe://a;URI=b"
        );
        assert_eq!(replies[1].code, "503");
        assert!(replies[1].cluster.is_empty());
    }
}
