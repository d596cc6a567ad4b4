//! Which clusters a lab has, and where everything of a cluster is found.

use std::fs;
use std::io;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::error::{Doing as _, Error, Result};
use crate::home::RunFolder;
use crate::programs::{part, rename};

/// How many clusters fit into the address plan.
const MOST: u8 = 40;

/// What is written down about a lab.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) clusters: Vec<Member>,
    pub(crate) separated: Vec<[String; 2]>,
    /// Whether a process serves the load balancers.
    pub(crate) balanced: bool,
    /// Counts the clusters that ever were, so that none finds the data of an earlier one.
    generation: u64,
}

/// A cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) number: u8,
    pub(crate) context: String,
    pub(crate) network: String,
    /// Whether it has a node, and not only a control plane.
    pub(crate) node: bool,
    pub(crate) generation: u64,
}

impl State {
    pub(crate) fn load(run: &RunFolder) -> Result<Self> {
        let path = run.state();
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).at("understand", &path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).at("read", &path),
        }
    }

    pub(crate) fn save(&self, run: &RunFolder) -> Result<()> {
        let path = run.state();
        let text = serde_json::to_vec_pretty(self).at("compose", &path)?;
        fs::create_dir_all(run.path()).at("create", run.path())?;
        let part = part(&path);
        fs::write(&part, text).at("write", &part)?;
        rename(&part, &path)
    }

    /// Adds a cluster under the lowest free number.
    pub(crate) fn add(&mut self, context: Option<&str>, node: bool) -> Result<Member> {
        let number = (1..=MOST)
            .find(|number| self.clusters.iter().all(|it| it.number != *number))
            .ok_or_else(|| Error::Refused(format!("a lab holds {MOST} clusters at most")))?;
        let context = context.map_or_else(|| default_context(number), str::to_owned);
        if self.clusters.iter().any(|it| it.context == context) {
            return Err(Error::Refused(format!("the lab has a context {context} already")));
        }
        self.generation += 1;
        let member = Member {
            number,
            context,
            network: default_network(number).to_owned(),
            node,
            generation: self.generation,
        };
        self.clusters.push(member.clone());
        self.clusters.sort_by_key(|it| it.number);
        Ok(member)
    }

    /// Sets whether two networks reach each other; returns whether that is a change.
    pub(crate) fn set_separated(&mut self, one: &str, other: &str, separated: bool) -> bool {
        let mut pair = [one.to_owned(), other.to_owned()];
        pair.sort();
        let before = self.separated.len();
        self.separated.retain(|it| *it != pair);
        let was = self.separated.len() < before;
        if separated {
            self.separated.push(pair);
        }
        was != separated
    }
}

/// The network of a cluster that the lab numbers: the first two are in the east, then they take
/// turns.
pub(crate) fn default_network(number: u8) -> &'static str {
    if number == 1 || number.is_multiple_of(2) { EAST } else { WEST }
}

pub(crate) const EAST: &str = "network-east";
pub(crate) const WEST: &str = "network-west";

/// The context of a cluster that the lab numbers.
fn default_context(number: u8) -> String {
    let network = default_network(number);
    let rank = (1..=number).filter(|it| default_network(*it) == network).count();
    format!("{}-{rank}", network.replace("network", "context"))
}

impl Member {
    /// Whether the lab named it, and not the one who added it.
    pub(crate) fn has_default_context(&self) -> bool {
        self.context == default_context(self.number)
    }

    /// The prefix of the names of its processes.
    pub(crate) fn process(&self, program: &str) -> String {
        format!("c{}.{program}", self.number)
    }

    /// Where its API server listens.
    pub(crate) fn api(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, self.number, 1)
    }

    pub(crate) fn port(&self) -> u16 {
        16440 + u16::from(self.number)
    }

    pub(crate) fn server(&self) -> String {
        format!("https://{}:{}", self.api(), self.port())
    }

    pub(crate) fn node_name(&self) -> String {
        format!("node{}", self.number)
    }

    pub(crate) fn node_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, 0, 10 + self.number)
    }

    /// Where its load balancer listens if that has a host name.
    pub(crate) fn balancer(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, self.number, 2)
    }

    /// All addresses that pods of the cluster may get.
    pub(crate) fn pods(&self) -> String {
        format!("10.{}.0.0/16", 200 + self.number)
    }

    /// The addresses of the pods of its only node.
    pub(crate) fn node_pods(&self) -> String {
        format!("10.{}.0.0/24", 200 + self.number)
    }

    pub(crate) fn services(&self) -> String {
        format!("10.{}.0.0/16", 100 + self.number)
    }

    /// The address of the service `kubernetes`.
    pub(crate) fn first_service(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 100 + self.number, 0, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_named_after_their_networks() {
        let mut state = State::default();
        let contexts: Vec<_> =
            (1..=6).map(|_| state.add(None, true).expect("a cluster").context).collect();
        assert_eq!(
            contexts.join(" "),
            "context-east-1 context-east-2 context-west-1 context-east-3 context-west-2 \
             context-east-4"
        );
        assert_eq!(state.clusters[2].network, WEST);
    }

    #[test]
    fn a_freed_number_is_used_again_with_fresh_data() {
        let mut state = State::default();
        let first = state.add(Some("plane-1"), false).expect("a cluster");
        state.add(Some("plane-2"), false).expect("a cluster");
        assert!(state.add(Some("plane-2"), false).is_err());
        state.clusters.retain(|it| it.number != first.number);
        let again = state.add(Some("plane-3"), false).expect("a cluster");
        assert_eq!(again.number, first.number);
        assert_ne!(again.generation, first.generation);
        for _ in 0..MOST - 2 {
            state.add(None, false).expect("a cluster");
        }
        assert!(state.add(None, false).is_err());
    }

    #[test]
    fn a_pair_of_networks_is_the_same_in_both_orders() {
        let mut state = State::default();
        assert!(state.set_separated(EAST, WEST, true));
        assert!(!state.set_separated(WEST, EAST, true));
        assert!(state.set_separated(WEST, EAST, false));
        assert!(state.separated.is_empty());
    }
}
