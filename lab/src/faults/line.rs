//! TLS on both sides of the proxy.

use std::fmt::Display;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::Either;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::error::{Error, Result};
use crate::state::Member;

/// HTTP/2 as TLS names it.
pub(super) const HTTP2: &[u8] = b"h2";

/// A connection to the API server.
pub(super) enum Upstream {
    /// One request after the other.
    One(http1::SendRequest<Full<Bytes>>),
    /// Many at once.
    Many(http2::SendRequest<Full<Bytes>>),
}

impl Upstream {
    /// Waits until it takes a request; not if it is closed.
    pub(super) async fn ready(&mut self) -> hyper::Result<()> {
        match self {
            Self::One(sender) => sender.ready().await,
            Self::Many(sender) => sender.ready().await,
        }
    }

    /// Sends a request. What comes back waits for the answer.
    pub(super) fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + Send + use<> {
        match self {
            Self::One(sender) => Either::Left(sender.send_request(request)),
            Self::Many(sender) => Either::Right(sender.send_request(request)),
        }
    }
}

/// How clients are accepted and the API server is reached.
pub(super) struct Lines {
    pub(super) acceptor: TlsAcceptor,
    /// With the certificate of the administrator.
    administrator: TlsConnector,
    /// Without a certificate.
    bare: TlsConnector,
    server: (IpAddr, u16),
}

impl Lines {
    /// Reads the certificates of a cluster.
    pub(super) fn of(member: &Member, pki: &Path) -> Result<Self> {
        let pair = |name: &str| -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
            let (certificate, key) = (format!("{name}.crt"), format!("{name}.key"));
            Ok((
                certificates(member, &pki.join(certificate))?,
                PrivateKeyDer::from_pem_file(pki.join(&key)).map_err(unusable(member, &key))?,
            ))
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates(member, &pki.join("ca.crt"))?);
        let roots = Arc::new(roots);
        let (chain, key) = pair("apiserver")?;
        let mut server = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|it| it.with_no_client_auth().with_single_cert(chain, key))
            .map_err(unusable(member, "apiserver.crt"))?;
        server.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
        let client = || {
            ClientConfig::builder_with_provider(Arc::new(default_provider()))
                .with_safe_default_protocol_versions()
                .map(|it| it.with_root_certificates(Arc::clone(&roots)))
        };
        let (chain, key) = pair("admin")?;
        let administrator = client()
            .and_then(|it| it.with_client_auth_cert(chain, key))
            .map_err(unusable(member, "admin.crt"))?;
        let bare = client().map_err(unusable(member, "ca.crt"))?.with_no_client_auth();
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            administrator: TlsConnector::from(Arc::new(administrator)),
            bare: TlsConnector::from(Arc::new(bare)),
            server: (member.api().into(), member.port()),
        })
    }

    /// Connects to the API server: as the administrator, or as nobody, for a request that brings a
    /// token. `many` asks for HTTP/2.
    pub(super) async fn connect(&self, administrator: bool, many: bool) -> io::Result<Upstream> {
        let connector = if administrator { &self.administrator } else { &self.bare };
        let stream = TcpStream::connect(self.server).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::IpAddress(self.server.0.into());
        // An error of the connection is one of the requests on it.
        if many {
            let stream = connector.with_alpn(vec![HTTP2.to_vec()]).connect(name, stream).await?;
            let shaken = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
            let (sender, connection) = shaken.map_err(io::Error::other)?;
            tokio::spawn(connection);
            return Ok(Upstream::Many(sender));
        }
        let stream = connector.connect(name, stream).await?;
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(io::Error::other)?;
        tokio::spawn(connection.with_upgrades());
        Ok(Upstream::One(sender))
    }
}

fn certificates(member: &Member, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    all.map_err(unusable(member, &name))
}

fn unusable<E: Display>(member: &Member, what: &str) -> impl Fn(E) -> Error {
    let text = format!("cannot use {what} of {}", member.context);
    move |error| Error::Refused(format!("{text}: {error}"))
}
