//! Several files in one.

/// Parts one file from the next.
pub const NEXT: &str = "=====NEXT=====\n";

/// What stands between the separators.
pub fn parts(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let data = rest?;
        let separator = NEXT.as_bytes();
        let at = data.windows(separator.len()).position(|window| window == separator);
        let (part, tail) = match at {
            Some(at) => (&data[..at], Some(&data[at + separator.len()..])),
            None => (data, None),
        };
        rest = tail;
        Some(part)
    })
}
