//! An API server and the connection to it: nothing but HTTP/2 over TLS.

use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Request, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

use super::script::{Call, Target};

/// An API server.
pub(super) struct Server {
    /// `host:port`.
    address: String,
    name: ServerName<'static>,
    tls: TlsConnector,
    connection: OnceCell<SendRequest<Full<Bytes>>>,
}

/// An answer: the status and the body.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Server {
    pub(super) fn new(target: &Target) -> Result<Self, String> {
        let address = target.server.trim_start_matches("https://").to_owned();
        let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
        let name = ServerName::try_from(host.to_owned()).map_err(|e| e.to_string())?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&target.ca)? {
            roots.add(certificate).map_err(|e| e.to_string())?;
        }
        let key =
            PrivateKeyDer::from_pem_slice(&decode(&target.key)?).map_err(|e| e.to_string())?;
        let mut config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates(&target.certificate)?, key)
            .map_err(|e| e.to_string())?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self {
            address,
            name,
            tls: TlsConnector::from(Arc::new(config)),
            connection: OnceCell::new(),
        })
    }

    /// Sends a request; an answer of any status is an answer.
    pub(super) async fn send(&self, call: &Call) -> Result<Answer, String> {
        let at = |error: &dyn std::fmt::Display| {
            format!("{} {}{}: {error}", call.method, self.address, call.path)
        };
        let connection = self.connection.get_or_try_init(|| self.connect()).await;
        let mut connection = connection.map_err(|e| at(&e))?.clone();
        let mut request = Request::builder()
            .method(call.method.as_str())
            .uri(format!("https://{}{}", self.address, call.path))
            .header(header::USER_AGENT, "multimesh-floor")
            // Else API servers ask the pods that they lead to for compressed answers, to unpack them.
            .header(header::ACCEPT_ENCODING, "identity");
        if !call.content_type.is_empty() {
            request = request.header(header::CONTENT_TYPE, &call.content_type);
        }
        let request =
            request.body(Full::from(call.body.clone().into_bytes())).map_err(|e| at(&e))?;
        connection.ready().await.map_err(|e| at(&e))?;
        let answer = connection.send_request(request).await.map_err(|e| at(&e))?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.map_err(|e| at(&e))?.to_bytes();
        Ok(Answer { status, body })
    }

    /// As [`Server::send`]; an answer that is no success is an error.
    pub(super) async fn succeed(&self, call: &Call) -> Result<Answer, String> {
        let answer = self.send(call).await?;
        if answer.status < 300 {
            return Ok(answer);
        }
        let said = answer.json()["message"].as_str().unwrap_or_default().to_owned();
        Err(format!("{} {}{}: {} {said}", call.method, self.address, call.path, answer.status))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let stream = TcpStream::connect(&self.address).await.map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let stream = self.tls.connect(self.name.clone(), stream).await;
        let stream = TokioIo::new(stream.map_err(|e| e.to_string())?);
        let shaken = handshake(TokioExecutor::new(), stream).await;
        let (sender, connection) = shaken.map_err(|e| e.to_string())?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

fn decode(text: &str) -> Result<Vec<u8>, String> {
    BASE64_STANDARD.decode(text).map_err(|e| e.to_string())
}

fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = decode(text)?;
    CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|e| e.to_string())
}
