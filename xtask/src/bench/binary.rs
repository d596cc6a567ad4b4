//! The binary by itself: how large it is, and how soon it answers.

use std::fs;
use std::process::Command;

use super::ground::Tools;
use super::measure;
use super::report::Row;
use crate::binary::{MOST_MEGABYTES, check, megabytes};

/// How often the binary starts for each run that is asked for.
const STARTS: usize = 10;

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
    Ok(vec![row("`--version`", &version), row("`--help`", &help)])
}

/// Measures its size.
pub(super) fn size(tools: &Tools) -> Result<Vec<Row>, String> {
    let bytes = fs::read(&tools.tool).map_err(|e| e.to_string())?;
    check(&bytes).map_err(|fault| format!("{} {fault}", tools.tool.display()))?;
    let size = (megabytes(bytes.len()), "MB");
    Ok(vec![Row::figure("binary", "release binary, static, stripped", size, MOST_MEGABYTES)])
}
