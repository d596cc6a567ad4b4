//! The load balancers of the clusters: what a cloud does for Services of type `LoadBalancer`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::command;
use crate::controlplane::Site;
use crate::error::{Doing as _, Error, Result};
use crate::home::RunFolder;
use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::process::{self, Process};
use crate::programs::{part, rename};
use crate::state::{Member, State};

/// The name of the process that serves all clusters of a lab.
pub(crate) const PROCESS: &str = "balancer";
const LOOK: Duration = Duration::from_millis(300);
const QUICK: Duration = Duration::from_secs(20);

/// What a Service of type `LoadBalancer` gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LoadBalancer {
    /// The address of the node.
    #[default]
    Ip,
    /// A host name, which the DNS of every cluster of the lab knows.
    Hostname(String),
    /// Nothing, as in a cluster without a load balancer.
    Nothing,
}

impl LoadBalancer {
    fn parse(text: &str) -> Self {
        match text.trim().split_once(' ') {
            Some((_, name)) => Self::Hostname(name.to_owned()),
            None if text.trim() == "nothing" => Self::Nothing,
            None => Self::Ip,
        }
    }

    fn compose(&self) -> String {
        match self {
            Self::Ip => "ip\n".into(),
            Self::Hostname(name) => format!("hostname {name}\n"),
            Self::Nothing => "nothing\n".into(),
        }
    }
}

fn file(run: &RunFolder, member: &Member) -> PathBuf {
    run.cluster(member.number).join("balancer")
}

fn mode(run: &RunFolder, member: &Member) -> LoadBalancer {
    LoadBalancer::parse(&fs::read_to_string(file(run, member)).unwrap_or_default())
}

/// Sets the mode of a cluster.
pub(crate) fn set(
    run: &RunFolder,
    state: &State,
    member: &Member,
    mode: &LoadBalancer,
) -> Result<()> {
    if let LoadBalancer::Hostname(name) = mode
        && (name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '#'))
    {
        return Err(Error::Refused(format!("`{name}` is not a host name")));
    }
    let path = file(run, member);
    let part = part(&path);
    fs::write(&part, mode.compose()).at("write", &part)?;
    rename(&part, &path)?;
    write_hosts(run, state)
}

/// Writes the host names of the load balancers down for the DNS of the clusters.
pub(crate) fn write_hosts(run: &RunFolder, state: &State) -> Result<()> {
    let mut text = String::new();
    for member in &state.clusters {
        if let LoadBalancer::Hostname(name) = mode(run, member) {
            let _ = writeln!(text, "{} {name}", member.balancer());
        }
    }
    let part = part(&run.hosts());
    fs::write(&part, text).at("write", &part)?;
    rename(&part, &run.hosts())
}

/// Starts the process that serves the load balancers.
pub(crate) fn start(run: &RunFolder, command: impl FnOnce() -> Command) -> Result<()> {
    process::ensure(run, PROCESS, command).map(drop)
}

/// Serves the load balancers of all clusters of a lab that have a node, until it is ended.
pub fn serve(name: &str) -> Result<()> {
    let lab = Lab::open(name)?;
    let mut served = BTreeSet::new();
    loop {
        for member in State::load(lab.run())?.clusters {
            if member.node && served.insert(member.generation) {
                let lab = lab.clone();
                thread::spawn(move || {
                    loop {
                        // An API server that is away is nothing special in a lab.
                        let _ = lab.site().and_then(|site| watch(&site, &member));
                        thread::sleep(LOOK);
                    }
                });
            }
        }
        thread::sleep(LOOK);
    }
}

/// Prints a line for every Service that there is, and for every change.
const LINE: &str = concat!(
    "-o=go-template={{.metadata.namespace}} {{.metadata.name}} {{.spec.type}} ",
    "[{{range .spec.ports}}{{.port}}:{{with .nodePort}}{{.}}{{end}},{{end}}] ",
    "[{{range .status.loadBalancer.ingress}}{{with .ip}}{{.}}{{end}}",
    "{{with .hostname}}{{.}}{{end}},{{end}}]{{\"\\n\"}}",
);

/// A Service as in such a line.
#[derive(Debug, PartialEq, Eq)]
struct Service {
    namespace: String,
    name: String,
    balanced: bool,
    /// Ports, and those of the node behind them.
    ports: Vec<(u16, u16)>,
    /// The addresses and host names that it has.
    ingress: Vec<String>,
}

impl Service {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (namespace, name, kind) = (words.next()?, words.next()?, words.next()?);
        let mut list = || {
            let inner = words.next()?.strip_prefix('[')?.strip_suffix(']')?;
            let items = inner.split(',').filter(|item| !item.is_empty());
            Some(items.map(str::to_owned).collect::<Vec<_>>())
        };
        let ports = list()?;
        let ports = ports.iter().filter_map(|item| {
            let (port, node) = item.split_once(':')?;
            Some((port.parse().ok()?, node.parse().ok()?))
        });
        Some(Self {
            namespace: namespace.into(),
            name: name.into(),
            balanced: kind == "LoadBalancer",
            ports: ports.collect(),
            ingress: list()?,
        })
    }
}

/// Follows the Services of a cluster until its API server or the mode changes.
fn watch(site: &Site<'_>, member: &Member) -> Result<()> {
    let mode = mode(site.run, member);
    let mut kubectl = site.kubectl(member);
    let mut child = kubectl
        .args(["get", "services", "--all-namespaces", "--watch", LINE])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .doing(|| "start kubectl".into())?;
    let Some(output) = child.stdout.take() else {
        return Ok(());
    };
    let over = Arc::new(AtomicBool::new(false));
    end_on_change(
        site.run.clone(),
        member.clone(),
        mode.clone(),
        &child,
        &over,
    );
    let mut ports = BTreeMap::new();
    let mut forwarded = None;
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        let Some(service) = Service::parse(&line) else {
            continue;
        };
        // One that was deleted in the meantime cannot be changed, and need not.
        let _ = settle(site, member, &mode, &service);
        let key = (service.namespace, service.name);
        if service.balanced {
            ports.insert(key, service.ports);
        } else {
            ports.remove(&key);
        }
        let wanted = rules(member, &mode, ports.values().flatten());
        if forwarded.as_ref() != Some(&wanted) {
            forward(site.space, member, &wanted)?;
            forwarded = Some(wanted);
        }
    }
    over.store(true, Ordering::Relaxed);
    child.wait().doing(|| "wait for kubectl".into()).map(drop)
}

/// Ends `kubectl` when the mode of the cluster becomes another one.
fn end_on_change(
    run: RunFolder,
    member: Member,
    now: LoadBalancer,
    child: &Child,
    over: &Arc<AtomicBool>,
) {
    let process = i32::try_from(child.id()).ok().and_then(Process::of);
    let over = Arc::clone(over);
    thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            if mode(&run, &member) != now
                && let Some(process) = process
            {
                let _ = process.signal(Signal::KILL);
                return;
            }
            thread::sleep(LOOK);
        }
    });
}

/// Gives a Service what the mode says.
fn settle(site: &Site<'_>, member: &Member, mode: &LoadBalancer, service: &Service) -> Result<()> {
    let address = member.node_address().to_string();
    let (wanted, ingress) = match mode {
        LoadBalancer::Ip => (Some(&address), json!([{"ip": address}])),
        LoadBalancer::Hostname(name) => (Some(name), json!([{"hostname": name}])),
        LoadBalancer::Nothing => (None, json!([])),
    };
    if !service.balanced || service.ingress.iter().eq(wanted) {
        return Ok(());
    }
    let patch = json!({"status": {"loadBalancer": {"ingress": ingress}}}).to_string();
    let mut kubectl = site.kubectl(member);
    kubectl
        .args([
            "patch",
            "service",
            &service.name,
            "--namespace",
            &service.namespace,
        ])
        .args(["--subresource=status", "--type=merge", "--patch", &patch]);
    command::run(&mut kubectl, QUICK).map(drop)
}

/// The rules by which connections to the load balancer reach the ports of the node. An address of
/// the node needs none: kube-proxy takes those.
fn rules<'a>(
    member: &Member,
    mode: &LoadBalancer,
    ports: impl Iterator<Item = &'a (u16, u16)>,
) -> String {
    let chain = chain(member);
    let mut text = format!("*nat\n:{chain} - [0:0]\n");
    if matches!(mode, LoadBalancer::Hostname(_)) {
        for (port, node) in ports {
            let _ = writeln!(
                text,
                "-A {chain} -d {} -p tcp --dport {port} -j DNAT --to-destination {}:{node}",
                member.balancer(),
                member.node_address()
            );
        }
    }
    text.push_str("COMMIT\n");
    text
}

fn chain(member: &Member) -> String {
    format!("LAB-BALANCER-{}", member.number)
}

/// Replaces the rules of a cluster in the lab's router.
fn forward(space: Namespace, member: &Member, rules: &str) -> Result<()> {
    let mut restore = space.command("iptables-restore");
    command::run_with(restore.args(["--wait", "--noflush"]), Some(rules), QUICK)?;
    let chain = chain(member);
    let origin = member.balancer().to_string();
    // The answers of the node must come back this way, also to a neighbour on the bridge.
    let back: &[&str] = &[
        "POSTROUTING",
        "-m",
        "conntrack",
        "--ctstate",
        "DNAT",
        "--ctorigdst",
        &origin,
        "-j",
        "MASQUERADE",
    ];
    for rule in [
        &["PREROUTING", "-j", &chain],
        &["OUTPUT", "-j", &chain],
        back,
    ] {
        let table = |action| {
            let words = [&["iptables", "--wait", "--table=nat", action], rule].concat();
            space.run(&words)
        };
        if table("--check").is_err() {
            table("--append")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_survives_its_file() {
        let modes = [
            LoadBalancer::Ip,
            LoadBalancer::Hostname("lb.example".into()),
            LoadBalancer::Nothing,
        ];
        for mode in modes {
            assert_eq!(LoadBalancer::parse(&mode.compose()), mode);
        }
        assert_eq!(LoadBalancer::parse(""), LoadBalancer::Ip);
    }

    #[test]
    fn a_line_becomes_a_service() {
        let line = "istio-system gateway LoadBalancer [15021:30001,15443:30002,] [10.99.0.11,]";
        let service = Service::parse(line).expect("a service");
        assert_eq!(service.ports, [(15021, 30001), (15443, 30002)]);
        assert_eq!(service.ingress, ["10.99.0.11"]);
        assert!(service.balanced);
        let plain = Service::parse("default kubernetes ClusterIP [443:,] []").expect("a service");
        assert!(!plain.balanced && plain.ports.is_empty() && plain.ingress.is_empty());
        assert_eq!(Service::parse("nonsense"), None);
    }

    #[test]
    fn only_a_host_name_needs_rules() {
        let mut state = State::default();
        let member = state.add(None, true).expect("a cluster");
        let ports = [(15443, 30002)];
        let plain = rules(&member, &LoadBalancer::Ip, ports.iter());
        assert_eq!(plain, "*nat\n:LAB-BALANCER-1 - [0:0]\nCOMMIT\n");
        let named = rules(&member, &LoadBalancer::Hostname("lb".into()), ports.iter());
        let rule = "-A LAB-BALANCER-1 -d 10.99.1.2 -p tcp --dport 15443 -j DNAT \
                    --to-destination 10.99.0.11:30002\n";
        assert!(named.contains(rule), "{named}");
    }
}
