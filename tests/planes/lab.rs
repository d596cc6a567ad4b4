//! What the lab promises: to start once, and to leave nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use multimesh_lab::{Lab, Options};

use crate::live::eventually;

/// A lab beside that of the tests, which ends whatever comes of this one. `cargo xtask test` ends it
/// too if it is interrupted.
struct Life(String);

impl Drop for Life {
    fn drop(&mut self) {
        if let Err(error) = multimesh_lab::down(&self.0) {
            eprintln!("the lab `{}` is left: {error}", self.0);
        }
    }
}

impl Life {
    fn options(&self) -> Options {
        let name = self.0.clone();
        Options { name, clusters: 1, control_planes_only: true, ..Options::default() }
    }

    /// Brings the lab up, and returns what was told meanwhile too.
    fn up(&self) -> (Lab, Vec<String>) {
        let mut told = Vec::new();
        let lab = Lab::up(&self.options(), &mut |line| told.push(line.to_owned())).unwrap();
        (lab, told)
    }
}

/// The running processes whose file of that name below `/proc/PID` names the run folder, with
/// their command lines.
fn processes(run: &Path, file: &str) -> Vec<(String, String)> {
    let run = run.to_str().unwrap();
    let text = |path: PathBuf| {
        let bytes = fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    };
    let entries = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap());
    entries
        .filter(|entry| entry.file_name().to_str().is_some_and(|it| it.parse::<u32>().is_ok()))
        // Followed by a slash or a blank, as another lab's name may begin alike.
        .filter(|entry| {
            let text = text(entry.path().join(file));
            text.contains(&format!("{run}/")) || text.contains(&format!("{run} "))
        })
        .map(|entry| (entry.file_name().into_string().unwrap(), text(entry.path().join("cmdline"))))
        .collect()
}

/// The process whose command line has this.
#[track_caller]
fn process(run: &Path, word: &str) -> String {
    let all = processes(run, "environ");
    let found = all.iter().find(|(_, line)| line.contains(word));
    found.unwrap_or_else(|| panic!("no {word} in {all:?}")).0.clone()
}

/// The control groups of all labs of this name.
fn groups(name: &str) -> Vec<PathBuf> {
    let prefix = format!("multimesh-{name}-");
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let roots = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let folder = fields.next()?;
        fields.next()?.starts_with("cgroup").then_some(folder)
    });
    roots
        .flat_map(|root| fs::read_dir(root).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(&prefix))
        .collect()
}

#[test]
fn a_lab_starts_once_and_leaves_nothing_even_when_it_broke() {
    let life = Life(format!("life-{}", crate::live::lab().name()));
    let name = life.0.as_str();
    // What an interrupted run of this test left.
    multimesh_lab::down(name).unwrap();
    let (lab, _) = life.up();
    let run = lab.kubeconfig().parent().unwrap().to_owned();
    lab.kubectl(&lab.cluster(1).unwrap(), &["get", "namespaces"], None).unwrap();

    let server = process(&run, "kube-apiserver");
    let (_, told) = life.up();
    assert!(told.iter().any(|line| line.contains("already up: 1 cluster")), "{told:?}");
    assert_eq!(process(&run, "kube-apiserver"), server, "it was started anew");

    let nodes = Options { control_planes_only: false, ..life.options() };
    let refusal = Lab::up(&nodes, &mut |_| {}).unwrap_err().to_string();
    assert!(refusal.contains(&format!("`cargo xtask lab down --name {name}`")), "{refusal}");

    for pid in [server, process(&run, "sleep infinity")] {
        assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
        eventually("the end of a killed process", || {
            processes(&run, "environ").iter().all(|(left, _)| *left != pid)
        });
    }
    assert!(!processes(&run, "cmdline").is_empty(), "something is left for `down` to end");
    assert!(Lab::open(name).is_err(), "a lab without its namespaces is not up");

    multimesh_lab::down(name).unwrap();
    for file in ["cmdline", "environ"] {
        assert_eq!(processes(&run, file), [], "{file}");
    }
    assert!(!run.exists(), "{} is left", run.display());
    assert_eq!(groups(name), [""; 0].map(PathBuf::from));
}

/// Runs `ip` in the router of a lab.
fn ip(lab: &Lab, words: &str) -> String {
    let output = lab.command("ip").unwrap().args(words.split(' ')).output().unwrap();
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A link in the router of a lab, for as long as a test needs it.
struct Link<'a>(&'a Lab, &'static str);

impl Drop for Link<'_> {
    fn drop(&mut self) {
        let mut ip = self.0.command("ip").unwrap();
        ip.args(["link", "delete", self.1]).output().unwrap();
    }
}

#[test]
fn the_router_keeps_its_address_when_a_node_comes() {
    let lab = crate::live::lab();
    let address = || {
        let line = ip(&lab, "-brief link show br0");
        line.split_whitespace().nth(2).unwrap_or_else(|| panic!("{line}")).to_owned()
    };
    let before = address();
    // What an interrupted run of this test left.
    drop(Link(&lab, "lowest"));
    let _link = Link(&lab, "lowest");
    ip(&lab, "link add lowest address 02:00:00:00:00:01 type veth peer name highest");
    ip(&lab, "link set lowest master br0");
    assert_eq!(address(), before);
}
