//! What an apply needs beyond a valid topology, as far as it is known before a cluster is asked.

use super::local::{Local, Site, read_for};
use super::trust;
use crate::error::Failure;
use crate::istio::base::Base;
use crate::istio::remote_secret::is_loopback;
use crate::pki::Certificate;
use crate::topology::Member;

/// Checks addresses, files and the root CA; gives the user's operator.
pub fn check(local: &Local) -> Result<Base, Failure> {
    check_peer_servers(local)?;
    local.sites.iter().try_for_each(|site| check_ca(&site.member))?;
    trust::check_root(local)?;
    local.base()
}

/// Refuses API servers that only this machine can reach, as peers would have to.
fn check_peer_servers(local: &Local) -> Result<(), Failure> {
    let joined: Vec<&Site> = local.sites.iter().filter(|s| s.member.registry_join).collect();
    if joined.len() < 2 {
        return Ok(());
    }
    let Some(site) = joined.iter().find(|site| is_loopback(site.peer_server())) else {
        return Ok(());
    };
    Err(Failure::new(format!(
        "`{}`: its API server is at {}, which the other clusters cannot reach",
        site.context(),
        site.peer_server()
    ))
    .hint(format!(
        "give the address that they can use: `server: https://<address>:<port>` under `{}` in {}",
        site.context(),
        local.home.topology.display()
    )))
}

/// Checks the certificates that a context names for its API server.
fn check_ca(member: &Member) -> Result<(), Failure> {
    let Some(path) = &member.ca else { return Ok(()) };
    let text = read_for(member, "ca", path)?;
    let checked = Certificate::all_from_pem(&text).map_err(|error| {
        Failure {
            excerpt: Some(member.place_of("ca").clone()),
            ..Failure::new(format!("`{}`: `{}`: {error}", member.context, path.display()))
        }
        .hint("it has to hold the certificates that signed the API server's, in PEM")
    });
    checked.map(|_| ())
}
