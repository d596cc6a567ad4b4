use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use multimesh::kube::error::{Error, PluginFault};
use multimesh::kube::{Cluster, ConnectOptions, Kubeconfig};
use tempfile::TempDir;

use crate::apiserver::{ApiServer, write};
use crate::{explicit, install_provider, options, patiently};

/// A credential plugin as a shell script that counts its runs in the file `runs`, and a kubeconfig
/// that names it for the contexts `one` and `two`.
struct Plugin {
    directory: TempDir,
}

impl Plugin {
    fn new(script: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runs = directory.path().join("runs");
        let script =
            format!("#!/bin/sh\necho run >> '{}'\nN=$(wc -l < '{0}')\n{script}\n", runs.display());
        let path = write(directory.path(), "plugin", &script);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self { directory }
    }

    /// A plugin whose n-th run answers with the token `token-n`.
    fn counting(status: &str) -> Self {
        Self::new(&format!(
            r#"echo '{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"token":"token-'$N'"{status}}}}}'"#
        ))
    }

    fn runs(&self) -> usize {
        fs::read_to_string(self.directory.path().join("runs")).map_or(0, |t| t.lines().count())
    }

    fn kubeconfig(&self, server: &str, exec: &str) -> Kubeconfig {
        install_provider();
        let text = format!(
            "contexts:\n\
             - {{name: one, context: {{cluster: c, user: shared}}}}\n\
             - {{name: two, context: {{cluster: c, user: shared}}}}\n\
             clusters: [{{name: c, cluster: {{server: '{server}'}}}}]\n\
             users: [{{name: shared, user: {{exec: {{\
             apiVersion: client.authentication.k8s.io/v1, command: ./plugin{exec}}}}}}}]\n"
        );
        let path = write(self.directory.path(), "config", &text);
        Kubeconfig::load_from(&explicit(path)).unwrap()
    }

    async fn connect(&self, server: &str) -> Result<Cluster, Error> {
        patiently(self.kubeconfig(server, "").connect("one", &options())).await
    }

    async fn fault(&self) -> PluginFault {
        match self.connect("http://127.0.0.1:1").await {
            Err(Error::ExecPlugin { fault, context, user, .. }) => {
                assert_eq!((context.name(), user.as_str()), ("one", "shared"));
                fault
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_plugin_runs_once_for_all_contexts_of_its_user() {
    let server = ApiServer::start().await;
    server.accept_tokens(&["token-1"]);
    let plugin = Plugin::counting("");
    let kubeconfig = plugin.kubeconfig(&server.url(), "");
    let options = options();
    let (one, two) = patiently(async {
        tokio::join!(kubeconfig.connect("one", &options), kubeconfig.connect("two", &options))
    })
    .await;
    patiently(one.unwrap().version()).await.unwrap();
    patiently(two.unwrap().version()).await.unwrap();
    assert_eq!(plugin.runs(), 1);
}

#[tokio::test]
async fn a_plugin_that_is_told_the_cluster_runs_for_each_context() {
    let server = ApiServer::start().await;
    let plugin = Plugin::new(
        r#"echo "$KUBERNETES_EXEC_INFO" > "$(dirname "$0")/info"
echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t"}}'"#,
    );
    let kubeconfig = plugin.kubeconfig(&server.url(), ", provideClusterInfo: true");
    patiently(kubeconfig.connect("one", &options())).await.unwrap();
    patiently(kubeconfig.connect("two", &options())).await.unwrap();
    assert_eq!(plugin.runs(), 2);
    let info = fs::read_to_string(plugin.directory.path().join("info")).unwrap();
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    assert_eq!(info["kind"], "ExecCredential");
    assert_eq!(info["spec"]["interactive"], false);
    assert_eq!(info["spec"]["cluster"]["server"], server.url());
}

#[tokio::test]
async fn a_refused_credential_is_renewed_once() {
    let server = ApiServer::start().await;
    server.accept_tokens(&["token-1"]);
    let plugin = Plugin::counting("");
    let cluster = plugin.connect(&server.url()).await.unwrap();
    patiently(cluster.version()).await.unwrap();
    // Eight calls meet the expired token at once: the plugin runs once more, not eight times.
    server.accept_tokens(&["token-2"]);
    let calls = (0..8).map(|_| cluster.version());
    for result in patiently(futures::future::join_all(calls)).await {
        result.unwrap();
    }
    assert_eq!(plugin.runs(), 2);

    server.accept_tokens(&[]);
    let error = patiently(cluster.version()).await.unwrap_err();
    assert!(matches!(&error, Error::Unauthorized { plugin: Some(_), .. }), "{error:?}");
    assert_eq!(plugin.runs(), 3);
    let shown = format!("{error} {error:?} {cluster:?}");
    assert!(!shown.contains("token-"), "{shown}");
}

#[tokio::test]
async fn an_expired_credential_is_renewed_before_it_is_used() {
    let server = ApiServer::start().await;
    server.accept_tokens(&["token-2", "token-3"]);
    let plugin = Plugin::new(
        r#"if [ "$N" = 1 ]; then END=2020-01-01T00:00:00Z; else END=2090-01-01T00:00:00Z; fi
echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"token-'$N'","expirationTimestamp":"'$END'"}}'"#,
    );
    let cluster = plugin.connect(&server.url()).await.unwrap();
    patiently(cluster.version()).await.unwrap();
    patiently(cluster.version()).await.unwrap();
    assert_eq!(plugin.runs(), 2);
    assert!(server.received().iter().all(|r| r.authorization.as_deref() == Some("Bearer token-2")));
}

#[tokio::test]
async fn a_plugin_that_takes_its_time_lets_no_call_outlast_its_lease() {
    let server = ApiServer::start().await;
    server.accept_tokens(&["token-2"]);
    let plugin = Plugin::new(
        r#"if [ "$N" = 1 ]; then END=2020-01-01T00:00:00Z; else END=2090-01-01T00:00:00Z; sleep 1; fi
echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"token-'$N'","expirationTimestamp":"'$END'"}}'"#,
    );
    let cluster = plugin.connect(&server.url()).await.unwrap();
    let bound = cluster.under_lease(Duration::from_millis(300));
    patiently(bound.version()).await.unwrap_err();
    assert!(server.received().is_empty(), "it was sent when the lease may have ended");
    // The credential is there now.
    patiently(bound.version()).await.unwrap();
    assert_eq!(plugin.runs(), 2);
}

#[tokio::test]
async fn answers_in_yaml_are_taken() {
    let server = ApiServer::start().await;
    server.accept_tokens(&["yaml"]);
    let plugin = Plugin::new(
        "printf 'apiVersion: client.authentication.k8s.io/v1\\nkind: ExecCredential\\nstatus:\\n  \
         token: yaml\\n'",
    );
    patiently(plugin.connect(&server.url()).await.unwrap().version()).await.unwrap();
}

#[tokio::test]
async fn failures_say_what_the_plugin_said() {
    let plugin = Plugin::new("echo 'Error: the SSO session has expired' >&2; exit 3");
    let error = plugin.connect("http://127.0.0.1:1").await.unwrap_err();
    let command = plugin.directory.path().join("./plugin");
    assert_eq!(
        error.to_string(),
        format!(
            "`one`: the credential plugin `{}` of user `shared` failed with exit code 3: Error: \
             the SSO session has expired",
            command.display()
        )
    );
    assert!(error.hint().unwrap().contains(" --context one auth whoami"));
}

#[tokio::test]
async fn a_plugin_that_hangs_is_killed_and_asked_once() {
    let plugin = Plugin::new("echo $$ > \"$(dirname \"$0\")/pid\"; exec sleep 600");
    let short = ConnectOptions { plugin_timeout: Duration::from_millis(500), ..options() };
    let kubeconfig = plugin.kubeconfig("http://127.0.0.1:1", "");
    let started = Instant::now();
    for context in ["one", "two"] {
        let error = patiently(kubeconfig.connect(context, &short)).await.unwrap_err();
        assert!(
            matches!(&error, Error::ExecPlugin { fault: PluginFault::Hung(_), .. }),
            "{error:?}"
        );
    }
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(plugin.runs(), 1);
    let pid = fs::read_to_string(plugin.directory.path().join("pid")).unwrap();
    let state = format!("/proc/{}/stat", pid.trim());
    patiently(async {
        while fs::read_to_string(&state).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn bad_answers_are_not_quoted() {
    let answer = |body: &str| Plugin::new(&format!("echo '{body}'"));
    let v1 = r#""apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential""#;
    let cases = [
        ("hunter2".to_owned(), "is not an ExecCredential"),
        (format!("{{{v1}}}"), "has no `status`"),
        (format!("{{{v1},\"status\":{{}}}}"), "neither a token nor a client certificate"),
        (
            format!("{{{v1},\"status\":{{\"clientKeyData\":\"hunter2\"}}}}"),
            "a key without",
        ),
        (
            format!("{{{v1},\"status\":{{\"token\":\"hunter2\",\"expirationTimestamp\":\"x\"}}}}"),
            "is not a time",
        ),
        (
            r#"{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential","status":{"token":"hunter2"}}"#
                .to_owned(),
            "another `apiVersion`",
        ),
    ];
    for (body, expected) in cases {
        let fault = answer(&body).fault().await;
        let shown = fault.to_string();
        assert!(shown.contains(expected), "{body}: {shown}");
        assert!(!format!("{shown} {fault:?}").contains("hunter2"), "{shown}");
    }
}

#[tokio::test]
async fn plugins_that_must_ask_are_not_run_without_a_terminal() {
    let plugin = Plugin::counting("");
    let kubeconfig = plugin.kubeconfig("http://127.0.0.1:1", ", interactiveMode: Always");
    let error = patiently(kubeconfig.connect("one", &options())).await.unwrap_err();
    assert!(
        matches!(&error, Error::ExecPlugin { fault: PluginFault::WantsInput, .. }),
        "{error:?}"
    );
    assert_eq!(plugin.runs(), 0);
}

#[tokio::test]
async fn a_missing_plugin_comes_with_its_install_hint() {
    let plugin = Plugin::new("");
    fs::remove_file(plugin.directory.path().join("plugin")).unwrap();
    let kubeconfig =
        plugin.kubeconfig("http://127.0.0.1:1", ", installHint: 'brew install cloud-login'");
    let error = patiently(kubeconfig.connect("one", &options())).await.unwrap_err();
    assert!(error.to_string().ends_with("of user `shared` was not found"), "{error}");
    assert_eq!(error.hint().as_deref(), Some("brew install cloud-login"));
}

#[tokio::test]
async fn clusters_of_one_user_share_the_renewal() {
    let server = ApiServer::start().await;
    let plugin = Plugin::counting("");
    let kubeconfig = plugin.kubeconfig(&server.url(), "");
    let one = patiently(kubeconfig.connect("one", &options())).await.unwrap();
    let two = patiently(kubeconfig.connect("two", &options())).await.unwrap();
    server.accept_tokens(&["token-2"]);
    patiently(one.version()).await.unwrap();
    patiently(two.version()).await.unwrap();
    assert_eq!(plugin.runs(), 2);
}

#[tokio::test]
async fn other_credentials_of_the_user_come_first() {
    use base64::Engine as _;
    let server = ApiServer::start().await;
    let plugin = Plugin::counting("");
    let pair = rcgen::generate_simple_self_signed(["jane".to_owned()]).unwrap();
    let base64 = |pem: String| base64::engine::general_purpose::STANDARD.encode(pem);
    let certificate = format!(
        "client-certificate-data: {}, client-key-data: {}",
        base64(pair.cert.pem()),
        base64(pair.signing_key.serialize_pem())
    );
    for own in ["token: static", "username: jane, password: hunter2", &certificate] {
        plugin.kubeconfig(&server.url(), "");
        let path = plugin.directory.path().join("config");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("user: {exec:", &format!("user: {{{own}, exec:"))).unwrap();
        let kubeconfig = Kubeconfig::load_from(&explicit(path)).unwrap();
        let cluster = patiently(kubeconfig.connect("one", &options())).await.unwrap();
        patiently(cluster.version()).await.unwrap();
        assert_eq!(plugin.runs(), 0, "{own}");
    }
    assert_eq!(server.received()[0].authorization.as_deref(), Some("Bearer static"));
}

#[tokio::test]
async fn a_token_file_is_read() {
    install_provider();
    let server = ApiServer::start().await;
    server.accept_tokens(&["from-file"]);
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "token", "from-file");
    let text = crate::apiserver::kubeconfig("east", &server.url(), "{tokenFile: token}");
    let path = write(directory.path(), "config", &text);
    assert!(Path::new(&path).is_absolute());
    let kubeconfig = Kubeconfig::load_from(&explicit(path)).unwrap();
    let cluster = patiently(kubeconfig.connect("east", &options())).await.unwrap();
    patiently(cluster.version()).await.unwrap();
}
