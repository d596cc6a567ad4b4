//! Running a command in a container.

use std::time::Duration;

use ::kube::Client;
use ::kube::api::{Api, AttachParams};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::cluster::Cluster;
use super::error::{Error, Fault};
use super::transport::Terms;

/// The most that is read of what a command prints.
const LONGEST_OUTPUT: u64 = 16 * 1024 * 1024;
/// The most that is read of its standard error.
const LONGEST_COMPLAINT: u64 = 4 * 1024;

impl Cluster {
    /// Runs a command in a container and returns its standard output, within the deadline of a
    /// call. Needs the right to create `pods/exec`; clusters before 1.35 ask for `get` on it.
    ///
    /// # Errors
    /// [`Error::CommandFailed`] for a command that fails; it is not repeated.
    pub async fn exec(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        command: &[&str],
    ) -> Result<String, Error> {
        let program = command.first().copied().unwrap_or_default();
        let terms = Terms {
            call: self.call(
                "run",
                format!("`{program}` in container {container} of Pod {namespace}/{pod}"),
            ),
            kind: None,
            repeatable: false,
            limit: self.deadline(),
            waited: Duration::ZERO,
        };
        let connect_timeout = self.recipe().options.connect_timeout;
        let command: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
        self.repeat(terms, |line| {
            let command = command.clone();
            Box::pin(run(line.client(), namespace, pod, container, command, connect_timeout))
        })
        .await
    }
}

async fn run(
    client: Client,
    namespace: &str,
    pod: &str,
    container: &str,
    command: Vec<String>,
    connect_timeout: Duration,
) -> Result<String, Fault> {
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let streams = AttachParams::default()
        .container(container)
        .max_stdout_buf_size(64 * 1024)
        .stdin(false)
        .stdout(true)
        .stderr(true);
    let process = pods.exec(pod, command, &streams).await;
    let mut process = process.map_err(|error| Fault::of(error, connect_timeout))?;
    let broken = || Fault::Broken;
    let stdout = process.stdout().ok_or_else(broken)?;
    let stderr = process.stderr().ok_or_else(broken)?;
    let status = process.take_status().ok_or_else(broken)?;
    let (stdout, stderr) =
        tokio::join!(read(stdout, LONGEST_OUTPUT), read(stderr, LONGEST_COMPLAINT));
    // Without a status the stream ended early.
    let status = status.await.ok_or_else(broken)?;
    if status.status.as_deref() != Some("Success") {
        let code = exit_code(&status);
        let said = String::from_utf8_lossy(&stderr);
        let mut said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        if said.is_empty() && code.is_none() {
            said = status.message.unwrap_or_default();
        }
        return Err(Fault::Command(code, said));
    }
    String::from_utf8(stdout).map_err(|_| Fault::Garbled("the command prints no text".to_owned()))
}

/// Reads at most `most` bytes and drains the rest, since a command that cannot write does not end.
async fn read(mut stream: impl AsyncRead + Unpin, most: u64) -> Vec<u8> {
    let mut kept = Vec::new();
    // A stream that breaks ends here; the missing status tells.
    let _ = (&mut stream).take(most).read_to_end(&mut kept).await;
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    kept
}

fn exit_code(status: &Status) -> Option<i32> {
    let causes = status.details.as_ref()?.causes.as_ref()?;
    let cause = causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"))?;
    cause.message.as_ref()?.parse().ok()
}
