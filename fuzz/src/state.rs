//! `state.yaml`.

use std::path::Path;

use multimesh::engine::state::State;

use super::said;

/// Reads `data` as the record of a mesh.
pub fn check(data: &[u8]) {
    let Ok(content) = str::from_utf8(data) else { return };
    let file = Path::new("mesh/state.yaml");
    let result = State::parse(content, file);
    match &result {
        Ok(state) => {
            let written = state.text(file).unwrap_or_else(|failure| panic!("{failure}"));
            assert_eq!(State::parse(&written, file).as_ref(), Ok(state), "{written}");
        }
        Err(failure) => {
            said::error(&failure.message, failure.hints.first().map(String::as_str), file);
        }
    }
    assert_eq!(State::parse(content, file), result, "two readings of one file");
}
