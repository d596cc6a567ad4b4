//! The binary by itself: how large it is, and how soon it answers.

use std::fs;
use std::process::Command;

use super::ground::Tools;
use super::measure;
use super::report::{self, Row};
use crate::elf::{MOST_MEGABYTES, is_static, megabytes};

/// How often the binary starts for each run that is asked for.
const STARTS: usize = 10;
/// The contexts of a kubeconfig that is large.
const CONTEXTS: usize = 2000;
/// The most milliseconds that a press of TAB may take.
const PATIENCE: f64 = 50.0;

/// Measures its start beside that of kubectl.
pub(super) fn start(tools: &Tools) -> Result<Vec<Row>, String> {
    let kubectl = tools.bin.join("kubectl");
    let (mut version, mut help, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..STARTS * tools.runs {
        version.push(measure::run(Command::new(&tools.tool).arg("--version"))?.seconds);
        theirs.push(measure::run(Command::new(&kubectl).args(["version", "--client"]))?.seconds);
        help.push(measure::run(Command::new(&tools.tool).arg("--help"))?.seconds);
    }
    let row = |what: &str, ours: &[f64]| {
        Row::ratio("start", what, "`kubectl version --client`", (ours, &theirs), 0.2)
    };
    Ok(vec![row("`--version`", &version), row("`--help`", &help), completion(tools)?])
}

/// Measures the answer to a press of TAB, as kubectl asks for it, among many contexts.
fn completion(tools: &Tools) -> Result<Row, String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let (kubeconfig, link) =
        (dir.path().join("config"), dir.path().join("kubectl_complete-multimesh"));
    let text = kubeconfig_of(CONTEXTS);
    let size = megabytes(text.len());
    fs::write(&kubeconfig, text).map_err(|e| e.to_string())?;
    std::os::unix::fs::symlink(&tools.tool, &link).map_err(|e| e.to_string())?;
    let mut series = Vec::new();
    for _ in 0..STARTS * tools.runs {
        let mut tab = Command::new(&link);
        tab.args(["plan", "--contexts", ""]).env("KUBECONFIG", &kubeconfig);
        tab.env_remove("MESH_ID").env_remove("WORKDIR");
        let sample = measure::run(tab.env("MULTIMESH_HOME", dir.path().join("none")))?;
        let choices = sample.stdout.lines().count() - 1;
        if choices != CONTEXTS {
            return Err(format!("{choices} contexts were offered, of {CONTEXTS}"));
        }
        series.push(sample.seconds);
    }
    let what = format!("completion of a context among {CONTEXTS}, kubeconfig of {size:.1} MB");
    let figure = (report::median(&series) * 1e3, "ms");
    Ok(Row::figure("start", what, figure, PATIENCE).seen(series))
}

/// A kubeconfig as kubectl writes it, with certificates of the usual size.
fn kubeconfig_of(contexts: usize) -> String {
    let data = "LS0tLS1CRUdJTiBD".repeat(96);
    let entries = |entry: &dyn Fn(usize) -> String| (0..contexts).map(entry).collect::<String>();
    let clusters = entries(&|n| {
        format!(
            "- cluster:\n    certificate-authority-data: {data}\n    \
             server: https://cluster-{n}.example.com:6443\n  name: cluster-{n}\n"
        )
    });
    let users = entries(&|n| {
        format!(
            "- name: user-{n}\n  user:\n    client-certificate-data: {data}\n    client-key-data: {data}\n"
        )
    });
    let contexts = entries(&|n| {
        format!("- context:\n    cluster: cluster-{n}\n    user: user-{n}\n  name: context-{n}\n")
    });
    format!(
        "apiVersion: v1\nclusters:\n{clusters}contexts:\n{contexts}current-context: context-0\nkind: Config\n\
         preferences: {{}}\nusers:\n{users}"
    )
}

/// Measures its size.
pub(super) fn size(tools: &Tools) -> Result<Vec<Row>, String> {
    let bytes = fs::read(&tools.tool).map_err(|e| e.to_string())?;
    if !is_static(&bytes) {
        return Err(format!("{} is not linked statically", tools.tool.display()));
    }
    let size = (megabytes(bytes.len()), "MB");
    Ok(vec![Row::figure("binary", "release binary, static, stripped", size, MOST_MEGABYTES)])
}
