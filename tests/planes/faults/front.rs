//! Control planes that are reached through proxies of faults.

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};

use multimesh_lab::faults::{FaultProxy, Tally};
use serde_json::Value;

use crate::{Planes, base};

/// The planes of a test, each behind a proxy: what the tool asks goes through it, what clusters
/// ask each other and what the test looks at does not.
pub(crate) struct Fronted {
    planes: Planes,
    /// One a plane, in their order.
    pub(crate) proxies: Vec<FaultProxy>,
    changes: AtomicUsize,
}

impl Fronted {
    /// Starts that many control planes, described as one mesh `m`.
    pub(crate) fn start(count: usize) -> Self {
        let planes = Planes::start(count);
        let proxy = |cluster| planes.lab.fault_proxy(cluster).unwrap();
        let proxies: Vec<FaultProxy> = planes.clusters.iter().map(proxy).collect();
        let mut fronted = Self { planes, proxies, changes: AtomicUsize::new(0) };
        let files: Vec<String> = (0..count).map(|index| fronted.kubeconfig(index)).collect();
        fronted.planes.user.set_kubeconfig(files.join(":"));
        fronted.describe((0..count).collect::<Vec<_>>().as_slice());
        fronted
    }

    /// Writes the kubeconfig that leads to the proxy of a plane.
    fn kubeconfig(&self, index: usize) -> String {
        let (cluster, proxy) = (&self.clusters[index], &self.proxies[index]);
        let text = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
        let path = self.home().join(format!("kubeconfig-{index}"));
        std::fs::write(&path, text.replace(&cluster.server, &proxy.server())).unwrap();
        path.display().to_string()
    }

    /// The user entry in the kubeconfig of a plane.
    pub(crate) fn user(&self, index: usize) -> String {
        let text =
            std::fs::read_to_string(self.home().join(format!("kubeconfig-{index}"))).unwrap();
        let config: Value = serde_yaml::from_str(&text).unwrap();
        config["users"][0]["user"].to_string()
    }

    /// Sets the user entry in the kubeconfig of a plane, in YAML.
    pub(crate) fn set_user(&mut self, index: usize, user: &str) {
        let path = self.home().join(format!("kubeconfig-{index}"));
        let text = std::fs::read_to_string(&path).unwrap();
        let mut config: Value = serde_yaml::from_str(&text).unwrap();
        config["users"][0]["user"] = serde_yaml::from_str(user).unwrap();
        std::fs::write(&path, config.to_string()).unwrap();
    }

    /// Writes the topology with these planes, on one network.
    pub(crate) fn describe(&self, indices: &[usize]) {
        let settings =
            |index: usize| format!("network: flat, server: '{}'", self.clusters[index].server);
        self.describe_with(indices, settings);
    }

    /// As [`Fronted::describe`], each on a network of its own behind a gateway.
    pub(crate) fn describe_apart(&self, indices: &[usize]) {
        let settings = |index: usize| {
            let server = &self.clusters[index].server;
            format!("network: n{index}, server: '{server}', gateway: 192.0.2.{index}")
        };
        self.describe_with(indices, settings);
    }

    fn describe_with(&self, indices: &[usize], settings: impl Fn(usize) -> String) {
        let settings: Vec<String> = indices.iter().map(|&index| settings(index)).collect();
        let members: Vec<(usize, &str)> =
            indices.iter().copied().zip(settings.iter().map(String::as_str)).collect();
        self.describe_as(&members);
    }

    /// Lets the user of a plane have the certificate that has ended. No proxy is in the way, as none
    /// hands a certificate on.
    pub(crate) fn expire(&mut self, index: usize) {
        let [certificate, key] = self.clusters[index].expired_credential();
        let user = format!(
            "{{client-certificate: {}, client-key: {}}}",
            certificate.display(),
            key.display()
        );
        self.set_user(index, &user);
        self.set_server(index, &self.clusters[index].server);
    }

    /// Leads the kubeconfig of a plane to this server.
    pub(crate) fn set_server(&self, index: usize, server: &str) {
        let path = self.home().join(format!("kubeconfig-{index}"));
        let text = std::fs::read_to_string(&path).unwrap();
        let mut config: Value = serde_yaml::from_str(&text).unwrap();
        config["clusters"][0]["cluster"]["server"] = server.into();
        std::fs::write(&path, config.to_string()).unwrap();
    }

    /// Writes another base, so that there is something to change in every plane.
    pub(crate) fn change(&self) {
        let count = self.changes.fetch_add(1, Ordering::Relaxed) + 1;
        let base = base();
        let other = format!("accessLogFile: /dev/stdout{count}");
        let other = base.replace("accessLogFile: /dev/stdout", &other);
        assert_ne!(base, other);
        self.write("m", "base.yaml", &other);
    }

    /// Whether a plane has the base that was written last.
    pub(crate) fn is_changed(&self, index: usize) -> bool {
        let count = self.changes.load(Ordering::Relaxed);
        let config = ["get", "configmap", "istio", "-n", "istio-system", "-o", "yaml"];
        self.kubectl(index, &config).contains(&format!("accessLogFile: /dev/stdout{count}\n"))
    }

    /// Takes objects away from a plane that an apply has to make again.
    pub(crate) fn thin_out(&self, index: usize) {
        let ours = "applyset.kubernetes.io/part-of";
        self.kubectl(index, &["delete", "clusterroles,clusterrolebindings", "-l", ours]);
    }

    /// How many faults a plane had.
    pub(crate) fn struck(&self, index: usize) -> usize {
        self.proxies[index].tally().injected.values().sum()
    }

    /// How many requests changed something in any plane.
    pub(crate) fn writes(&self) -> usize {
        self.proxies.iter().map(|proxy| proxy.tally().writes).sum()
    }

    /// What went through all proxies.
    pub(crate) fn tallies(&self) -> Vec<Tally> {
        self.proxies.iter().map(FaultProxy::tally).collect()
    }
}

impl Deref for Fronted {
    type Target = Planes;

    fn deref(&self) -> &Planes {
        &self.planes
    }
}
