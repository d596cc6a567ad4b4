//! What has to hold of a released binary.

use object::read::elf::ProgramHeader as _;
use object::{File, Object as _, ObjectSection as _, elf};

/// The largest that the release binary for Linux on `x86_64` may be, in megabytes.
pub(crate) const MOST_MEGABYTES: f64 = 10.0;

/// Megabytes of a file of that length.
#[expect(clippy::cast_precision_loss, reason = "megabytes")]
pub(crate) fn megabytes(length: usize) -> f64 {
    length as f64 / 1e6
}

/// Fails unless a binary is stripped, and needs no library but those of its system: on Linux none
/// at all. What is found ends a sentence that names the binary.
pub(crate) fn check(binary: &[u8]) -> Result<(), String> {
    let file = File::parse(binary).map_err(|error| format!("is no program: {error}"))?;
    // On macOS the dynamic linker needs some symbols.
    if !matches!(file, File::MachO64(_)) && file.symbols().next().is_some() {
        return Err("is not stripped: it has a symbol table".into());
    }
    for section in file.sections() {
        let name = section.name().map_err(|e| e.to_string())?;
        if name.contains("debug") {
            return Err(format!("is not stripped: it has the section `{name}`"));
        }
    }
    if let File::Elf64(file) = &file {
        let mut headers = file.elf_program_headers().iter();
        if headers.any(|it| it.p_type(file.endian()) == elf::PT_INTERP) {
            return Err("is not linked statically".into());
        }
    }
    for import in file.imports().map_err(|e| e.to_string())? {
        let library = String::from_utf8_lossy(import.library());
        let systems = match &file {
            File::Pe64(_) => !library.starts_with("lib"),
            File::MachO64(_) => ["/usr/lib/", "/System/"].iter().any(|it| library.starts_with(it)),
            _ => false,
        };
        if !systems {
            return Err(format!("needs the library `{library}`"));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A 64-bit ELF file of that length with one program header of that kind, and nothing else.
    pub(crate) fn elf_file(length: usize, kind: u8) -> Vec<u8> {
        let mut elf = vec![0; length];
        elf[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        (elf[16], elf[18], elf[20]) = (2, 62, 1);
        (elf[32], elf[52], elf[54], elf[56], elf[64]) = (64, 64, 56, 1, kind);
        elf
    }

    /// A 64-bit PE file with one section of that name, and a table of so many symbols.
    fn pe_file(section: &[u8], symbols: u8) -> Vec<u8> {
        let mut pe = vec![0; 512];
        pe[..2].copy_from_slice(b"MZ");
        pe[60] = 64;
        pe[64..72].copy_from_slice(b"PE\0\0\x64\x86\x01\0");
        (pe[77], pe[80], pe[84]) = (1, symbols, 112);
        (pe[88], pe[89]) = (0x0b, 0x02);
        pe[200..200 + section.len()].copy_from_slice(section);
        pe
    }

    #[test]
    fn a_program_with_an_interpreter_is_not_static() {
        assert_eq!(check(&elf_file(200, 1)), Ok(()));
        assert_eq!(check(&elf_file(200, 3)), Err("is not linked statically".into()));
        let error = check(b"#!/bin/sh").unwrap_err();
        assert!(error.starts_with("is no program"), "{error}");
    }

    #[test]
    fn a_program_for_a_debugger_is_not_stripped() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let error = check(&own).unwrap_err();
        assert!(error.starts_with("is not stripped"), "{error}");
        assert_eq!(check(&pe_file(b".text", 0)), Ok(()));
        let error = check(&pe_file(b".text", 1)).unwrap_err();
        assert_eq!(error, "is not stripped: it has a symbol table");
        let error = check(&pe_file(b".debug_i", 0)).unwrap_err();
        assert_eq!(error, "is not stripped: it has the section `.debug_i`");
    }
}
