//! Hints that are typed as they were printed, by a shell, with names that it would take apart.

use std::fs;

use assert_cmd::Command;

use super::kubeconfig::Kubeconfig;
use super::sandbox::{BINARY, Run, Sandbox};

/// A name as EKS gives it, with what a shell would take apart.
const CONTEXT: &str = "arn:aws:eks:eu-west-1:1:cluster/x y's";

/// A user whose kubeconfig has this context, in a file that is named by a flag.
fn sandbox() -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    let kubeconfig = Kubeconfig::default().context(CONTEXT, "https://127.0.0.1:9");
    let file = sandbox.write("home/my files/kube config", &kubeconfig.text());
    (sandbox, file.display().to_string())
}

/// The commands that were printed in backticks, and begin so.
fn printed(run: &Run, start: &str) -> Vec<String> {
    let output = run.output();
    let pieces = output.split('`').skip(1).step_by(2);
    pieces.filter(|it| it.starts_with(start)).map(str::to_owned).collect()
}

/// Types a line at a shell whose PATH has what the sandbox has.
fn typed(sandbox: &Sandbox, line: &str) -> Run {
    let mut command = Command::new("/bin/sh");
    command.env_clear().envs(sandbox.environment()).current_dir(sandbox.path("home"));
    sandbox.end({
        command.args(["-c", line]);
        command
    })
}

/// A kubectl that prints its words.
fn words_of(sandbox: &Sandbox, line: &str) -> Vec<String> {
    sandbox.program("bin/kubectl", "for word; do echo \"$word\"; done");
    typed(sandbox, line).expect(0).stdout.lines().map(str::to_owned).collect()
}

/// A kubectl that runs the plugin.
fn as_plugin(sandbox: &Sandbox, line: &str) -> Run {
    sandbox.program("bin/kubectl", &format!("shift; exec {BINARY} \"$@\""));
    typed(sandbox, line)
}

#[test]
fn kubectl_is_given_the_kubeconfig_and_the_context_of_the_run() {
    let (sandbox, kubeconfig) = sandbox();
    let dir = sandbox.path("home/a mesh").display().to_string();
    sandbox.run(&["init", "--mesh-id", "shop", "--dir", &dir]).expect(0);
    let topology = format!("mesh_id: shop\ncontexts:\n  \"{CONTEXT}\": {{network: a}}\n");
    fs::write(sandbox.path("home/a mesh/topology.yaml"), topology).unwrap();
    sandbox.good_istioctl();
    let flags = ["--kubeconfig", &kubeconfig, "--context", CONTEXT];
    for command in ["status", "plan", "apply"] {
        let run = sandbox.run(&[command, "--dir", &dir, "--kubeconfig", &kubeconfig]);
        let hints = printed(&run, "kubectl ");
        assert!(!hints.is_empty(), "{command}: {}", run.output());
        for hint in hints {
            assert_eq!(words_of(&sandbox, &hint), [&flags[..], &["version"]].concat(), "{hint}");
        }
    }

    // Without the flag kubectl finds the kubeconfig by itself.
    let mut command = sandbox.command(&["status", "--dir", &dir]);
    command.env("KUBECONFIG", &kubeconfig);
    let hints = printed(&sandbox.end(command), "kubectl ");
    assert_eq!(words_of(&sandbox, &hints[0]), ["--context", CONTEXT, "version"]);
}

#[test]
fn what_is_wrong_in_the_kubeconfig_is_mended_in_that_file() {
    let (sandbox, kubeconfig) = sandbox();
    let dir = sandbox.path("home/a mesh").display().to_string();
    sandbox.run(&["init", "--mesh-id", "shop", "--dir", &dir]).expect(0);
    let file = sandbox.path("home/a mesh/topology.yaml");
    for (topology, end) in [
        ("mesh_id: shop\ncontexts:\n  other: {network: a}\n", "config get-contexts -o name"),
        ("mesh_id: shop\ncontexts:\n", "config get-contexts -o name"),
    ] {
        fs::write(&file, topology).unwrap();
        let run = sandbox.run(&["plan", "--dir", &dir, "--kubeconfig", &kubeconfig]);
        let words = words_of(&sandbox, &printed(&run, "kubectl ")[0]);
        assert_eq!(words[..2], ["--kubeconfig", kubeconfig.as_str()], "{}", run.stderr);
        assert_eq!(words[2..].join(" "), end);
    }
}

#[test]
fn a_mesh_is_made_by_the_hint_that_misses_it() {
    let (sandbox, kubeconfig) = sandbox();
    let dir = sandbox.path("home/my mesh").display().to_string();
    let file = sandbox.path("home/in git/topology.yaml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let topology = file.display().to_string();
    for flags in [&["--dir", &dir][..], &["-f", &topology]] {
        let given = [&["apply", "--kubeconfig", &kubeconfig], flags].concat();
        let hint = printed(&sandbox.run(&given), "kubectl multimesh init").remove(0);
        as_plugin(&sandbox, &hint.replace("<mesh id>", "shop")).expect(0);
    }
    for made in [file, sandbox.path("home/my mesh/topology.yaml")] {
        // The contexts of that kubeconfig are proposed.
        let text = fs::read_to_string(made).unwrap();
        assert!(text.contains("arn:aws:eks"), "{text}");
    }
}

#[test]
fn another_command_is_about_the_same_mesh_clusters_and_istioctl() {
    let (sandbox, kubeconfig) = sandbox();
    let istioctl = sandbox.program("home/my files/istioctl", "exit 1").display().to_string();
    let dir = sandbox.path("home/my mesh").display().to_string();
    let flags = ["--dir", &dir, "--kubeconfig", &kubeconfig, "--istioctl", &istioctl];
    let made = sandbox.run(&[&["init", "--mesh-id", "shop"], &flags[..]].concat()).expect(0);
    let flags = [&flags[..], &["--contexts", CONTEXT]].concat();
    let topology = format!("mesh_id: shop\ncontexts:\n  \"{CONTEXT}\": {{network: a}}\n");
    fs::write(sandbox.path("home/my mesh/topology.yaml"), topology).unwrap();
    let next = printed(&made, "kubectl multimesh apply").remove(0);
    let run = as_plugin(&sandbox, &next).expect(1);
    // So all of them were taken.
    assert!(run.stderr.contains("my files/istioctl"), "{}", run.stderr);

    let refused = sandbox.run(&[&["teardown"], &flags[..]].concat()).expect(64);
    let hints = printed(&refused, "kubectl multimesh teardown");
    assert_eq!(hints.len(), 2, "{}", refused.stderr);
    for hint in hints {
        let run = as_plugin(&sandbox, &hint).expect(1);
        let answer = run.stderr.contains("refused the connection") && run.stderr.contains(CONTEXT);
        assert!(answer, "{hint}: {}", run.stderr);
        let words = words_of(&sandbox, &hint);
        for flag in &flags {
            assert!(words.iter().any(|word| word == flag), "{hint} lacks {flag}");
        }
    }
}
