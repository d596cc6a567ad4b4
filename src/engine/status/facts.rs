//! A status in a few lines, for the last screen of an apply.

use std::collections::BTreeSet;

use super::model::{Level, MeshStatus, TrustState};

/// How many findings are told there.
const FINDINGS: usize = 5;
/// How many addresses are told there.
const ADDRESSES: usize = 4;

impl MeshStatus {
    /// What holds and what does not yet, a line each.
    pub fn facts(&self) -> Vec<String> {
        let mut facts = vec![self.control_planes(), self.trust_fact(), self.network_fact()];
        let links = self.summary.links;
        if links.expected > 0 {
            facts.push(format!("{} of {} links up", links.up, links.expected));
        }
        let open: Vec<&str> = self
            .findings
            .iter()
            .filter(|finding| finding.level != Level::Note)
            .map(|finding| finding.message.as_str())
            .collect();
        facts.extend(open.iter().take(FINDINGS).map(|text| format!("not yet: {text}")));
        if open.len() > FINDINGS {
            facts.push(format!("not yet: {} more", open.len() - FINDINGS));
        }
        facts
    }

    fn control_planes(&self) -> String {
        let versions: BTreeSet<&str> =
            self.clusters.iter().filter_map(|cluster| cluster.istio.as_deref()).collect();
        let versions: Vec<&str> = versions.into_iter().collect();
        let istio = match versions.as_slice() {
            [] => String::new(),
            versions => format!(" (Istio {})", versions.join(", ")),
        };
        let (ready, all) = (self.summary.control_planes_ready, self.summary.clusters);
        format!("{ready} of {all} control planes ready{istio}")
    }

    fn trust_fact(&self) -> String {
        let good = self.clusters.iter().filter(|c| c.trust.state == TrustState::Ok);
        let (count, all) = (good.clone().count(), self.clusters.len());
        let days = good.filter_map(|cluster| cluster.trust.days_left).min();
        let days =
            days.map_or_else(String::new, |days| format!(", intermediates valid for {days} days"));
        if count == all {
            format!("1 root CA in all clusters{days}")
        } else {
            format!("the mesh's root CA in {count} of {all} clusters{days}")
        }
    }

    fn network_fact(&self) -> String {
        if self.networks.len() < 2 {
            return "1 network, no east-west gateways needed".into();
        }
        let gateways = self.clusters.iter().filter_map(|cluster| cluster.gateway.as_ref());
        let addresses: Vec<&str> =
            gateways.flat_map(|gateway| &gateway.addresses).map(String::as_str).collect();
        let shown = addresses.iter().take(ADDRESSES).copied().collect::<Vec<_>>().join(", ");
        let more = addresses.len().saturating_sub(ADDRESSES);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let networks = self.networks.len();
        if addresses.is_empty() {
            format!("{networks} networks, no gateway has an address")
        } else {
            format!("{networks} networks, gateways at {shown}{more}")
        }
    }
}
