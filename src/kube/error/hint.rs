//! The next command for each error.

use super::{Contact, Error, PluginFault, TlsFault};

impl Error {
    /// What to do next, mostly an exact command; one line, lower-case, no final period.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::KubeconfigUnreadable { path, .. } => {
                format!("check the file: `ls -l {}`", quote(&path.to_string_lossy()))
            }
            Self::KubeconfigInvalid { path, .. } => format!(
                "correct it, then try `kubectl --kubeconfig {} config view`",
                quote(&path.to_string_lossy())
            ),
            Self::NoContext { files, .. } if files.is_empty() => {
                "give one: `--kubeconfig FILE`, or set `KUBECONFIG`; the usual place is \
                 ~/.kube/config"
                    .to_owned()
            }
            Self::NoContext { .. } => {
                "list the contexts: `kubectl config get-contexts -o name`".to_owned()
            }
            Self::NoClusterEntry { context, cluster } => format!(
                "add the entry with `kubectl config set-cluster {} --server=URL`, or point the \
                 context elsewhere: `kubectl config set-context {} --cluster=NAME`",
                quote(cluster),
                quote(context)
            ),
            Self::NoUserEntry { context, user } if user.is_empty() => {
                format!("name a user: `kubectl config set-context {} --user=NAME`", quote(context))
            }
            Self::NoUserEntry { context, user } => format!(
                "add the entry with `kubectl config set-credentials {}`, or point the context \
                 elsewhere: `kubectl config set-context {} --user=NAME`",
                quote(user),
                quote(context)
            ),
            Self::InvalidServer { cluster, .. } => format!(
                "set it: `kubectl config set-cluster {} --server=https://HOST:PORT`",
                quote(cluster)
            ),
            Self::InvalidAuthority { cluster, .. } => format!(
                "set it: `kubectl config set-cluster {} --certificate-authority=FILE --embed-certs`",
                quote(cluster)
            ),
            Self::InvalidProxy { .. } => {
                "a proxy address looks like `http://HOST:PORT`, `https://HOST:PORT` or \
                 `socks5://HOST:PORT`"
                    .to_owned()
            }
            Self::InvalidCredential { context, .. } => {
                format!("check them with `kubectl --context {} auth whoami`", quote(context))
            }
            Self::AuthProvider { provider, .. } => match provider.as_str() {
                "azure" => "convert the kubeconfig: `kubelogin convert-kubeconfig`".to_owned(),
                "gcp" => "install gke-gcloud-auth-plugin, then run \
                          `gcloud container clusters get-credentials CLUSTER`"
                    .to_owned(),
                _ => "get a kubeconfig with an `exec` credential plugin or a token".to_owned(),
            },
            Self::ExecPlugin { context, command, fault, .. } => match fault {
                PluginFault::NotFound(Some(hint)) => hint.trim().replace('\n', " "),
                PluginFault::NotFound(None) => format!("install `{command}` or add it to PATH"),
                PluginFault::WantsInput => format!(
                    "log in at a terminal first: `kubectl --context {} auth whoami`",
                    quote(context)
                ),
                _ => {
                    format!("see what it says: `kubectl --context {} auth whoami`", quote(context))
                }
            },
            Self::Unreachable { context, server, proxy, cause } => match (proxy, cause) {
                (Some(_), _) => format!(
                    "check the proxy; one that the environment names is gone round by \
                     `NO_PROXY={} kubectl --context {} version`",
                    quote(host(server)),
                    quote(context)
                ),
                (None, Contact::UnknownHost) => {
                    format!("check the name: `getent hosts {}`", quote(host(server)))
                }
                (None, _) => format!(
                    "check that it is running: `kubectl --context {} version`",
                    quote(context)
                ),
            },
            Self::Tls { context, fault, .. } => match fault {
                TlsFault::UnknownIssuer | TlsFault::WrongName => format!(
                    "compare with what the kubeconfig has: `kubectl --context {} config view \
                     --minify --raw`; get a fresh kubeconfig if the cluster was rebuilt",
                    quote(context)
                ),
                TlsFault::Expired => "renew the API server's certificate on its control plane: \
                                      `kubeadm certs renew apiserver`"
                    .to_owned(),
                TlsFault::NotYetValid => "check the clock of this machine: `date -u`".to_owned(),
                TlsFault::NotTls | TlsFault::ClientCertificate(_) | TlsFault::Other(_) => {
                    format!("compare with `kubectl --context {} version`", quote(context))
                }
            },
            Self::TimedOut { call, .. } => format!(
                "check it with `kubectl --context {} get --raw /readyz`, or allow more time with \
                 `--request-timeout`",
                quote(&call.context)
            ),
            Self::Interrupted { call } | Self::Unavailable { call, .. } => format!(
                "check it with `kubectl --context {} get --raw '/readyz?verbose'`, then run the \
                 command again",
                quote(&call.context)
            ),
            Self::Garbled { call, .. } => format!(
                "check the address {} : `kubectl --context {} version`",
                call.server,
                quote(&call.context)
            ),
            Self::Unauthorized { call, .. } => {
                format!(
                    "log in again, then try `kubectl --context {} auth whoami`",
                    quote(&call.context)
                )
            }
            Self::Forbidden { call, .. } => {
                format!(
                    "see what you may do: `kubectl --context {} auth can-i --list`",
                    quote(&call.context)
                )
            }
            Self::Conflict { .. } => "take the fields over with `--force-conflicts`, or remove \
                                      them from the other manager's configuration"
                .to_owned(),
            Self::Changed { .. } | Self::Replaced { .. } => "run the command again".to_owned(),
            Self::NoNamespace { call, namespace, .. } => format!(
                "see its state: `kubectl --context {} get namespace {}`",
                quote(&call.context),
                quote(namespace)
            ),
            Self::UnknownKind { call, api_version, .. } => {
                let group = api_version.split_once('/').map_or("", |(group, _)| group);
                format!(
                    "see what it serves: `kubectl --context {} api-resources --api-group={}`",
                    quote(&call.context),
                    quote(group)
                )
            }
            Self::Webhook { call, .. } => format!(
                "see the webhooks and the Services behind them: `kubectl --context {} get \
                 validatingwebhookconfigurations,mutatingwebhookconfigurations`",
                quote(&call.context)
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

/// A word as a POSIX shell takes it.
pub(crate) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!(quote("arn:aws:eks:x:1:cluster/a"), "arn:aws:eks:x:1:cluster/a");
        assert_eq!(quote("my context's"), r"'my context'\''s'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn hosts_of_servers() {
        assert_eq!(host("https://10.0.0.1:6443"), "10.0.0.1");
        assert_eq!(host("https://[::1]:6443/k8s/clusters/x"), "::1");
        assert_eq!(host("https://api.example.com"), "api.example.com");
    }
}
