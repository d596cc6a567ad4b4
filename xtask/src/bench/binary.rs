//! The binary by itself: how large it is, and how soon it answers.

use std::fs;
use std::process::Command;

use super::ground::Tools;
use super::measure;
use super::report::Row;

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
    if !is_static(&bytes) {
        return Err(format!("{} is not linked statically", tools.tool.display()));
    }
    #[expect(clippy::cast_precision_loss, reason = "megabytes")]
    let size = bytes.len() as f64 / 1e6;
    Ok(vec![Row::figure("binary", "release binary, static, stripped", (size, "MB"), 10.0)])
}

/// Whether a 64-bit ELF file asks for no dynamic linker.
fn is_static(elf: &[u8]) -> bool {
    const INTERPRETER: u32 = 3;
    let number = |at: usize, length: usize| {
        let bytes = elf.get(at..at + length).unwrap_or_default();
        bytes.iter().rev().fold(0, |sum: usize, byte| sum << 8 | usize::from(*byte))
    };
    let (start, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    let mut kinds = (0..count).map(|index| number(start + index * size, 4));
    elf.starts_with(b"\x7fELF\x02\x01") && count > 0 && kinds.all(|it| it != INTERPRETER as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_an_interpreter_is_not_static() {
        let own = fs::read("/bin/sh").expect("a shell");
        assert!(!is_static(&own));
        assert!(!is_static(b"#!/bin/sh"));
    }
}
