//! How the server of the tests speaks: plain, or over TLS as HTTP/1.1 or HTTP/2.

use std::pin::pin;
use std::sync::Arc;

use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// What the open connections of HTTP/2 do from now on.
#[derive(Clone, Copy)]
pub(crate) enum Mood {
    /// They serve.
    Serve,
    /// They take no more requests, and say so.
    Leave,
    /// They neither read nor write, and stay open.
    Freeze,
}

/// A certificate for the loopback address, and what is spoken under it.
#[derive(Clone)]
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    /// The certificate, PEM.
    pub(crate) certificate: String,
}

impl Tls {
    /// Offers these protocols by ALPN; may ask for a client certificate, which none has.
    pub(crate) fn new(protocols: &[&str], clients: bool) -> Self {
        let names = vec!["127.0.0.1".to_owned()];
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let asked =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = if clients {
            builder.with_client_cert_verifier(asked.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_single_cert(vec![cert.der().clone()], key).unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate: cert.pem() }
    }
}

/// Serves one connection; how it ends is what the tests are about.
pub(super) async fn serve<S, B>(
    stream: TcpStream,
    tls: Option<Tls>,
    mood: watch::Receiver<Mood>,
    service: S,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let Some(tls) = tls else { return one_by_one(stream, service).await };
    let Ok(stream) = tls.acceptor.accept(stream).await else { return };
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return one_by_one(stream, service).await;
    }
    let mut mood = mood;
    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = &mut connection => return,
        Ok(()) = mood.changed() => {}
    }
    let mood = *mood.borrow();
    match mood {
        Mood::Serve => {}
        Mood::Leave => connection.as_mut().graceful_shutdown(),
        Mood::Freeze => std::future::pending().await,
    }
    let _ = connection.await;
}

async fn one_by_one<T, S, B>(stream: T, service: S)
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    let builder = hyper::server::conn::http1::Builder::new();
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}
