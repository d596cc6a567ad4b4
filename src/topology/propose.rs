//! The first `topology.yaml` and `base.yaml` of a mesh, for its owner to edit.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use super::label::{ContextName, MeshId};
use super::names::distinct;
use super::source::mask_credentials;

/// A context of the kubeconfig that could be a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub context: ContextName,
    /// The URL of its API server.
    pub server: Option<String>,
}

/// The column in which remarks begin.
const REMARK: usize = 44;

const HEAD: &str = "\
# The clusters of one Istio mesh. Un-comment the contexts that belong to it (take `# ` from their
# lines), check their networks, then run `kubectl multimesh apply`.
#
# `contexts` lists contexts of your kubeconfig. Each may have these keys:
#   network                clusters of one network reach each other's pods directly, the others
#                          through gateways; `default` if it is left out
#   cluster                name of the cluster in Istio; taken from the context if it is left out
#   namespace              where Istio runs; `istio-system` if it is left out
#   serviceAccountReader   account that the other clusters read this one with;
#                          `istio-reader-service-account` if it is left out
#   disableRegistryJoin    `true` leaves the cluster out of service discovery
#   server, tls_server_name, proxy_url, ca
#                          how the other clusters reach this API server, where that differs from
#                          your kubeconfig: URL, name in its certificate, proxy, PEM file
#   gateway                address of the gateway between networks, where others see another one
#   overlay                an IstioOperator file with what differs from base.yaml in this cluster
#   control_plane          `managed`, or `existing` if somebody else installs Istio there
";

const EXAMPLE: &str = "  \
  # context-east-1:
  #   network: network-east
  # context-east-2:
  #   network: network-east
  # context-west-1:
  #   network: network-west
";

const BASE: &str = "\
# What `istioctl` installs in every cluster of the mesh. A cluster that needs something else names
# a file of this kind as its `overlay` in topology.yaml.
#
# These come from topology.yaml and may not be set here:
#   values.global.meshID                      `mesh_id`
#   values.global.multiCluster.clusterName    `cluster` of a context
#   values.global.network                     `network` of a context
#   values.global.meshNetworks                `gateway` of a context
#   values.global.istioNamespace, namespace   `namespace` of a context
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
spec:
  profile: minimal  # the control plane alone; gateways between networks are added as needed
  # meshConfig:
  #   accessLogFile: /dev/stdout
  # components:
  #   pilot:
  #     k8s:
  #       replicaCount: 2
";

/// The text of a fresh `topology.yaml`: every context as a commented entry, with the name that its
/// cluster would get and its network where the context or the API server's address suggests one;
/// the seed's example if there are no contexts.
pub fn topology_text(mesh_id: &MeshId, candidates: &[Candidate]) -> String {
    let mut text = format!("{HEAD}mesh_id: {}\n\ncontexts:\n", scalar(mesh_id.as_str()));
    if candidates.is_empty() {
        text.push_str(EXAMPLE);
        return text;
    }
    let contexts: Vec<_> = candidates.iter().map(|candidate| &candidate.context).collect();
    let names = distinct(&contexts, BTreeSet::new());
    for ((candidate, name), network) in candidates.iter().zip(names).zip(networks(candidates)) {
        let server = candidate.server.as_deref().map(shown).unwrap_or_default();
        line(&mut text, &format!("  # {}:", scalar(candidate.context.as_str())), &server);
        line(&mut text, &format!("  #   cluster: {}", scalar(name.as_str())), "");
        match network {
            Some((network, reason)) => {
                line(&mut text, &format!("  #   network: {}", scalar(&network)), &reason);
            }
            None => line(&mut text, "  #   # network: network-1", ""),
        }
    }
    text
}

/// The text of a fresh `base.yaml`.
pub fn base_text() -> &'static str {
    BASE
}

fn line(text: &mut String, content: &str, remark: &str) {
    let written = if remark.is_empty() {
        writeln!(text, "{content}")
    } else {
        writeln!(text, "{content:REMARK$}  # {remark}")
    };
    debug_assert!(written.is_ok(), "a String takes all that is written to it");
}

/// A server's URL as a remark: on one line, without credentials.
fn shown(server: &str) -> String {
    let clean: String = server.chars().filter(char::is_ascii_graphic).collect();
    mask_credentials(&clean)
}

/// `text` so that every reader of YAML takes it for text.
fn scalar(text: &str) -> String {
    const WORDS: &[&str] = &["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./@".contains(&b))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if plain {
        return text.to_owned();
    }
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_alphanumeric() || c == ' ' || c.is_ascii_graphic() => quoted.push(c),
            c => quoted.extend(format!("\\U{:08x}", u32::from(c)).chars()),
        }
    }
    quoted.push('"');
    quoted
}

/// Where a cluster is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Location {
    /// A region of a cloud, within an account or project if that is known.
    Region { account: String, region: String },
    /// The first two bytes of its API server's private address.
    Private(u8, u8),
}

/// The network of each candidate and the reason for the guess. Where it may be wrong it splits
/// rather than joins: a gateway too many works, a missing one does not.
fn networks(candidates: &[Candidate]) -> Vec<Option<(String, String)>> {
    let locations: Vec<_> = candidates.iter().map(location).collect();
    let mut accounts: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for location in locations.iter().flatten() {
        if let Location::Region { account, region } = location {
            accounts.entry(region).or_default().insert(account);
        }
    }
    let name = |location: &Location| match location {
        Location::Region { account, region } => {
            let shared = accounts.get(region.as_str()).is_some_and(|all| all.len() > 1);
            let suffix =
                if shared && !account.is_empty() { format!("-{account}") } else { String::new() };
            (format!("network-{region}{suffix}"), format!("guessed: region {region}"))
        }
        Location::Private(a, b) => {
            (format!("network-{a}-{b}"), format!("guessed: API server in {a}.{b}.0.0/16"))
        }
    };
    locations.iter().map(|location| location.as_ref().map(name)).collect()
}

fn location(candidate: &Candidate) -> Option<Location> {
    cloud(candidate.context.as_str())
        .filter(|(_, region)| is_word(region))
        .map(|(account, region)| Location::Region {
            account: if is_word(&account) { account } else { String::new() },
            region,
        })
        .or_else(|| private(candidate.server.as_deref()?))
}

fn is_word(text: &str) -> bool {
    (1..=30).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Account and region of the contexts that the tools of EKS and GKE write.
fn cloud(context: &str) -> Option<(String, String)> {
    if let ["arn", _, "eks", region, account, ..] =
        context.split(':').collect::<Vec<_>>().as_slice()
    {
        return Some(((*account).to_owned(), (*region).to_owned()));
    }
    if let Some(rest) = context.strip_suffix(".eksctl.io") {
        let (_, region) = rest.rsplit_once('.')?;
        return Some((String::new(), region.to_owned()));
    }
    let (project, rest) = context.strip_prefix("gke_")?.split_once('_')?;
    let (place, _) = rest.split_once('_')?;
    let region = match place.rsplit_once('-') {
        Some((region, zone)) if zone.len() == 1 && region.contains('-') => region,
        _ => place,
    };
    Some((project.to_owned(), region.to_owned()))
}

fn private(server: &str) -> Option<Location> {
    let (_, rest) = server.split_once("://")?;
    let host = rest.split(['/', ':']).next()?;
    let ip: Ipv4Addr = host.parse().ok()?;
    let [a, b, ..] = ip.octets();
    ip.is_private().then_some(Location::Private(a, b))
}

#[cfg(test)]
mod tests;
