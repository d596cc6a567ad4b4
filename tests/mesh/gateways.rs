//! East-west gateways behind load balancers of several kinds.

use std::collections::BTreeSet;

use multimesh_lab::{Cluster, Lab, LoadBalancer};
use serde_json::{Value, json};

use crate::cleanup::{Cleanup, delete_echo};
use crate::clusters;
use crate::live::{User, eventually};
use crate::traffic::{answering, pod_ip, requests_are_answered_from_everywhere};

/// The name under which the gateway in the west is reached.
const HOST: &str = "gateway.west.example";

/// Gives a cluster its usual load balancer back, however the test ends.
struct Usual<'a>(&'a Lab, &'a Cluster);

impl Drop for Usual<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.set_load_balancer(self.1, &LoadBalancer::Ip) {
            eprintln!("the load balancer of {} is left: {error}", self.1.context);
        }
    }
}

#[test]
fn hostname_load_balancers_and_other_addresses() {
    let _alone = clusters();
    let user = User::new();
    let lab = &user.lab;
    let three: Vec<Cluster> = lab.clusters().unwrap().into_iter().filter(|c| c.has_node).collect();
    let [east, neighbour, west] = [&three[0], &three[1], &three[2]];
    assert!(east.network == neighbour.network && east.network != west.network);
    let all: BTreeSet<String> = three.iter().map(|cluster| cluster.context.clone()).collect();
    let _usual = Usual(lab, west);
    lab.set_load_balancer(west, &LoadBalancer::Hostname(HOST.into())).unwrap();

    user.describe("gateways", &three.iter().collect::<Vec<_>>());
    let _cleanup = Cleanup(&user, Vec::new());
    user.run(&["apply"]).expect(0).says("applied to 3 clusters");
    assert_eq!(addresses(&user, east), json!([east.node_address()]));
    assert_eq!(addresses(&user, west), json!([HOST]));
    lab.deploy_echo(&three).unwrap();
    for cluster in &three {
        eventually(&format!("answers from everywhere to {}", cluster.context), || {
            answering(lab, cluster) == all
        });
    }
    assert_eq!(directly(lab, east, neighbour), neighbour.context);
    assert_eq!(directly(lab, east, west), "", "pods of two networks reach each other");

    lab.set_load_balancer(west, &LoadBalancer::Nothing).unwrap();
    eventually("the load balancer in the west is gone", || {
        let service = ["get", "service", "istio-eastwestgateway", "-n", "istio-system"];
        let path = "jsonpath={.status.loadBalancer.ingress}";
        let ingress = lab.kubectl(west, &[&service[..], &["-o", path]].concat(), None).unwrap();
        !ingress.contains(HOST)
    });
    user.run(&["apply", "--timeout", "15s"])
        .expect(3)
        .says("applied to 2 clusters of 3")
        .says(&format!(
            "error: `{}`: the address of Service istio-system/istio-eastwestgateway did not get ready within 15 s",
            west.context
        ))
        .says("hint: does this cluster have a load balancer?");

    lab.set_load_balancer(west, &LoadBalancer::Ip).unwrap();
    user.run(&["apply"]).expect(0).says("in 3 clusters");
    assert_eq!(addresses(&user, west), json!([west.node_address()]));
    requests_are_answered_from_everywhere(lab, &three);

    delete_echo(lab, &three);
    user.run(&["teardown", "--yes"]).expect(0);
}

/// The addresses of a cluster's gateway in the status of a healthy mesh.
#[track_caller]
fn addresses(user: &User, cluster: &Cluster) -> Value {
    let status = user.run(&["status", "-o", "json"]).expect(0);
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    let mut clusters = status["clusters"].as_array().unwrap().iter();
    let found = clusters.find(|entry| entry["context"] == cluster.context.as_str()).unwrap();
    found["gateway"]["addresses"].clone()
}

/// Who answers a request from a pod of one cluster to the address of a pod of another; nobody is
/// the empty text.
fn directly(lab: &Lab, from: &Cluster, to: &Cluster) -> String {
    let url = format!("http://{}:8080/", pod_ip(lab, to));
    let replies = lab.request(from, 1, &url).unwrap_or_default();
    replies.into_iter().next().unwrap_or_default().cluster
}
