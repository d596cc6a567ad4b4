//! Keeps the pods of separated networks apart.

use crate::error::Result;
use crate::namespace::Namespace;
use crate::state::State;

const CHAIN: &str = "LAB-NETWORKS";

/// Makes the rules those of the state.
pub(crate) fn apply(space: Namespace, state: &State) -> Result<()> {
    let table = |words: &[&str]| {
        let words = [&["iptables", "--wait"], words].concat();
        space.run(&words)
    };
    if table(&["-n", "--list", CHAIN]).is_err() {
        table(&["--new-chain", CHAIN])?;
    }
    if table(&["--check", "FORWARD", "--jump", CHAIN]).is_err() {
        table(&["--insert", "FORWARD", "--jump", CHAIN])?;
    }
    table(&["--flush", CHAIN])?;
    for (from, to) in apart(state) {
        table(&["-A", CHAIN, "-s", &from, "-d", &to, "-j", "REJECT"])?;
    }
    Ok(())
}

/// Source and destination of all traffic that is not let through.
fn apart(state: &State) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for [one, other] in &state.separated {
        for a in state
            .clusters
            .iter()
            .filter(|it| it.node && it.network == *one)
        {
            for b in state
                .clusters
                .iter()
                .filter(|it| it.node && it.network == *other)
            {
                pairs.push((a.pods(), b.pods()));
                pairs.push((b.pods(), a.pods()));
            }
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{EAST, WEST};

    #[test]
    fn pods_are_kept_apart_both_ways() {
        let mut state = State::default();
        for _ in 0..3 {
            state.add(None, true).expect("a cluster");
        }
        assert!(apart(&state).is_empty());
        state.set_separated(EAST, WEST, true);
        let pairs = apart(&state);
        assert_eq!(pairs.len(), 4);
        for pair in [
            ("10.201.0.0/16", "10.203.0.0/16"),
            ("10.203.0.0/16", "10.202.0.0/16"),
        ] {
            assert!(pairs.contains(&(pair.0.into(), pair.1.into())));
        }
    }
}
