//! Requests between the clusters of a mesh, and the ways that they take.

use std::collections::BTreeSet;

use multimesh_lab::{Cluster, Lab};

use crate::live::{eventually, kubectl};

/// The contexts that answer requests from a cluster.
pub(crate) fn answering(lab: &Lab, from: &Cluster) -> BTreeSet<String> {
    let replies = lab.request_echo(from, 30).unwrap_or_default();
    replies.into_iter().map(|reply| reply.cluster).collect()
}

/// Every cluster's requests are answered by all three, encrypted, and in the other network through
/// the gateway.
pub(crate) fn requests_are_answered_from_everywhere(lab: &Lab, three: &[Cluster]) {
    lab.deploy_echo(three).unwrap();
    let all: BTreeSet<String> = three.iter().map(|cluster| cluster.context.clone()).collect();
    for cluster in three {
        eventually(&format!("answers from everywhere to {}", cluster.context), || {
            answering(lab, cluster) == all
        });
        let replies = lab.request_echo(cluster, 30).unwrap();
        for reply in &replies {
            let certificate = reply.headers.get("X-Forwarded-Client-Cert");
            let certificate = certificate.map(String::as_str).unwrap_or_default();
            assert!(
                certificate.contains("URI=spiffe://cluster.local/ns/demo/sa/default"),
                "{} -> {}: {certificate:?}",
                cluster.context,
                reply.cluster
            );
        }
    }
    for cluster in three {
        let endpoints = endpoints(lab, cluster);
        for other in three {
            let direct = pod_ip(lab, other);
            let gateway = format!("{}:15443", other.node_address());
            let same = other.network == cluster.network;
            assert_eq!(
                (endpoints.contains(&format!("{direct}:8080")), endpoints.contains(&gateway)),
                (same, !same),
                "{} -> {}: {endpoints:?}",
                cluster.context,
                other.context
            );
        }
    }
}

/// What the proxy of the application in a cluster knows as endpoints of the service.
pub(crate) fn endpoints(lab: &Lab, cluster: &Cluster) -> BTreeSet<String> {
    let pod = kubectl(
        lab,
        cluster,
        &[
            "get",
            "pods",
            "-n",
            "demo",
            "-l",
            "app=echo",
            "-o",
            "jsonpath={.items[0].metadata.name}",
        ],
    );
    let ask = ["exec", "-n", "demo", &pod, "-c", "istio-proxy", "--"];
    let text =
        kubectl(lab, cluster, &[&ask[..], &["pilot-agent", "request", "GET", "clusters"]].concat());
    let echo = "outbound|80||echo.demo.svc.cluster.local";
    let endpoints = text.lines().filter_map(|line| {
        let (name, rest) = line.split_once("::")?;
        let (address, _) = rest.split_once("::")?;
        (name == echo && address.contains(':')).then(|| address.to_owned())
    });
    endpoints.collect()
}

pub(crate) fn pod_ip(lab: &Lab, cluster: &Cluster) -> String {
    let path = "jsonpath={.items[0].status.podIP}";
    kubectl(lab, cluster, &["get", "pods", "-n", "demo", "-l", "app=echo", "-o", path])
}
