use std::ffi::OsString;
use std::fs;

use multimesh::kube::error::Error;
use multimesh::kube::kubeconfig::Sources;
use multimesh::kube::{Kubeconfig, ProxyVariables};

use crate::apiserver::{ApiServer, connect_proxy, kubeconfig, nobody, write};
use crate::{explicit, install_provider, options, patiently};

fn list(paths: &[&std::path::Path]) -> Sources {
    let variable: OsString = std::env::join_paths(paths).unwrap();
    Sources { variable: Some(variable), ..Sources::default() }
}

fn names(kubeconfig: &Kubeconfig) -> Vec<String> {
    kubeconfig.contexts().into_iter().map(|context| context.name).collect()
}

#[test]
fn lists_of_files_merge_and_missing_ones_are_skipped() {
    let directory = tempfile::tempdir().unwrap();
    let one = write(directory.path(), "1", &kubeconfig("east", "https://one:6443", "{}"));
    let two = write(
        directory.path(),
        "2",
        &(kubeconfig("east", "https://two:6443", "{}").replace(
            "contexts: [",
            "contexts: [{name: west, context: {cluster: east, user: east}}, ",
        )),
    );
    let missing = directory.path().join("missing");
    let loaded = Kubeconfig::load_from(&list(&[&missing, &one, &two, &one])).unwrap();
    assert_eq!(names(&loaded), ["east", "west"]);
    assert_eq!(loaded.files(), [one, two]);
    // The first file with an entry wins, for entries that others refer to as well.
    assert_eq!(loaded.context("west").unwrap().server, "https://one:6443");
    assert_eq!(loaded.current_context(), Some("east"));
}

#[test]
fn no_file_at_all_is_an_empty_kubeconfig() {
    let home = tempfile::tempdir().unwrap();
    for sources in [
        Sources { home: Some(home.path().to_path_buf()), ..Sources::default() },
        Sources { variable: Some(OsString::from("/nowhere/config")), ..Sources::default() },
        Sources::default(),
    ] {
        let loaded = Kubeconfig::load_from(&sources).unwrap();
        assert!(loaded.contexts().is_empty());
        let error = loaded.context("east").unwrap_err();
        assert_eq!(error.to_string(), "there is no kubeconfig, and so no context `east`");
        assert!(error.hint().unwrap().contains("--kubeconfig"));
    }
}

#[test]
fn the_variable_wins_over_home_and_the_flag_over_both() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join(".kube")).unwrap();
    write(&directory.path().join(".kube"), "config", &kubeconfig("home", "https://h", "{}"));
    let variable = write(directory.path(), "v", &kubeconfig("variable", "https://v", "{}"));
    let flag = write(directory.path(), "f", &kubeconfig("flag", "https://f", "{}"));
    let mut sources = Sources {
        home: Some(directory.path().to_path_buf()),
        variable: Some(OsString::new()),
        explicit: None,
    };
    let load = |sources: &Sources| names(&Kubeconfig::load_from(sources).unwrap());
    assert_eq!(load(&sources), ["home"]);
    sources.variable = Some(variable.into());
    assert_eq!(load(&sources), ["variable"]);
    sources.explicit = Some(flag);
    assert_eq!(load(&sources), ["flag"]);
    sources.explicit = Some(directory.path().join("missing"));
    let error = Kubeconfig::load_from(&sources).err().unwrap();
    assert!(matches!(error, Error::KubeconfigUnreadable { .. }), "{error:?}");
}

#[test]
fn broken_files_are_named_with_the_place_and_without_their_values() {
    let directory = tempfile::tempdir().unwrap();
    let text = "apiVersion: v1\nkind: Config\nusers:\n- name: a\n  user: \"token-hunter2\"\n";
    let path = write(directory.path(), "config", text);
    let error = Kubeconfig::load_from(&explicit(path.clone())).err().unwrap();
    let shown = error.to_string();
    let start = format!("the kubeconfig {}, line 5, column ", path.display());
    assert!(shown.starts_with(&start), "{shown}");
    assert!(!format!("{shown}{error:?}").contains("hunter2"), "{shown}");

    let path = write(directory.path(), "config", "contexts: [\n  {name: a\n");
    let error = Kubeconfig::load_from(&explicit(path)).err().unwrap();
    assert!(matches!(&error, Error::KubeconfigInvalid { position: Some(_), .. }), "{error:?}");
    assert!(!error.to_string().contains('\n'), "{error}");
}

#[test]
fn a_name_twice_in_one_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let text = kubeconfig("east", "https://one", "{}")
        .replace("users: [", "users: [{name: east, user: {}}, ");
    let path = write(directory.path(), "config", &text);
    let error = Kubeconfig::load_from(&explicit(path.clone())).err().unwrap();
    assert_eq!(
        error.to_string(),
        format!("the kubeconfig {} is not valid: it has the user `east` twice", path.display())
    );
}

#[test]
fn what_a_context_lacks_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let text = "\
contexts:
- {name: context-east-1, context: {cluster: east, user: east}}
- {name: no-cluster, context: {cluster: gone, user: east}}
- {name: no-user, context: {cluster: east, user: gone}}
- {name: nobody, context: {cluster: east}}
clusters: [{name: east, cluster: {server: 'https://e:6443', tls-server-name: api.e}}]
users: [{name: east, user: {token: hunter2}}]
";
    let path = write(directory.path(), "config", text);
    let loaded = Kubeconfig::load_from(&explicit(path)).unwrap();
    let said = |name: &str| loaded.context(name).unwrap_err().to_string();
    assert_eq!(
        said("context-east-2"),
        "the kubeconfig has no context `context-east-2`; did you mean `context-east-1`?"
    );
    assert_eq!(
        said("zzz"),
        "the kubeconfig has no context `zzz`; it has `context-east-1`, `no-cluster`, `no-user`, \
         `nobody`"
    );
    assert!(matches!(loaded.context("no-cluster"), Err(Error::NoClusterEntry { .. })));
    assert!(matches!(
        loaded.context("no-user"),
        Err(Error::NoUserEntry { user, .. }) if user == "gone"
    ));
    assert!(matches!(
        loaded.context("nobody"),
        Err(Error::NoUserEntry { user, .. }) if user.is_empty()
    ));
    let entry = loaded.context("context-east-1").unwrap();
    assert_eq!(entry.tls_server_name.as_deref(), Some("api.e"));
    assert_eq!(loaded.contexts().len(), 4);
}

#[tokio::test]
async fn entries_that_cannot_be_used_are_told_before_any_request() {
    install_provider();
    let directory = tempfile::tempdir().unwrap();
    let connect = async |cluster: &str, user: &str| {
        let text = format!(
            "contexts: [{{name: east, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {cluster}}}]\n\
             users: [{{name: u, user: {user}}}]\n"
        );
        let path = write(directory.path(), "config", &text);
        let loaded = Kubeconfig::load_from(&explicit(path)).unwrap();
        patiently(loaded.connect("east", &options())).await.unwrap_err()
    };
    let good = "{server: 'https://10.0.0.1:6443'}";
    let cases = [
        ("{}", "{}", "the server of cluster `c` in the kubeconfig is not set"),
        ("{server: '10.0.0.1:6443'}", "{}", "does not start with `https://`"),
        (
            "{server: 'https://a', certificate-authority-data: '!!'}",
            "{}",
            "the certificate authority of cluster `c` in the kubeconfig is not base64",
        ),
        (
            "{server: 'https://a', certificate-authority: missing.crt}",
            "{}",
            "missing.crt: no such file",
        ),
        (good, "{tokenFile: missing}", "missing: No such file"),
        (good, "{auth-provider: {name: gcp}}", "has the auth provider `gcp`"),
        (
            good,
            "{client-certificate-data: aGVsbG8K, client-key-data: aGVsbG8K}",
            "the client key is not in PKCS#8",
        ),
        (good, "{client-key: missing, client-certificate-data: aGVsbG8K}", "the client key "),
        (
            "{server: 'https://a', proxy-url: 'user:hunter2@proxy:1'}",
            "{}",
            "`proxy-url` of cluster `c` in the kubeconfig has no scheme",
        ),
    ];
    for (cluster, user, expected) in cases {
        let error = connect(cluster, user).await;
        let shown = error.to_string();
        assert!(shown.contains(expected), "{cluster} {user}: {shown}");
        assert!(!format!("{shown}{error:?}").contains("hunter2"), "{shown}");
    }
}

#[tokio::test]
async fn certificate_paths_belong_to_their_file() {
    install_provider();
    let directory = tempfile::tempdir().unwrap();
    let key = rcgen::generate_simple_self_signed(["api.test".to_owned()]).unwrap();
    write(directory.path(), "ca.crt", &key.cert.pem());
    let text = "contexts: [{name: east, context: {cluster: c, user: u}}]\n\
                clusters: [{name: c, cluster: {server: 'https://a', certificate-authority: ca.crt}}]\n\
                users: [{name: u, user: {}}]\n";
    let path = write(directory.path(), "config", text);
    let loaded = Kubeconfig::load_from(&explicit(path)).unwrap();
    let cluster = patiently(loaded.connect("east", &options())).await.unwrap();
    assert_eq!(cluster.certificate_authority().unwrap().trim(), key.cert.pem().trim());
}

#[tokio::test]
async fn a_proxy_that_is_down_is_named() {
    install_provider();
    let proxy = nobody().await;
    let mut options = options();
    options.proxies = ProxyVariables {
        https_proxy: Some(format!("user:hunter2@{proxy}")),
        no_proxy: Some("10.9.9.9,".to_owned()),
        ..ProxyVariables::default()
    };
    let directory = tempfile::tempdir().unwrap();
    let path =
        write(directory.path(), "config", &kubeconfig("east", "https://10.1.2.3:6443", "{}"));
    let loaded = Kubeconfig::load_from(&explicit(path)).unwrap();
    let cluster = patiently(loaded.connect("east", &options)).await.unwrap();
    let error = patiently(cluster.version()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "`east`: the proxy http://{proxy} on the way to the API server at \
             https://10.1.2.3:6443 refused the connection"
        )
    );
    assert!(error.hint().unwrap().contains("NO_PROXY=10.1.2.3"));
}

#[tokio::test]
async fn a_proxy_is_used_and_its_refusal_is_told() {
    install_provider();
    let server = ApiServer::start().await;
    let directory = tempfile::tempdir().unwrap();
    let connect = async |proxy: &str| {
        let text = kubeconfig("east", &server.url(), "{}")
            .replace("server:", &format!("proxy-url: '{proxy}', server:"));
        let path = write(directory.path(), "config", &text);
        let loaded = Kubeconfig::load_from(&explicit(path)).unwrap();
        patiently(loaded.connect("east", &options())).await.unwrap()
    };
    let (proxy, tunnels) = connect_proxy("user:hunter2").await;
    let cluster = connect(&format!("http://user:hunter2@{proxy}")).await;
    patiently(cluster.version()).await.unwrap();
    assert_eq!(tunnels.lock().unwrap().as_slice(), [server.address().to_string()]);
    assert_eq!(cluster.proxy(), Some(format!("http://{proxy}").as_str()));

    let cluster = connect(&format!("http://user:wrong-hunter2@{proxy}")).await;
    let error = patiently(cluster.version()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "`east`: the proxy http://{proxy} on the way to the API server at {} did not open a \
             tunnel: proxy authorization required",
            server.url()
        )
    );
    assert!(!format!("{error:?}{cluster:?}").contains("hunter2"));
}
