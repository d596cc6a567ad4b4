//! How the clusters of a lab are.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::command;
use crate::error::Result;
use crate::home::RunFolder;
use crate::lab::Lab;
use crate::process;
use crate::state::{Member, State};

/// How a cluster is.
#[derive(Debug, Clone)]
pub struct Status {
    /// Which cluster.
    pub cluster: Cluster,
    /// Whether its API server answers.
    pub api_ready: bool,
    /// Whether its node is ready; none if it has no node.
    pub node_ready: Option<bool>,
    /// Its processes that should run and do not.
    pub dead: Vec<String>,
}

pub(crate) fn status(lab: &Lab) -> Result<Vec<Status>> {
    let clusters = lab.clusters()?;
    clusters
        .into_iter()
        .map(|cluster| look(lab, cluster))
        .collect()
}

fn look(lab: &Lab, cluster: Cluster) -> Result<Status> {
    let member = cluster.member();
    let site = lab.site()?;
    let ask = |arguments: &[&str]| {
        let mut kubectl = site.kubectl(member);
        kubectl.arg("--request-timeout=3s").args(arguments);
        command::run(&mut kubectl, Duration::from_secs(5))
    };
    let api_ready = ask(&["get", "--raw=/readyz"]).is_ok();
    let node_ready = member.node.then(|| {
        let ready = r#"-o=jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
        api_ready && ask(&["get", "node", &member.node_name(), ready]).is_ok_and(|it| it == "True")
    });
    let mut dead = processes(member);
    dead.retain(|name| process::recorded(lab.run(), name).is_none());
    Ok(Status {
        cluster,
        api_ready,
        node_ready,
        dead,
    })
}

/// All processes of the lab that should run and do not.
pub(crate) fn dead(run: &RunFolder, state: &State) -> Vec<String> {
    let mut names = vec!["lab".to_owned(), "etcd".to_owned()];
    names.extend(state.clusters.iter().flat_map(processes));
    if state.balanced && state.clusters.iter().any(|it| it.node) {
        names.push(crate::balancer::PROCESS.to_owned());
    }
    names.retain(|name| process::recorded(run, name).is_none());
    names
}

fn processes(member: &Member) -> Vec<String> {
    let plane = ["apiserver", "controllers", "scheduler"];
    let node = ["containerd", "kubelet", "kube-proxy", "dns"];
    let node = node.iter().filter(|_| member.node);
    plane
        .iter()
        .chain(node)
        .map(|name| member.process(name))
        .collect()
}
