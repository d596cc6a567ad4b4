//! Control planes: etcd for all clusters; API server, controllers and scheduler for each.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::command::{self, wait_for};
use crate::error::{Error, Result};
use crate::home::RunFolder;
use crate::kubeconfig::{self, User};
use crate::namespace::Namespace;
use crate::pki;
use crate::process::{self, Process};
use crate::programs::Programs;
use crate::state::Member;

/// The variable that moves the cache of `kubectl` and its like.
pub(crate) const CACHE: &str = "KUBECACHEDIR";
const ETCD_PORT: u16 = 12379;
/// Twenty API servers that start at once on a small machine take a while.
const START: Duration = Duration::from_secs(240);
const QUICK: Duration = Duration::from_secs(20);

/// The controllers that meshes and their applications need.
const CONTROLLERS: &str = "serviceaccount-controller,serviceaccount-token-controller,\
    root-ca-certificate-publisher-controller,namespace-controller,garbage-collector-controller,\
    deployment-controller,replicaset-controller,daemonset-controller,statefulset-controller,\
    job-controller,endpoints-controller,endpointslice-controller,node-lifecycle-controller,\
    node-ipam-controller,disruption-controller,clusterrole-aggregation-controller,\
    taint-eviction-controller";

/// What it takes to handle a cluster of a running lab.
#[derive(Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) run: &'a RunFolder,
    pub(crate) programs: &'a Programs,
    pub(crate) space: Namespace,
}

impl Site<'_> {
    /// `kubectl` as the administrator of a cluster.
    pub(crate) fn kubectl(&self, member: &Member) -> Command {
        let mut kubectl = self.space.client(self.programs.bin().join("kubectl"));
        let config = kubeconfig::path(self.run, member, User::Admin);
        kubectl.arg("--kubeconfig").arg(config);
        kubectl.env(CACHE, self.run.cache());
        kubectl
    }

    /// Waits until objects are there or have a condition, unless a daemon that this takes ends.
    pub(crate) fn await_objects(
        &self,
        member: &Member,
        objects: &[&str],
        condition: &str,
        (name, daemon): (&str, Process),
    ) -> Result<()> {
        let what = format!("{} of {} ({condition})", objects.join(", "), member.context);
        alive_until(self, name, daemon, &what, || {
            let mut kubectl = self.kubectl(member);
            kubectl.args(["wait", "--namespace=default", "--timeout=10s"]);
            kubectl.arg(format!("--for={condition}")).args(objects);
            command::run(&mut kubectl, QUICK).map(drop).map_err(|error| error.to_string())
        })
    }
}

/// Polls a condition until it holds, or until the daemon that must make it hold has ended.
fn alive_until(
    site: &Site<'_>,
    name: &str,
    daemon: Process,
    what: &str,
    mut condition: impl FnMut() -> Result<(), String>,
) -> Result<()> {
    let alive = wait_for(START, what, || {
        let alive = daemon.alive();
        if alive {
            condition()?;
        }
        Ok(alive)
    })?;
    alive.then_some(()).ok_or_else(|| Error::Program {
        program: name.to_owned(),
        output: process::last_line(&site.run.log(name)),
    })
}

/// Makes the files of a new cluster.
pub(crate) fn prepare(run: &RunFolder, member: &Member) -> Result<()> {
    let addresses = [Ipv4Addr::LOCALHOST, member.first_service(), member.api()];
    let folder = run.cluster(member.number).join("pki");
    pki::create(&folder, &format!("c{}", member.number), &member.node_name(), &addresses)?;
    kubeconfig::write_one(run, member, User::Admin)?;
    kubeconfig::write_one(run, member, User::Kubelet)
}

/// Starts the etcd of all clusters.
pub(crate) fn start_etcd(site: &Site<'_>) -> Result<()> {
    let name = "etcd";
    let etcd = process::ensure(site.run, name, || {
        let client = format!("http://127.0.0.1:{ETCD_PORT}");
        let peer = "http://127.0.0.1:12380";
        let mut etcd = site.space.command(site.programs.bin().join("etcd"));
        etcd.arg(flag("data-dir", site.run.path().join("etcd")))
            .arg("--name=lab")
            .arg(format!("--listen-client-urls={client}"))
            .arg(format!("--advertise-client-urls={client}"))
            .arg(format!("--listen-peer-urls={peer}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .arg(format!("--initial-cluster=lab={peer}"))
            .args(["--quota-backend-bytes=4294967296", "--log-level=warn"])
            // Data that a power cut may take, the lab does not miss.
            .arg("--unsafe-no-fsync");
        etcd
    })?;
    listening(site, name, etcd, ETCD_PORT)
}

/// Starts what is not running of a control plane, and waits until the cluster can be used.
pub(crate) fn start(site: &Site<'_>, member: &Member) -> Result<()> {
    site.space.ip(&format!(
        "addr replace {}/32 dev br0\naddr replace {}/32 dev br0\n",
        member.api(),
        member.balancer()
    ))?;
    start_api_server(site, member)?;
    let config = kubeconfig::path(site.run, member, User::Admin);
    let pki = site.run.cluster(member.number).join("pki");
    let name = member.process("controllers");
    let controllers = process::ensure(site.run, &name, || {
        let mut command = site.space.command(site.programs.bin().join("kube-controller-manager"));
        command
            .arg(flag("kubeconfig", &config))
            .arg(format!("--controllers={CONTROLLERS}"))
            .arg(flag("service-account-private-key-file", pki.join("sa.key")))
            .arg(flag("root-ca-file", pki.join("ca.crt")))
            .arg(format!("--secure-port={}", 16540 + u16::from(member.number)))
            .arg(format!("--cluster-cidr={}", member.pods()))
            .arg(format!("--service-cluster-ip-range={}", member.services()))
            .args(["--leader-elect=false", "--bind-address=127.0.0.1"])
            .args(["--allocate-node-cidrs=true", "--profiling=false"]);
        command
    })?;
    process::ensure(site.run, &member.process("scheduler"), || {
        let mut command = site.space.command(site.programs.bin().join("kube-scheduler"));
        command
            .arg(flag("kubeconfig", &config))
            .arg(format!("--secure-port={}", 16640 + u16::from(member.number)))
            .args(["--leader-elect=false", "--bind-address=127.0.0.1"])
            .arg("--profiling=false");
        command
    })?;
    // Made by the API server and by the controllers: nothing can be created before.
    let objects = ["namespace/kube-system", "serviceaccount/default", "configmap/kube-root-ca.crt"];
    site.await_objects(member, &objects, "create", (&name, controllers))
}

/// Starts the API server of a cluster, unless it runs, and waits until it answers.
fn start_api_server(site: &Site<'_>, member: &Member) -> Result<()> {
    let name = member.process("apiserver");
    let server = process::ensure(site.run, &name, || {
        let folder = site.run.cluster(member.number);
        let mut command = site.space.command(site.programs.bin().join("kube-apiserver"));
        command.args(api_server_flags(member, &folder));
        command
    })?;
    listening(site, &name, server, member.port())?;
    let what = format!("the API server of {}", member.context);
    alive_until(site, &name, server, &what, || {
        let mut kubectl = site.kubectl(member);
        kubectl.args(["get", "--raw=/readyz", "--request-timeout=5s"]);
        command::run(&mut kubectl, QUICK).map(drop).map_err(|error| error.to_string())
    })
}

/// Waits until a daemon accepts connections, or has ended.
pub(crate) fn listening(site: &Site<'_>, name: &str, daemon: Process, port: u16) -> Result<()> {
    alive_until(site, name, daemon, &format!("{name} to listen"), || {
        if daemon.sees_listener(port) {
            return Ok(());
        }
        Err(process::last_line(&site.run.log(name)))
    })
}

fn api_server_flags(member: &Member, folder: &Path) -> Vec<OsString> {
    let pki = folder.join("pki");
    let mut flags: Vec<OsString> = [
        format!("--etcd-servers=http://127.0.0.1:{ETCD_PORT}"),
        format!("--etcd-prefix=/c{}-{}/registry", member.number, member.generation),
        // An address that other clusters reach, for remote secrets and for endpoints.
        format!("--bind-address={}", member.api()),
        format!("--advertise-address={}", member.api()),
        format!("--secure-port={}", member.port()),
        format!("--service-cluster-ip-range={}", member.services()),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
        "--authorization-mode=Node,RBAC".into(),
        "--enable-admission-plugins=NodeRestriction".into(),
        "--allow-privileged=true".into(),
        // Webhooks are called at the addresses of pods: no kube-proxy serves this namespace.
        "--enable-aggregator-routing=true".into(),
        "--requestheader-allowed-names=front-proxy-client".into(),
        "--requestheader-username-headers=X-Remote-User".into(),
        "--requestheader-group-headers=X-Remote-Group".into(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
        "--kubelet-preferred-address-types=InternalIP".into(),
        "--profiling=false".into(),
    ]
    .map(OsString::from)
    .into();
    flags.push(flag("cert-dir", folder.join("certs")));
    for (name, file) in [
        ("tls-cert-file", "apiserver.crt"),
        ("tls-private-key-file", "apiserver.key"),
        ("client-ca-file", "ca.crt"),
        ("requestheader-client-ca-file", "ca.crt"),
        ("service-account-key-file", "sa.pub"),
        ("service-account-signing-key-file", "sa.key"),
        ("proxy-client-cert-file", "front.crt"),
        ("proxy-client-key-file", "front.key"),
        ("kubelet-client-certificate", "admin.crt"),
        ("kubelet-client-key", "admin.key"),
    ] {
        flags.push(flag(name, pki.join(file)));
    }
    flags
}

/// A flag with a path as its value.
pub(crate) fn flag(name: &str, path: impl AsRef<Path>) -> OsString {
    let mut flag = OsString::from(format!("--{name}="));
    flag.push(path.as_ref());
    flag
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::State;

    #[test]
    fn every_cluster_keeps_to_its_own_addresses() {
        let mut state = State::default();
        state.add(None, true).expect("a cluster");
        let second = state.add(None, true).expect("a cluster");
        let flags = api_server_flags(&second, Path::new("/lab/c2"));
        for expected in [
            "--secure-port=16442",
            "--advertise-address=10.99.2.1",
            "--service-cluster-ip-range=10.102.0.0/16",
            "--etcd-prefix=/c2-2/registry",
            "--client-ca-file=/lab/c2/pki/ca.crt",
        ] {
            assert!(flags.iter().any(|flag| flag == expected), "{expected}");
        }
    }
}
