//! The addresses that a topology may hold: API servers, proxies, gateways.

use std::net::{IpAddr, Ipv6Addr};

use super::model::{GATEWAY_PORT, GatewayAddress, GatewayHost};
use super::source::end_of_credentials;

/// Why an address cannot be used, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadAddress {
    pub(crate) reason: String,
    pub(crate) hint: Option<String>,
}

fn bad<T>(reason: impl Into<String>, hint: Option<String>) -> Result<T, BadAddress> {
    Err(BadAddress { reason: reason.into(), hint })
}

/// A host and its port, if it has one.
type HostPort = (GatewayHost, Option<u16>);

/// The URL of an API server: `https`, a host that other clusters can reach, no credentials.
/// `proxied` says that a proxy opens the connection, to which a loopback address is its own.
pub(crate) fn server_url(text: &str, proxied: bool) -> Result<String, BadAddress> {
    let Some((scheme, rest)) = text.split_once("://") else {
        let hint = host_port(text).ok().map(|_| format!("write `https://{text}`"));
        return bad("it is no URL", hint);
    };
    if !scheme.eq_ignore_ascii_case("https") {
        return bad(
            format!("`{scheme}` is no protocol for an API server, tokens are sent there"),
            Some("write a URL that starts with `https://`".to_owned()),
        );
    }
    let (host, _) = url_host(rest)?;
    if is_loopback(&host) && !proxied {
        return bad(
            format!("`{host}` is every machine's own address, other clusters cannot reach it"),
            Some("write an address of the API server that the other clusters can reach".to_owned()),
        );
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// The URL of a proxy, of the kinds that Kubernetes clients speak (client-go, `proxy-url`).
pub(crate) fn proxy_url(text: &str) -> Result<String, BadAddress> {
    let Some((scheme, rest)) = text.split_once("://") else {
        let hint = host_port(text).ok().map(|_| format!("write `http://{text}`"));
        return bad("it is no URL", hint);
    };
    if !["http", "https", "socks5"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return bad(
            format!("`{scheme}` is no kind of proxy that Kubernetes clients know"),
            Some("write a URL that starts with `http://`, `https://` or `socks5://`".to_owned()),
        );
    }
    url_host(rest)?;
    Ok(text.to_owned())
}

/// An IP address or host name with an optional port.
pub(crate) fn gateway(text: &str) -> Result<GatewayAddress, BadAddress> {
    if let Some((_, rest)) = text.split_once("://") {
        let rest = rest.trim_end_matches('/');
        let hint = host_port(rest).ok().map(|_| format!("write `{rest}`"));
        return bad("a gateway is a host, not a URL", hint);
    }
    let (host, port) = host_port(text)?;
    if is_loopback(&host) {
        return bad(
            format!("`{host}` is every machine's own address, other networks cannot reach it"),
            None,
        );
    }
    Ok(GatewayAddress { host, port: port.unwrap_or(GATEWAY_PORT) })
}

/// A host name or an IP address without a port.
pub(crate) fn host(text: &str) -> Result<String, BadAddress> {
    match host_port(text)? {
        (host, None) => Ok(host.to_string()),
        (host, Some(_)) => bad("it has a port", Some(format!("write `{host}`"))),
    }
}

/// The host of what follows `://` in a URL.
fn url_host(rest: &str) -> Result<HostPort, BadAddress> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    if authority.contains('@') || end_of_credentials(rest).is_some() {
        return bad(
            "it holds credentials, and a topology file is no place for secrets",
            Some("take out what is before the `@`".to_owned()),
        );
    }
    if tail.contains(['?', '#']) || tail.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return bad("only a path may follow the host", None);
    }
    host_port(authority)
}

fn host_port(text: &str) -> Result<HostPort, BadAddress> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok((GatewayHost::Ip(ip), None));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (ip, port) = match rest.split_once(']') {
            Some((ip, "")) => (ip, None),
            Some((ip, port)) => (ip, port.strip_prefix(':').map(parse_port).transpose()?),
            None => return bad("the bracket is not closed", None),
        };
        return match ip.parse::<Ipv6Addr>() {
            Ok(ip) if rest.ends_with(']') || port.is_some() => {
                Ok((GatewayHost::Ip(ip.into()), port))
            }
            _ => bad("it is no IPv6 address in brackets", None),
        };
    }
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(parse_port(port)?)),
        None => (text, None),
    };
    if let Ok(ip) = name.parse::<IpAddr>() {
        return Ok((GatewayHost::Ip(ip), port));
    }
    if !is_host_name(name) {
        return bad("it is neither an IP address nor a host name", None);
    }
    Ok((GatewayHost::Name(name.to_ascii_lowercase()), port))
}

fn parse_port(text: &str) -> Result<u16, BadAddress> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
        _ => bad(format!("`{}` is no port", super::label::shortened(text)), None),
    }
}

/// RFC 1123, with a dot at the end allowed. A name whose last part is a number is refused: it is
/// a mistyped IP address.
fn is_host_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last_is_number =
        name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    (1..=253).contains(&name.len()) && name.split('.').all(label) && !last_is_number
}

fn is_loopback(host: &GatewayHost) -> bool {
    match host {
        GatewayHost::Ip(ip) => {
            let ip = ip.to_canonical();
            ip.is_loopback() || ip.is_unspecified()
        }
        GatewayHost::Name(name) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(result: Result<impl std::fmt::Debug, BadAddress>) -> Option<String> {
        result.unwrap_err().hint
    }

    #[test]
    fn a_server_is_an_https_url_that_peers_can_reach() {
        for good in ["https://10.0.0.1:6443", "https://[fd00::1]:6443", "https://a.b/k8s/c-1"] {
            assert_eq!(server_url(good, false).unwrap(), good);
        }
        assert_eq!(server_url("https://a.b/", false).unwrap(), "https://a.b");
        assert_eq!(
            hint(server_url("10.0.0.1:6443", false)).unwrap(),
            "write `https://10.0.0.1:6443`"
        );
        assert!(hint(server_url("http://a.b", false)).unwrap().contains("https://"));
        assert!(server_url("https://bob:pw@a.b", false).unwrap_err().reason.contains("secrets"));
        for bad in ["https://", "https://a b", "https://a:0", "https://a?x", "https://999.1.1.1"] {
            assert!(server_url(bad, false).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_loopback_server_is_refused_unless_a_proxy_opens_the_connection() {
        for own in ["127.0.0.1", "127.9.9.9", "localhost", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]"]
        {
            let url = format!("https://{own}:6443");
            assert!(server_url(&url, false).unwrap_err().reason.contains("own address"), "{url}");
            assert!(server_url(&url, true).is_ok(), "{url}");
        }
    }

    #[test]
    fn proxies_are_of_the_kinds_that_clients_speak() {
        for good in ["http://p:3128", "https://p", "socks5://10.0.0.1:1080"] {
            assert_eq!(proxy_url(good).unwrap(), good);
        }
        assert_eq!(hint(proxy_url("p:3128")).unwrap(), "write `http://p:3128`");
        assert!(proxy_url("ftp://p").is_err());
        for url in ["http://bob:s3cret@p", "http://bob:s3cret/x@p", "http://bob:s3cret/@p"] {
            let secret = proxy_url(url).unwrap_err();
            assert!(!format!("{secret:?}").contains("s3cret"), "{secret:?}");
        }
    }

    #[test]
    fn gateways_are_addresses_or_names_with_an_optional_port() {
        for (text, shown) in [
            ("10.0.0.1", "10.0.0.1:15443"),
            ("10.0.0.1:443", "10.0.0.1:443"),
            ("fd00::1", "[fd00::1]:15443"),
            ("[fd00::1]:443", "[fd00::1]:443"),
            ("GW.example.com", "gw.example.com:15443"),
            ("gw.example.com:9", "gw.example.com:9"),
        ] {
            assert_eq!(gateway(text).unwrap().to_string(), shown);
        }
        assert_eq!(hint(gateway("https://gw:443/")).unwrap(), "write `gw:443`");
        for bad in [
            "",
            ":1",
            "a_b",
            "gw:",
            "gw:+1",
            "gw:70000",
            "[fd00::1",
            "[x]:1",
            "10.0.0",
            "::1",
            "[fd00::1]x",
        ] {
            assert!(gateway(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tls_server_name_has_no_port() {
        assert_eq!(host("api.example.com").unwrap(), "api.example.com");
        assert_eq!(hint(host("api.example.com:6443")).unwrap(), "write `api.example.com`");
    }
}
