//! Which proxy leads to an API server.
//!
//! `proxy-url` of the kubeconfig wins; else the environment decides as for kubectl (Go's
//! golang.org/x/net/http/httpproxy), except that an address that makes no sense is an error.

use std::net::IpAddr;

use http::Uri;

use super::context::Context;
use super::error::{Error, ProxySource};

/// The environment variables that name proxies. Empty values count as unset.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProxyVariables {
    /// `HTTPS_PROXY` or `https_proxy`: for servers with the scheme `https`.
    pub https_proxy: Option<String>,
    /// `HTTP_PROXY` or `http_proxy`: for servers with the scheme `http`.
    pub http_proxy: Option<String>,
    /// `NO_PROXY` or `no_proxy`: hosts, domains, addresses and CIDR blocks that are reached
    /// directly, separated by commas; `*` is all.
    pub no_proxy: Option<String>,
}

impl ProxyVariables {
    /// The variables of this process; of two spellings the upper-case one wins.
    pub fn of_process() -> Self {
        let any = |names: [&str; 2]| {
            names
                .iter()
                .filter_map(|name| std::env::var(name).ok())
                .find(|value| !value.trim().is_empty())
        };
        Self {
            https_proxy: any(["HTTPS_PROXY", "https_proxy"]),
            http_proxy: any(["HTTP_PROXY", "http_proxy"]),
            no_proxy: any(["NO_PROXY", "no_proxy"]),
        }
    }
}

/// The proxy for `server`, or `None` for a direct connection.
pub(super) fn select(
    context: &Context,
    cluster: &str,
    server: &Uri,
    configured: Option<&str>,
    variables: &ProxyVariables,
) -> Result<Option<Uri>, Error> {
    let invalid = |source_of_proxy: ProxySource, reason: &str| Error::InvalidProxy {
        context: context.clone(),
        source_of_proxy,
        reason: reason.to_owned(),
    };
    if let Some(value) = configured.filter(|value| !value.is_empty()) {
        return parse(value, false)
            .map(Some)
            .map_err(|reason| invalid(ProxySource::Kubeconfig(cluster.to_owned()), reason));
    }
    let (name, value) = match server.scheme_str() {
        Some("https") => ("HTTPS_PROXY", variables.https_proxy.as_deref()),
        _ => ("HTTP_PROXY", variables.http_proxy.as_deref()),
    };
    let Some(value) = value.map(str::trim).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    if is_exempt(server, variables.no_proxy.as_deref().unwrap_or_default()) {
        return Ok(None);
    }
    parse(value, true).map(Some).map_err(|reason| invalid(ProxySource::Variable(name), reason))
}

/// The address of a proxy. Variables may leave out `http://`, the kubeconfig may not.
fn parse(value: &str, scheme_may_be_missing: bool) -> Result<Uri, &'static str> {
    let with_scheme = if value.contains("://") {
        value.to_owned()
    } else if scheme_may_be_missing {
        format!("http://{value}")
    } else {
        return Err("has no scheme");
    };
    // Both names mean the same here: host names are resolved by the proxy.
    let with_scheme = match with_scheme.strip_prefix("socks5h://") {
        Some(rest) => format!("socks5://{rest}"),
        None => with_scheme,
    };
    let uri: Uri = with_scheme.parse().map_err(|_| "is not a URL")?;
    if !matches!(uri.scheme_str(), Some("http" | "https" | "socks5")) {
        return Err("has a scheme that is none of http, https, socks5");
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err("names no host");
    }
    Ok(uri)
}

/// A proxy's address as it may be shown: without user and password.
pub(super) fn shown(proxy: &Uri) -> String {
    let authority = proxy.authority().map_or("", http::uri::Authority::as_str);
    let address = authority.rsplit('@').next().unwrap_or(authority);
    format!("{}://{address}", proxy.scheme_str().unwrap_or("http"))
}

/// Whether `server` is reached without the proxy that the environment names.
fn is_exempt(server: &Uri, no_proxy: &str) -> bool {
    let host = server.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let default = if server.scheme_str() == Some("https") { 443 } else { 80 };
    let port = server.port_u16().unwrap_or(default).to_string();
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    no_proxy
        .split(',')
        .map(|entry| entry.trim().to_ascii_lowercase())
        .filter(|entry| !entry.is_empty())
        .any(|entry| matches(&entry, &host, &port, address))
}

fn matches(entry: &str, host: &str, port: &str, address: Option<IpAddr>) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((base, length)) = entry.split_once('/') {
        let (Ok(base), Ok(length)) = (base.parse::<IpAddr>(), length.parse::<u32>()) else {
            return false;
        };
        return address.is_some_and(|address| in_block(address, base, length));
    }
    let (name, wanted_port) = split_port(entry);
    if wanted_port.is_some_and(|wanted| wanted != port) {
        return false;
    }
    if let Ok(wanted) = name.parse::<IpAddr>() {
        return address == Some(wanted);
    }
    if address.is_some() {
        return false;
    }
    // `example.com` is the domain and all below it, `.example.com` and `*.example.com` only these.
    let name = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
    match name.strip_prefix('.') {
        Some(domain) => !domain.is_empty() && below(host, domain),
        None => !name.is_empty() && (host == name || below(host, name)),
    }
}

fn below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

/// `host:port`, `[v6]:port`, `[v6]`, or a bare host or address.
fn split_port(entry: &str) -> (&str, Option<&str>) {
    if let Some(rest) = entry.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((address, port)) => (address, port.strip_prefix(':')),
            None => (rest, None),
        };
    }
    match entry.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (entry, None),
    }
}

fn in_block(address: IpAddr, base: IpAddr, length: u32) -> bool {
    match (address, base) {
        (IpAddr::V4(address), IpAddr::V4(base)) if length <= 32 => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            u32::from(address) & mask == u32::from(base) & mask
        }
        (IpAddr::V6(address), IpAddr::V6(base)) if length <= 128 => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            u128::from(address) & mask == u128::from(base) & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn east() -> Context {
        Context::new("east", None)
    }

    const PROXY: &str = "http://proxy.corp:3128";

    fn chosen(server: &str, no_proxy: &str) -> Option<String> {
        let variables = ProxyVariables {
            https_proxy: Some(PROXY.to_owned()),
            http_proxy: None,
            no_proxy: Some(no_proxy.to_owned()),
        };
        let server = server.parse().unwrap();
        select(&east(), "east", &server, None, &variables).unwrap().map(|uri| shown(&uri))
    }

    #[rstest]
    #[case::nothing("https://10.1.2.3:6443", "", true)]
    #[case::address("https://10.1.2.3:6443", "10.1.2.3", false)]
    #[case::other_address("https://10.1.2.3:6443", "10.1.2.4", true)]
    #[case::the_proxy_itself("https://10.1.2.3:6443", "proxy.corp", true)]
    #[case::trailing_comma("https://10.1.2.3:6443", "localhost,127.0.0.1,", true)]
    #[case::trailing_comma_match("https://10.1.2.3:6443", "10.1.2.3,", false)]
    #[case::spaces("https://10.1.2.3:6443", " a.corp , 10.1.2.3 ", false)]
    #[case::star("https://10.1.2.3:6443", "*", false)]
    #[case::star_in_list("https://10.1.2.3:6443", "a.corp,*", false)]
    #[case::block("https://10.1.2.3:6443", "10.0.0.0/8", false)]
    #[case::other_block("https://10.1.2.3:6443", "10.2.0.0/16", true)]
    #[case::everything_block("https://10.1.2.3:6443", "0.0.0.0/0", false)]
    #[case::nonsense_block("https://10.1.2.3:6443", "10.0.0.0/99", true)]
    #[case::port("https://10.1.2.3:6443", "10.1.2.3:6443", false)]
    #[case::other_port("https://10.1.2.3:6443", "10.1.2.3:443", true)]
    #[case::default_port("https://api.corp", "api.corp:443", false)]
    #[case::domain("https://api.corp:6443", "corp", false)]
    #[case::domain_itself("https://corp:6443", "corp", false)]
    #[case::leading_dot("https://api.corp:6443", ".corp", false)]
    #[case::leading_dot_not_itself("https://corp:6443", ".corp", true)]
    #[case::star_domain("https://api.corp:6443", "*.corp", false)]
    #[case::star_domain_not_itself("https://corp:6443", "*.corp", true)]
    #[case::no_part_of_a_label("https://apicorp:6443", "corp", true)]
    #[case::case_is_ignored("https://API.corp:6443", "Api.Corp", false)]
    #[case::name_is_no_address("https://10.1.2.3:6443", "2.3", true)]
    #[case::v6("https://[fd00::1]:6443", "fd00::1", false)]
    #[case::v6_brackets("https://[fd00::1]:6443", "[fd00::1]:6443", false)]
    #[case::v6_block("https://[fd00::1]:6443", "fd00::/8", false)]
    #[case::loopback("https://127.0.0.1:6443", "", false)]
    #[case::localhost("https://localhost:6443", "", false)]
    #[case::plain_http("http://10.1.2.3:8080", "", false)]
    fn exemptions(#[case] server: &str, #[case] no_proxy: &str, #[case] proxied: bool) {
        assert_eq!(chosen(server, no_proxy), proxied.then(|| PROXY.to_owned()));
    }

    fn configured(value: &str) -> Result<Option<Uri>, Error> {
        let variables = ProxyVariables {
            https_proxy: Some("http://other:1".to_owned()),
            http_proxy: None,
            no_proxy: Some("*".to_owned()),
        };
        let server = Uri::from_static("https://10.1.2.3:6443");
        select(&east(), "east-1", &server, Some(value), &variables)
    }

    #[test]
    fn kubeconfig_wins_over_the_environment() {
        let uri = configured("socks5://10.0.0.9:1080").unwrap().unwrap();
        assert_eq!(shown(&uri), "socks5://10.0.0.9:1080");
    }

    #[rstest]
    #[case("proxy.corp:3128", "has no scheme")]
    #[case("ftp://proxy.corp", "has a scheme that is none of http, https, socks5")]
    #[case("http://", "is not a URL")]
    fn nonsense_is_an_error(#[case] value: &str, #[case] reason: &str) {
        let error = configured(value).unwrap_err();
        let expected =
            format!("`east`: `proxy-url` of cluster `east-1` in the kubeconfig {reason}");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn variables_need_no_scheme_and_passwords_are_not_shown() {
        let variables = ProxyVariables {
            https_proxy: Some("user:hunter2@proxy.corp:3128".to_owned()),
            ..ProxyVariables::default()
        };
        let server = Uri::from_static("https://10.1.2.3:6443");
        let uri = select(&east(), "east", &server, None, &variables).unwrap().unwrap();
        assert_eq!(shown(&uri), "http://proxy.corp:3128");
        let bad = ProxyVariables {
            https_proxy: Some("gopher://user:hunter2@proxy.corp".to_owned()),
            ..ProxyVariables::default()
        };
        let error = select(&east(), "east", &server, None, &bad).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        assert!(error.to_string().contains("environment variable `HTTPS_PROXY`"));
    }
}
