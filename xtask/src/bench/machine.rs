//! What the figures were measured on and with.

use std::fs;
use std::process::Command;
use std::thread;

use serde_json::{Value, json};

use super::ground::Tools;
use super::measure;
use crate::say::say;

/// The machine and the versions of what runs on it.
pub(super) fn facts(tools: &Tools) -> Result<Value, String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':'))
            .map_or_else(String::new, |(_, value)| value.trim().to_owned())
    };
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let memory: u64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
    let load = read("/proc/loadavg");
    let load: f64 = load.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or_default();
    if load > 0.5 {
        say(&format!("the machine is busy (load {load}): the figures will be rough"));
    }
    let json = |program: &str, words: &[&str]| {
        let sample = measure::run(Command::new(tools.bin.join(program)).args(words))?;
        serde_json::from_str::<Value>(&sample.stdout).map_err(|e| format!("{program}: {e}"))
    };
    let kubectl = json("kubectl", &["version", "--client", "-o", "json"])?;
    let istioctl = json("istioctl", &["version", "--remote=false", "-o", "json"])?;
    let tool = measure::run(Command::new(&tools.tool).arg("--version"))?.stdout;
    let rustc = measure::run(Command::new("rustc").arg("--version"))?.stdout;
    Ok(json!({
        "cores": cores,
        "processor": field(&read("/proc/cpuinfo"), "model name"),
        "memory_gib": memory.div_ceil(1024 * 1024),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load_before": load,
        "tool": tool.split_whitespace().last(),
        "rustc": rustc.trim(),
        "kubernetes": kubectl["clientVersion"]["gitVersion"],
        "istio": istioctl["clientVersion"]["version"],
        "runs": tools.runs,
    }))
}
