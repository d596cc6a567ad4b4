//! Nodes: one a cluster, with containerd, kubelet, kube-proxy and the cluster's DNS.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::cgroup;
use crate::command::{self, wait_for};
use crate::controlplane::{Site, flag, listening};
use crate::error::{Doing as _, Result};
use crate::images;
use crate::kubeconfig::{self, User};
use crate::namespace::write_sysctl;
use crate::process;
use crate::state::Member;
use crate::template::fill;

const LIMIT: Duration = Duration::from_secs(180);

/// Where the short-lived files of a node are, below the lab's own `/run`: paths of sockets must
/// be short, whatever the home of the lab is called.
fn runtime(member: &Member) -> String {
    format!("/run/lab/c{}", member.number)
}

fn folder(site: &Site<'_>, member: &Member) -> PathBuf {
    site.run.cluster(member.number).join("node")
}

/// Starts what of a node needs no API server, and gives it the images.
pub(crate) fn start_runtime(site: &Site<'_>, member: &Member) -> Result<()> {
    connect(site, member)?;
    let folder = folder(site, member);
    let path = folder.display().to_string();
    let runtime = runtime(member);
    let socket = format!("{runtime}/containerd.sock");
    let name = member.process("containerd");
    let pods = member.node_pods();
    write(
        &folder.join("cni/10-lab.conflist"),
        include_str!("../templates/cni.conflist"),
        &[("pods", &pods), ("folder", &path)],
    )?;
    let config = folder.join("containerd.toml");
    write(
        &config,
        include_str!("../templates/containerd.toml"),
        &[("folder", &path), ("state", &runtime), ("pause", images::PAUSE)],
    )?;
    let containerd = process::ensure(site.run, &name, || {
        let mut command = site.space.node(&member.node_name(), "containerd");
        command.arg("--config").arg(&config);
        command
    })?;
    let ctr = || {
        let mut ctr = site.space.command("ctr");
        ctr.args(["--address", &socket, "--namespace", "k8s.io"]);
        ctr
    };
    let log = site.run.log(&name);
    wait_for(LIMIT, &format!("{name} to answer"), || {
        if !containerd.alive() || !site.space.path(&socket).exists() {
            return Err(process::last_line(&log));
        }
        command::run(ctr().arg("version"), LIMIT).map(drop).map_err(|error| error.to_string())
    })?;

    let imported = folder.join("imported");
    if !imported.exists() {
        for image in images::NAMES {
            let archive = site.programs.images().join(image);
            command::run(ctr().args(["images", "import"]).arg(archive), LIMIT)?;
        }
        fs::write(&imported, "").at("write", &imported)?;
    }
    Ok(())
}

/// Starts the rest of a node, and waits until it is ready.
pub(crate) fn start(site: &Site<'_>, member: &Member) -> Result<()> {
    let folder = folder(site, member);
    let path = folder.display().to_string();
    let node = member.node_name();
    let address = member.node_address().to_string();
    let admin = kubeconfig::path(site.run, member, User::Admin);
    cgroup::create(site.run, member)?;

    let config = folder.join("kubelet.yaml");
    let version = if cgroup::is_v1() { "failCgroupV1: false" } else { "" };
    let pki = site.run.cluster(member.number).join("pki").display().to_string();
    write(
        &config,
        include_str!("../templates/kubelet.yaml"),
        &[
            ("version", version),
            ("cgroup", &cgroup::name(site.run, member)),
            ("pki", &pki),
            ("address", &address),
            ("folder", &path),
            ("state", &runtime(member)),
        ],
    )?;
    write(&folder.join("resolv.conf"), "options timeout:1\n", &[])?;
    let kubelet_name = member.process("kubelet");
    let kubelet = process::ensure(site.run, &kubelet_name, || {
        let mut command = site.space.node(&node, site.programs.bin().join("kubelet"));
        command
            .arg(flag("config", &config))
            .arg(flag("kubeconfig", kubeconfig::path(site.run, member, User::Kubelet)))
            .arg(flag("root-dir", folder.join("kubelet")))
            .arg(flag("cert-dir", folder.join("kubelet/pki")))
            .arg(format!("--hostname-override={node}"))
            .arg(format!("--node-ip={address}"));
        command
    })?;
    process::ensure(site.run, &member.process("kube-proxy"), || {
        let mut command = site.space.node(&node, site.programs.bin().join("kube-proxy"));
        command
            .arg(flag("kubeconfig", &admin))
            .arg(format!("--hostname-override={node}"))
            .arg(format!("--cluster-cidr={}", member.node_pods()))
            .args(["--proxy-mode=iptables", "--healthz-bind-address=127.0.0.1:10256"])
            .arg("--metrics-bind-address=127.0.0.1:10249")
            // These settings are of the machine, and not to be changed from a namespace.
            .args(["--conntrack-max-per-core=0", "--conntrack-min=0"])
            .arg("--conntrack-tcp-timeout-established=0")
            .arg("--conntrack-tcp-timeout-close-wait=0");
        command
    })?;

    let corefile = folder.join("Corefile");
    write(
        &corefile,
        include_str!("../templates/Corefile"),
        &[
            ("address", &address),
            ("hosts", &site.run.hosts().display().to_string()),
            ("kubeconfig", &admin.display().to_string()),
            ("context", &member.context),
        ],
    )?;
    let name = member.process("dns");
    let dns = process::ensure(site.run, &name, || {
        let mut command = site.space.node(&node, site.programs.bin().join("coredns"));
        command.arg("-conf").arg(&corefile);
        command
    })?;

    let object = format!("node/{node}");
    for condition in ["create", "condition=Ready"] {
        site.await_objects(member, &[&object], condition, (&kubelet_name, kubelet))?;
    }
    listening(site, &name, dns, 53)
}

/// Makes the network namespace of a node, and a way there and back.
fn connect(site: &Site<'_>, member: &Member) -> Result<()> {
    let runtime = runtime(member);
    let ready = format!("{runtime}/connected");
    if site.space.path(&ready).exists() {
        return Ok(());
    }
    let node = member.node_name();
    let link = format!("vn{}", member.number);
    let address = member.node_address();
    // What an interrupted start left.
    let _ = site.space.run(&["ip", "link", "delete", &link]);
    let _ = site.space.run(&["ip", "netns", "delete", &node]);
    site.space.ip(&format!(
        "netns add {node}\n\
         link add {link} type veth peer name eth0 netns {node}\n\
         link set {link} master br0 up\n"
    ))?;
    let mut ip = site.space.node(&node, "ip");
    let commands = format!(
        "link set lo up\n\
         addr add {address}/16 dev eth0\n\
         link set eth0 up\n\
         route add default via 10.99.0.1\n"
    );
    command::run_with(ip.args(["-batch", "-"]), Some(&commands), LIMIT)?;
    write_sysctl(&mut site.space.node(&node, "tee"), "net/ipv4/ip_forward", "1")?;
    let pods = member.node_pods();
    site.space.ip(&format!("route replace {pods} via {address}\n"))?;
    site.space.run(&["mkdir", "-p", &runtime])?;
    site.space.run(&["touch", &ready])?;
    Ok(())
}

fn write(path: &PathBuf, template: &str, values: &[(&str, &str)]) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).at("create", parent)?;
    }
    fs::write(path, fill(template, values)?).at("write", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_of_the_pods_is_json() {
        let values = [("pods", "10.201.0.0/24"), ("folder", "/lab")];
        let text = fill(include_str!("../templates/cni.conflist"), &values).expect("values");
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let ipam = &json["plugins"][0]["ipam"];
        assert_eq!(ipam["ranges"][0][0]["subnet"], "10.201.0.0/24");
        assert_eq!(ipam["dataDir"], "/lab/ipam");
    }
}
