//! Control planes that are reached through proxies of faults.

use std::ops::Deref;

use multimesh_lab::faults::{FaultProxy, Tally};

use crate::Planes;

/// The planes of a test, each behind a proxy: what the tool asks goes through it, what clusters
/// ask each other and what the test looks at does not.
pub(crate) struct Fronted {
    planes: Planes,
    /// One a plane, in their order.
    pub(crate) proxies: Vec<FaultProxy>,
}

impl Fronted {
    /// Starts that many control planes, described as one mesh `m`.
    pub(crate) fn start(count: usize) -> Self {
        let planes = Planes::start(count);
        let proxy = |cluster| planes.lab.fault_proxy(cluster).unwrap();
        let proxies: Vec<FaultProxy> = planes.clusters.iter().map(proxy).collect();
        let mut fronted = Self { planes, proxies };
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

    /// Writes the topology with these planes.
    pub(crate) fn describe(&self, indices: &[usize]) {
        let entries = indices.iter().map(|&index| {
            let cluster = &self.clusters[index];
            format!("  {}: {{network: flat, server: '{}'}}\n", cluster.context, cluster.server)
        });
        let topology = format!("mesh_id: m\ncontexts:\n{}", entries.collect::<String>());
        self.write("m", "topology.yaml", &topology);
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
