//! The connection to an API server: one that all requests share over HTTP/2, or HTTP/1.1 with a
//! connection for each of those that run at the same time, as the server and what is before it can.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::kube::client::{Body, ConfigExt as _};
use ::kube::{Client, Config, Error};
use base64::Engine as _;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, Uri, Version, header};
use hyper_rustls::{
    DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector, MaybeHttpsStream,
    ResolveServerName,
};
use hyper_util::client::legacy::Client as Connections;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, MutexGuard};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceBuilder, ServiceExt as _, service_fn};
use tower_http::decompression::DecompressionLayer;

/// How long requests wait for the first one, so as to go where it goes.
const HEAD_START: Duration = Duration::from_secs(2);

/// A client of one API server with one credential. Clones share connections.
#[derive(Clone)]
pub(super) struct Line {
    client: Client,
    gate: Arc<Gate>,
}

/// Lets one request go alone as long as there is no connection: of those that start before there is
/// one, each would open its own.
#[derive(Default)]
struct Gate {
    open: AtomicBool,
    first: Mutex<()>,
    /// Whether the last answer came over HTTP/2.
    shared: AtomicBool,
}

impl Gate {
    /// Waits until there is a connection or it is this one's turn to open it.
    async fn pass(&self) -> Option<MutexGuard<'_, ()>> {
        if self.open.load(Ordering::Relaxed) {
            return None;
        }
        let turn = tokio::time::timeout(HEAD_START, self.first.lock()).await.ok();
        turn.filter(|_| !self.open.load(Ordering::Relaxed))
    }
}

impl Line {
    /// Reads the files of credentials and certificates that `config` names; connects nowhere yet. A
    /// connection that died unseen is given up within an attempt, which may take so long, so that
    /// the next one goes over another.
    ///
    /// # Errors
    /// Credentials, certificates and names that cannot be used.
    pub(super) fn new(config: &Config, attempt: Duration) -> Result<Self, Error> {
        let mut tls = config.rustls_client_config()?;
        let upgradable = connections(config, tls.clone(), attempt)?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let shared = connections(config, tls, attempt)?;
        // A stream to a container starts as a request of HTTP/1.1.
        let choose = service_fn(move |request: Request<Body>| {
            let upgrade = request.headers().contains_key(header::UPGRADE);
            if upgrade { upgradable(request) } else { shared(request) }
        });
        let service = ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .layer(DecompressionLayer::new().gzip(!config.disable_compression))
            .option_layer(config.auth_layer()?)
            .layer(config.extra_headers_layer()?)
            .service(choose);
        let client = Client::new(service, config.default_namespace.clone());
        Ok(Self { client, gate: Arc::default() })
    }

    /// Sends a request; the answer's body may be still on its way.
    pub(super) async fn send(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        let _first = self.gate.pass().await;
        let answer = self.client.send(request).await;
        self.gate.open.store(answer.is_ok(), Ordering::Relaxed);
        if let Ok(answer) = &answer {
            self.gate.shared.store(answer.version() == Version::HTTP_2, Ordering::Relaxed);
        }
        answer
    }

    /// Whether requests share a connection; not known before the first answer.
    pub(super) fn is_shared(&self) -> bool {
        self.gate.shared.load(Ordering::Relaxed)
    }

    /// For what opens streams.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }
}

type Answer = BoxFuture<'static, Result<Response<hyper::body::Incoming>, BoxError>>;

/// Connections that are made as requests need them, and kept for later ones.
fn connections(
    config: &Config,
    tls: rustls::ClientConfig,
    attempt: Duration,
) -> Result<impl Fn(Request<Body>) -> Answer + Clone + use<>, Error> {
    use ::kube::client::RustlsTlsError as Tls;
    let name: Arc<dyn ResolveServerName + Send + Sync> = match config.tls_server_name.clone() {
        Some(name) => Arc::new(FixedServerNameResolver::new(
            name.try_into().map_err(|error| Error::RustlsTls(Tls::InvalidServerName(error)))?,
        )),
        None => Arc::new(DefaultServerNameResolver::default()),
    };
    let connector = HttpsConnector::new(way(config)?, tls, false, name);
    let limit = config.connect_timeout.unwrap_or(Duration::MAX);
    let bounded = service_fn(move |server: Uri| {
        let connecting = tokio::time::timeout(limit, connector.clone().oneshot(server));
        let late = |_| Err(BoxError::from(io::Error::from(io::ErrorKind::TimedOut)));
        connecting.map(move |stream| stream.unwrap_or_else(late)).boxed()
    });
    let client = Connections::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        // Where nothing comes for the first time, the server has the second to answer a ping.
        .http2_keep_alive_interval(attempt / 4)
        .http2_keep_alive_timeout(attempt / 2)
        .build(bounded);
    Ok(move |request| client.request(request).map(|answer| answer.map_err(BoxError::from)).boxed())
}

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;
type Way = BoxCloneSyncService<Uri, Stream, BoxError>;

/// The way to the API server: directly or through the proxy. An https proxy is trusted as the API
/// server is.
fn way(config: &Config) -> Result<Way, Error> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    // Else a small frame waits until what was sent before it is acknowledged.
    tcp.set_nodelay(true);
    // It is divided among the addresses of a name: one that is dead hides no other.
    tcp.set_connect_timeout(config.connect_timeout);
    let Some(proxy) = config.proxy_url.clone() else {
        return Ok(Way::new(tcp.map_response(Stream::Http).map_err(BoxError::from)));
    };
    Ok(match proxy.scheme_str() {
        Some("socks5") => {
            // RFC 1928 names this port.
            let address = with_port(&proxy, 1080).unwrap_or_else(|| proxy.clone());
            let mut socks = SocksV5::new(address, tcp);
            if let Some((name, password)) = user(&proxy) {
                socks = socks.with_auth(name, password);
            }
            Way::new(socks.map_response(Stream::Http).map_err(BoxError::from))
        }
        Some("http") => {
            let tunnel = authorized(&proxy, Tunnel::new(proxy.clone(), tcp));
            Way::new(tunnel.map_response(Stream::Http).map_err(BoxError::from))
        }
        Some("https") => {
            let tls = config.rustls_https_connector_with_connector(tcp)?;
            let tunnel = authorized(&proxy, Tunnel::new(proxy.clone(), tls));
            Way::new(tunnel.map_err(BoxError::from))
        }
        _ => return Err(Error::ProxyProtocolUnsupported { proxy_url: Box::new(proxy) }),
    })
}

/// The address with a port, if it has none.
fn with_port(address: &Uri, port: u16) -> Option<Uri> {
    if address.port().is_some() {
        return None;
    }
    let host = address.host()?;
    format!("{}://{host}:{port}", address.scheme_str()?).parse().ok()
}

/// The user and password in the address of a proxy.
fn user(proxy: &Uri) -> Option<(String, String)> {
    let (user, _) = proxy.authority()?.as_str().rsplit_once('@')?;
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let [name, password] = [name, password]
        .map(|text| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned());
    Some((name, password))
}

/// A tunnel that shows the user and password of the proxy's address.
fn authorized<C>(proxy: &Uri, tunnel: Tunnel<C>) -> Tunnel<C> {
    let Some((name, password)) = user(proxy) else { return tunnel };
    let user = format!("{name}:{password}");
    let text = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(user));
    match HeaderValue::from_str(&text) {
        Ok(value) => tunnel.with_auth(value),
        Err(_) => tunnel,
    }
}
