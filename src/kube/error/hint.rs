//! The next command for each error.

use super::{Contact, Error, PluginFault, TlsFault};
use crate::kube::{Context, quote};

impl Error {
    /// What to do next, mostly an exact command; one line, lower-case, no final period.
    pub fn hint(&self) -> Option<String> {
        let place = self.place();
        let at = place.map(Context::same_cluster).unwrap_or_default();
        let file = place.map(Context::same_kubeconfig).unwrap_or_default();
        let name = quote(place.map_or("", Context::name));
        Some(match self {
            Self::KubeconfigUnreadable { path, .. } => {
                format!("check the file: `ls -l {}`", quote(&path.to_string_lossy()))
            }
            Self::KubeconfigInvalid { path, .. } => format!(
                "correct it, then try `kubectl --kubeconfig {} config view`",
                quote(&path.to_string_lossy())
            ),
            Self::NoContext { files, .. } if files.is_empty() => {
                "give one: `--kubeconfig <file>`, or set `KUBECONFIG`; the usual place is \
                 ~/.kube/config"
                    .to_owned()
            }
            Self::NoContext { .. } => {
                format!("list the contexts: `kubectl{file} config get-contexts -o name`")
            }
            Self::NoClusterEntry { cluster, .. } => format!(
                "add the entry with `kubectl{file} config set-cluster {} --server=<url>`, or point \
                 the context elsewhere: `kubectl{file} config set-context {name} --cluster=<name>`",
                quote(cluster)
            ),
            Self::NoUserEntry { user, .. } if user.is_empty() => {
                format!("name a user: `kubectl{file} config set-context {name} --user=<name>`")
            }
            Self::NoUserEntry { user, .. } => format!(
                "add the entry with `kubectl{file} config set-credentials {}`, or point the context \
                 elsewhere: `kubectl{file} config set-context {name} --user=<name>`",
                quote(user)
            ),
            Self::InvalidServer { cluster, .. } => format!(
                "set it: `kubectl{file} config set-cluster {} --server=https://<host>:<port>`",
                quote(cluster)
            ),
            Self::InvalidAuthority { cluster, .. } => format!(
                "set it: `kubectl{file} config set-cluster {} --certificate-authority=<file> \
                 --embed-certs`",
                quote(cluster)
            ),
            Self::InvalidProxy { .. } => {
                "a proxy address looks like `http://HOST:PORT`, `https://HOST:PORT` or \
                 `socks5://HOST:PORT`"
                    .to_owned()
            }
            Self::InvalidCredential { .. } => {
                format!("check them with `kubectl{at} auth whoami`")
            }
            Self::AuthProvider { provider, .. } => match provider.as_str() {
                "azure" => "convert the kubeconfig: `kubelogin convert-kubeconfig`".to_owned(),
                "gcp" => "install gke-gcloud-auth-plugin, then run \
                          `gcloud container clusters get-credentials <cluster>`"
                    .to_owned(),
                _ => "get a kubeconfig with an `exec` credential plugin or a token".to_owned(),
            },
            Self::ExecPlugin { command, fault, .. } => match fault {
                PluginFault::NotFound(Some(hint)) => hint.trim().replace('\n', " "),
                PluginFault::NotFound(None) => format!("install `{command}` or add it to PATH"),
                PluginFault::WantsInput => {
                    format!("log in at a terminal first: `kubectl{at} auth whoami`")
                }
                _ => format!("see what it says: `kubectl{at} auth whoami`"),
            },
            Self::Unreachable { server, proxy, cause, .. } => match (proxy, cause) {
                (Some(_), _) => format!(
                    "check the proxy; one that the environment names is gone round by \
                     `NO_PROXY={} kubectl{at} version`",
                    quote(host(server))
                ),
                (None, Contact::UnknownHost) => {
                    format!("check the name: `getent hosts {}`", quote(host(server)))
                }
                (None, _) => format!("check that it is running: `kubectl{at} version`"),
            },
            Self::Tls { fault, .. } => match fault {
                TlsFault::UnknownIssuer | TlsFault::WrongName => format!(
                    "compare with what the kubeconfig has: `kubectl{at} config view --minify \
                     --raw`; get a fresh kubeconfig if the cluster was rebuilt"
                ),
                TlsFault::Expired => "renew the API server's certificate on its control plane: \
                                      `kubeadm certs renew apiserver`"
                    .to_owned(),
                TlsFault::NotYetValid => "check the clock of this machine: `date -u`".to_owned(),
                TlsFault::NotTls | TlsFault::ClientCertificate(_) | TlsFault::Other(_) => {
                    format!("compare with `kubectl{at} version`")
                }
            },
            Self::TimedOut { .. } => format!(
                "check it with `kubectl{at} get --raw /readyz`, or allow more time with \
                 `--request-timeout`"
            ),
            Self::Interrupted { .. } | Self::Unavailable { .. } => format!(
                "check it with `kubectl{at} get --raw '/readyz?verbose'`, then run the command again"
            ),
            Self::Garbled { call, .. } => {
                format!("check the address {} : `kubectl{at} version`", call.server)
            }
            Self::Unauthorized { .. } => {
                format!("log in again, then try `kubectl{at} auth whoami`")
            }
            Self::Forbidden { .. } => {
                format!("see what you may do: `kubectl{at} auth can-i --list`")
            }
            Self::Conflict { .. } => "take the fields over with `--force-conflicts`, or remove \
                                      them from the other manager's configuration"
                .to_owned(),
            Self::Changed { .. } | Self::Replaced { .. } => "run the command again".to_owned(),
            Self::NoNamespace { namespace, .. } => {
                format!("see its state: `kubectl{at} get namespace {}`", quote(namespace))
            }
            Self::UnknownKind { api_version, .. } => {
                let group = api_version.split_once('/').map_or("", |(group, _)| group);
                format!(
                    "see what it serves: `kubectl{at} api-resources --api-group={}`",
                    quote(group)
                )
            }
            Self::Webhook { .. } => format!(
                "see the webhooks and the Services behind them: `kubectl{at} get \
                 validatingwebhookconfigurations,mutatingwebhookconfigurations`"
            ),
            Self::AlreadyExists { .. }
            | Self::NotFound { .. }
            | Self::Rejected { .. }
            | Self::InvalidObject { .. }
            | Self::CommandFailed { .. } => return None,
        })
    }
}

/// The host of a URL, without port and brackets.
fn host(server: &str) -> &str {
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    if let Some(v6) = authority.strip_prefix('[') {
        return v6.split(']').next().unwrap_or(v6);
    }
    authority.split(':').next().unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_servers() {
        assert_eq!(host("https://10.0.0.1:6443"), "10.0.0.1");
        assert_eq!(host("https://[::1]:6443/k8s/clusters/x"), "::1");
        assert_eq!(host("https://api.example.com"), "api.example.com");
    }
}
