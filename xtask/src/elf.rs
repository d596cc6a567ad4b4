//! What has to hold of a released Linux binary.

/// The largest that a release binary may be, in megabytes.
pub(crate) const MOST_MEGABYTES: f64 = 10.0;

/// Megabytes of a file of that length.
#[expect(clippy::cast_precision_loss, reason = "megabytes")]
pub(crate) fn megabytes(length: usize) -> f64 {
    length as f64 / 1e6
}

/// Whether a 64-bit ELF file asks for no dynamic linker.
pub(crate) fn is_static(elf: &[u8]) -> bool {
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
        let own = std::fs::read("/bin/sh").expect("a shell");
        assert!(!is_static(&own));
        assert!(!is_static(b"#!/bin/sh"));
    }
}
