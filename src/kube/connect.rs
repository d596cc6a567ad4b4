//! From a context of the kubeconfig to a client.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::kube::Config;
use base64::Engine as _;
use http::{HeaderName, HeaderValue, Uri};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

use super::cluster::Cluster;
use super::credential::{Credential, Credentials, Plugin, Rules};
use super::error::{Error, build_error};
use super::kubeconfig::{ContextEntry, Kubeconfig, Parts};
use super::line::Line;
use super::proxy::{self, ProxyVariables};
use crate::files;
use crate::hex::hex;

/// How to connect, and how long to wait.
#[derive(Clone)]
pub struct ConnectOptions {
    /// For each attempt at a request, from sending it to the last byte of the answer.
    pub request_timeout: Duration,
    /// For the connection to the API server, TLS handshake included.
    pub connect_timeout: Duration,
    /// For the answer to the first request of all to a cluster, where it is shorter than
    /// `request_timeout`: a cluster that hangs is noticed soon.
    pub first_answer: Duration,
    /// For a call with all its attempts. [`Cluster::with_deadline`] changes it for some calls.
    pub deadline: Duration,
    /// For a credential plugin that cannot ask the user; others get three minutes.
    pub plugin_timeout: Duration,
    /// Never let a credential plugin ask the user.
    pub no_input: bool,
    /// The proxies that the environment names.
    pub proxies: ProxyVariables,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(8),
            first_answer: Duration::from_secs(10),
            deadline: Duration::from_secs(30),
            plugin_timeout: Duration::from_secs(30),
            no_input: false,
            proxies: ProxyVariables::of_process(),
        }
    }
}

impl Kubeconfig {
    /// Prepares to talk to the cluster of a context. Runs the credential plugin of its user, if
    /// there is one and its answer is not known yet, but does not talk to the API server.
    ///
    /// # Errors
    /// Everything that is wrong with the kubeconfig entries, the credentials, the plugin or the
    /// proxy, but nothing about the cluster itself.
    pub async fn connect(&self, context: &str, options: &ConnectOptions) -> Result<Cluster, Error> {
        let recipe = Recipe::of(self, context, options)?;
        let credential = recipe.credential(None).await?;
        let line = recipe.build(credential.as_deref()).await?;
        Ok(Cluster::new(recipe, line, credential))
    }

    /// The SHA-256 fingerprints, in hexadecimal and sorted, of the CA certificates that the cluster
    /// entry of a context trusts for the API server. Empty where it leaves that to the system, or
    /// checks no certificate at all. Runs no credential plugin.
    ///
    /// # Errors
    /// Missing entries, and a certificate authority that cannot be read.
    pub fn authorities(&self, context: &str) -> Result<Vec<String>, Error> {
        let Parts { entry, cluster, .. } = self.parts(context)?;
        let (_, roots) = authority(&entry, cluster)?;
        Ok(fingerprints(&entry, roots.as_deref()))
    }
}

/// Which certificates decide whether an API server is the right one.
fn fingerprints(entry: &ContextEntry, roots: Option<&[Vec<u8>]>) -> Vec<String> {
    let checked = roots.filter(|_| !entry.insecure_skip_tls_verify).unwrap_or_default();
    let mut prints: Vec<String> = checked.iter().map(|der| hex(&Sha256::digest(der))).collect();
    prints.sort();
    prints.dedup();
    prints
}

/// All that is needed to build a client for a context, and to build it again.
pub(super) struct Recipe {
    pub(super) entry: ContextEntry,
    pub(super) options: ConnectOptions,
    /// The proxy as it may be shown.
    pub(super) proxy: Option<String>,
    /// The CA certificates of the cluster entry, PEM.
    pub(super) authority: Option<String>,
    /// Their fingerprints, see [`Kubeconfig::authorities`].
    pub(super) authorities: Vec<String>,
    plugin: Option<Plugin>,
    config: Config,
    credentials: Credentials,
}

impl Recipe {
    fn of(kubeconfig: &Kubeconfig, context: &str, options: &ConnectOptions) -> Result<Self, Error> {
        let Parts { entry, cluster, mut user } = kubeconfig.parts(context)?;
        let server = server(&entry)?;
        // client-go dropped gcp and azure in 1.26; what is left of others is `oidc`.
        if let Some(provider) = user.auth_provider.as_ref().filter(|p| p.name != "oidc") {
            return Err(Error::AuthProvider {
                context: entry.context(),
                user: entry.user,
                provider: provider.name.clone(),
            });
        }
        let rules = Rules { timeout: options.plugin_timeout, no_input: options.no_input };
        let plugin = Plugin::of(&user, &entry.user, context, cluster, rules);
        user.exec = None;
        let proxy = proxy::select(
            &entry.context(),
            &entry.cluster,
            &server,
            entry.proxy_url.as_deref(),
            &options.proxies,
        )?;
        let (authority, roots) = authority(&entry, cluster)?;
        let authorities = fingerprints(&entry, roots.as_deref());

        let mut config = Config::new(server);
        config.root_cert = roots;
        config.accept_invalid_certs = entry.insecure_skip_tls_verify;
        config.tls_server_name.clone_from(&entry.tls_server_name);
        config.disable_compression = cluster.disable_compression.unwrap_or(false);
        config.auth_info = user;
        config.connect_timeout = Some(options.connect_timeout);
        config.proxy_url.clone_from(&proxy);
        config.default_retry = false;
        config.headers.push((
            HeaderName::from_static("user-agent"),
            HeaderValue::from_static(concat!("kubectl-multimesh/", env!("CARGO_PKG_VERSION"))),
        ));
        if let Some(namespace) = &entry.namespace {
            config.default_namespace.clone_from(namespace);
        }
        Ok(Self {
            proxy: proxy.as_ref().map(proxy::shown),
            options: options.clone(),
            credentials: kubeconfig.credentials.clone(),
            entry,
            authority,
            authorities,
            plugin,
            config,
        })
    }

    /// The command of the credential plugin, if the credentials come from one.
    pub(super) fn plugin(&self) -> Option<&str> {
        self.plugin.as_ref().map(Plugin::command)
    }

    /// The credential of the plugin, if there is a plugin; another one than `refused`.
    pub(super) async fn credential(
        &self,
        refused: Option<&Arc<Credential>>,
    ) -> Result<Option<Arc<Credential>>, Error> {
        let Some(plugin) = &self.plugin else {
            return Ok(None);
        };
        let answer = self.credentials.get(plugin, refused).await;
        answer.map(Some).map_err(|fault| Error::ExecPlugin {
            context: self.entry.context(),
            user: self.entry.user.clone(),
            command: plugin.command().to_owned(),
            fault,
        })
    }

    /// Builds a client. Files of credentials are read here, and not on the threads of the runtime.
    pub(super) async fn build(&self, credential: Option<&Credential>) -> Result<Line, Error> {
        let invalid = |reason: String| Error::InvalidCredential {
            context: self.entry.context(),
            user: self.entry.user.clone(),
            reason,
        };
        let mut config = self.config.clone();
        if let Some(credential) = credential {
            credential.fill(&mut config.auth_info);
        }
        let limit = self.options.connect_timeout;
        let attempt = self.options.request_timeout;
        let built = tokio::task::spawn_blocking(move || Line::new(&config, attempt));
        match tokio::time::timeout(limit, built).await {
            Ok(Ok(Ok(line))) => Ok(line),
            Ok(Ok(Err(error))) => Err(invalid(build_error(&error))),
            Ok(Err(_)) => Err(invalid("reading them failed".to_owned())),
            Err(_) => Err(invalid(format!("reading their files takes over {} s", limit.as_secs()))),
        }
    }
}

fn server(entry: &ContextEntry) -> Result<Uri, Error> {
    let invalid = |reason: &str| Error::InvalidServer {
        context: entry.context(),
        cluster: entry.cluster.clone(),
        reason: reason.to_owned(),
    };
    if entry.server.is_empty() {
        return Err(invalid("is not set"));
    }
    let uri: Uri = entry.server.parse().map_err(|_| invalid("is not a URL"))?;
    match uri.scheme_str() {
        Some("http" | "https") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(uri),
        Some("http" | "https") => Err(invalid("names no host")),
        _ => Err(invalid("does not start with `https://`")),
    }
}

type Roots = (Option<String>, Option<Vec<Vec<u8>>>);

fn authority(entry: &ContextEntry, cluster: &::kube::config::Cluster) -> Result<Roots, Error> {
    let invalid = |reason: String| Error::InvalidAuthority {
        context: entry.context(),
        cluster: entry.cluster.clone(),
        reason,
    };
    let data = cluster.certificate_authority_data.as_deref().filter(|data| !data.is_empty());
    let path = cluster.certificate_authority.as_deref().filter(|path| !path.is_empty());
    let pem = match (data, path) {
        (Some(data), _) => base64::engine::general_purpose::STANDARD
            .decode(data)
            .map_err(|_| invalid("is not base64".to_owned()))?,
        (None, Some(path)) => files::read_bytes(Path::new(path)).map_err(|error| {
            invalid(format!("cannot be read: {path}: {}", files::Cause::from(&error)))
        })?,
        (None, None) => return Ok((None, None)),
    };
    let roots: Vec<Vec<u8>> = CertificateDer::pem_slice_iter(&pem)
        .map(|certificate| certificate.map(|der| der.to_vec()))
        .collect::<Result<_, _>>()
        .map_err(|_| invalid("is not PEM".to_owned()))?;
    if roots.is_empty() {
        return Err(invalid("holds no certificate".to_owned()));
    }
    Ok((String::from_utf8(pem).ok(), Some(roots)))
}
