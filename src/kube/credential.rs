//! Credential plugins: the `exec` entry of a kubeconfig user.
//!
//! The client library would run a plugin three times for each client, without a limit, and let it
//! draw over the terminal. Here it runs once for each user entry and run (again when its answer
//! expires or is refused), with a limit, and its answer is given to the clients. The protocol is
//! client.authentication.k8s.io as client-go speaks it (plugin/pkg/client/auth/exec).

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::kube::config::{AuthInfo, ExecAuthCluster, ExecConfig, ExecInteractiveMode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::error::PluginFault;
use crate::files;

/// How long a plugin may take that can ask the user something.
const PROMPT_TIMEOUT: Duration = Duration::from_secs(180);
/// A credential counts as expired this long before its end, for clocks that differ.
const EARLY: jiff::SignedDuration = jiff::SignedDuration::from_secs(10);

/// What a plugin answered.
pub(super) struct Credential {
    token: Option<SecretString>,
    certificate: Option<(String, SecretString)>,
    expires: Option<jiff::Timestamp>,
}

impl Credential {
    pub(super) fn is_expired(&self) -> bool {
        self.expires.is_some_and(|end| jiff::Timestamp::now() + EARLY >= end)
    }

    /// Puts the credential in the place of the plugin.
    pub(super) fn fill(&self, user: &mut AuthInfo) {
        use base64::Engine as _;
        let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        user.exec = None;
        user.token.clone_from(&self.token);
        if let Some((certificate, key)) = &self.certificate {
            user.client_certificate_data = Some(base64(certificate));
            user.client_key_data = Some(base64(key.expose_secret()).into());
        }
    }
}

/// How plugins are to be run.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub(super) timeout: Duration,
    pub(super) no_input: bool,
}

/// The plugin of a user entry as one context sees it.
#[derive(Clone)]
pub(super) struct Plugin {
    config: ExecConfig,
    /// Whose answer may be shared: a user entry, or a context where the answer depends on it.
    key: String,
    rules: Rules,
}

type Slot = Arc<tokio::sync::Mutex<Option<Result<Arc<Credential>, PluginFault>>>>;

/// The answers of all plugins in this run. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Credentials {
    slots: Arc<Mutex<BTreeMap<String, Slot>>>,
    terminal: Arc<tokio::sync::Mutex<()>>,
}

impl Plugin {
    /// The plugin of `user`, if it has one that is needed: like client-go, other credentials in the
    /// entry come first.
    pub(super) fn of(
        user: &AuthInfo,
        user_name: &str,
        context: &str,
        cluster: &::kube::config::Cluster,
        rules: Rules,
    ) -> Option<Self> {
        let has_token = user.token.is_some() || user.token_file.is_some();
        let has_basic = user.username.is_some() && user.password.is_some();
        let has_certificate =
            user.client_certificate.is_some() || user.client_certificate_data.is_some();
        if has_token || has_basic || has_certificate {
            return None;
        }
        let mut config = user.exec.clone()?;
        let key = if config.provide_cluster_info {
            config.cluster = ExecAuthCluster::try_from(cluster).ok();
            format!("context {context}")
        } else {
            format!("user {user_name}")
        };
        Some(Self { config, key, rules })
    }

    pub(super) fn command(&self) -> &str {
        self.config.command.as_deref().unwrap_or_default()
    }

    /// Whether the plugin gets the terminal (client-go, `isInteractive`).
    fn is_interactive(&self) -> Result<bool, PluginFault> {
        let possible = !self.rules.no_input && std::io::stdin().is_terminal();
        match self.config.interactive_mode {
            Some(ExecInteractiveMode::Never) => Ok(false),
            Some(ExecInteractiveMode::IfAvailable) | None => Ok(possible),
            Some(ExecInteractiveMode::Always) if possible => Ok(true),
            Some(ExecInteractiveMode::Always) => Err(PluginFault::WantsInput),
        }
    }

    async fn run(&self, terminal: &tokio::sync::Mutex<()>) -> Result<Credential, PluginFault> {
        let interactive = self.is_interactive()?;
        // Two prompts at once on one terminal cannot be answered.
        let _terminal = if interactive { Some(terminal.lock().await) } else { None };
        let limit =
            if interactive { self.rules.timeout.max(PROMPT_TIMEOUT) } else { self.rules.timeout };
        let mut command = self.prepare(interactive)?;
        let child =
            files::start_when_written(|| command.spawn()).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => {
                    PluginFault::NotFound(self.config.install_hint.clone())
                }
                _ => PluginFault::NotStarted(error.to_string()),
            })?;
        let output = tokio::time::timeout(limit, child.wait_with_output())
            .await
            .map_err(|_| PluginFault::Hung(limit))?
            .map_err(|error| PluginFault::NotStarted(error.to_string()))?;
        let stdout = Zeroizing::new(output.stdout);
        if !output.status.success() {
            return Err(PluginFault::Failed(output.status.code(), last_lines(&output.stderr)));
        }
        answer(&stdout, self.config.api_version.as_deref())
    }

    fn prepare(&self, interactive: bool) -> Result<tokio::process::Command, PluginFault> {
        let program = self.command();
        if program.is_empty() {
            return Err(PluginFault::BadEntry("it has no `command`".to_owned()));
        }
        let api_version = self.config.api_version.as_deref().unwrap_or_default();
        if api_version.is_empty() {
            return Err(PluginFault::BadEntry("it has no `apiVersion`".to_owned()));
        }
        let mut spec = serde_json::json!({"interactive": interactive});
        if let Some(cluster) = &self.config.cluster {
            spec["cluster"] = serde_json::to_value(cluster)
                .map_err(|error| PluginFault::BadEntry(error.to_string()))?;
        }
        let info = serde_json::json!({
            "apiVersion": api_version, "kind": "ExecCredential", "spec": spec,
        });
        let mut command = tokio::process::Command::new(program);
        command.args(self.config.args.iter().flatten());
        for variable in self.config.env.iter().flatten() {
            if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
                command.env(name, value);
            }
        }
        command.env("KUBERNETES_EXEC_INFO", info.to_string());
        command.stdout(Stdio::piped()).kill_on_drop(true);
        if interactive {
            command.stdin(Stdio::inherit()).stderr(Stdio::inherit());
        } else {
            command.stdin(Stdio::null()).stderr(Stdio::piped());
        }
        Ok(command)
    }
}

impl Credentials {
    /// The credential of `plugin`: a shared one that is still valid and is not `refused`, else a
    /// new one. A failure is shared too, so that a plugin that hangs does so once.
    pub(super) async fn get(
        &self,
        plugin: &Plugin,
        refused: Option<&Arc<Credential>>,
    ) -> Result<Arc<Credential>, PluginFault> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(plugin.key.clone()).or_default())
        };
        let mut slot = slot.lock().await;
        match slot.as_ref() {
            Some(Err(fault)) => return Err(fault.clone()),
            Some(Ok(known))
                if !known.is_expired() && refused.is_none_or(|old| !Arc::ptr_eq(old, known)) =>
            {
                return Ok(Arc::clone(known));
            }
            _ => {}
        }
        let started = std::time::Instant::now();
        let result = plugin.run(&self.terminal).await.map(Arc::new);
        tracing::debug!(
            plugin = plugin.command(),
            ok = result.is_ok(),
            millis = started.elapsed().as_millis(),
            "credential plugin ran"
        );
        *slot = Some(result.clone());
        result
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    api_version: Option<String>,
    kind: Option<String>,
    status: Option<AnswerStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerStatus {
    #[serde(default, deserialize_with = "secret")]
    token: Option<SecretString>,
    client_certificate_data: Option<String>,
    #[serde(default, deserialize_with = "secret")]
    client_key_data: Option<SecretString>,
    expiration_timestamp: Option<String>,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(SecretString::from))
}

/// Reads an `ExecCredential`, JSON or YAML. The reasons quote nothing of it.
fn answer(stdout: &[u8], api_version: Option<&str>) -> Result<Credential, PluginFault> {
    let bad = |reason: &str| PluginFault::BadAnswer(reason.to_owned());
    let answer: Answer = serde_json::from_slice(stdout)
        .ok()
        .or_else(|| serde_saphyr::from_slice(stdout).ok())
        .ok_or_else(|| bad("its output is not an ExecCredential"))?;
    if answer.kind.as_deref() != Some("ExecCredential") {
        return Err(bad("its output is not an ExecCredential"));
    }
    if answer.api_version.as_deref() != api_version {
        return Err(bad("its output has another `apiVersion` than the kubeconfig"));
    }
    let status = answer.status.ok_or_else(|| bad("its output has no `status`"))?;
    let filled = |text: &String| !text.is_empty();
    let token = status.token.filter(|token| !token.expose_secret().is_empty());
    let certificate = status.client_certificate_data.filter(filled);
    let key = status.client_key_data.filter(|key| !key.expose_secret().is_empty());
    let certificate = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => {
            return Err(bad("it has a client certificate without key, or a key without"));
        }
    };
    if token.is_none() && certificate.is_none() {
        return Err(bad("it has neither a token nor a client certificate"));
    }
    let expires = status
        .expiration_timestamp
        .filter(filled)
        .map(|text| text.parse::<jiff::Timestamp>())
        .transpose()
        .map_err(|_| bad("its `expirationTimestamp` is not a time"))?;
    Ok(Credential { token, certificate, expires })
}

/// The end of what a program wrote, in one line.
fn last_lines(output: &[u8]) -> String {
    const LONGEST: usize = 400;
    let text = String::from_utf8_lossy(output);
    let words: Vec<&str> = text.split_whitespace().collect();
    let line: String = words.join(" ").chars().filter(|c| !c.is_control()).collect();
    let skip = line.chars().count().saturating_sub(LONGEST);
    let end: String = line.chars().skip(skip).collect();
    if skip == 0 { end } else { format!("…{end}") }
}
