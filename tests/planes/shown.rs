//! The commands of other programs that hints name: the real programs know them.

use std::process::Command;

use crate::live::lab;
use crate::verbs::{ISTIOCTL, KUBECTL};

#[test]
fn kubectl_and_istioctl_know_what_hints_ask_of_them() {
    let bin = lab().bin();
    for (program, verbs) in [("kubectl", KUBECTL), ("istioctl", ISTIOCTL)] {
        let told = |words: &[&str]| {
            let output = Command::new(bin.join(program)).args(words).output().unwrap();
            assert!(output.status.success(), "{program} {words:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        let mut everywhere = vec!["--kubeconfig", "--context"];
        if program == "kubectl" {
            let options = told(&["options"]);
            everywhere.push("-n");
            for flag in everywhere.drain(..) {
                assert!(has(&options, flag), "kubectl has no {flag}: {options}");
            }
        }
        for (verb, flags) in verbs {
            let words: Vec<&str> = verb.split(' ').chain(["--help"]).collect();
            let help = told(&words);
            assert!(help.contains(&format!("{program} {verb}")), "{verb}: {help}");
            for flag in flags.iter().chain(&everywhere).filter(|flag| **flag != "--help") {
                assert!(has(&help, flag), "{program} {verb} has no {flag}: {help}");
            }
        }
    }
}

/// Whether a help lists a flag, as in `  -o, --output=''` or `      --purge`.
fn has(help: &str, flag: &str) -> bool {
    let words = || help.lines().flat_map(|line| line.split_whitespace().take(2));
    words().any(|word| word.split(['=', ',', ':']).next() == Some(flag))
}
