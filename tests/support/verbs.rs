//! What hints ask of other programs.

/// The first words of `kubectl` commands that hints name, and the flags that are given to them there,
/// besides `--kubeconfig`, `--context` and `-n`.
pub(crate) const KUBECTL: &[(&str, &[&str])] = &[
    ("api-resources", &["--api-group"]),
    ("auth can-i", &["--list"]),
    ("auth whoami", &[]),
    ("completion", &["--help"]),
    ("config get-contexts", &["-o"]),
    ("config set-cluster", &["--server", "--certificate-authority", "--embed-certs"]),
    ("config set-context", &["--cluster", "--user"]),
    ("config set-credentials", &[]),
    ("config view", &["--minify", "--raw"]),
    ("delete", &[]),
    ("describe", &["-l"]),
    ("get", &["--raw"]),
    ("logs", &["-l", "--tail"]),
    ("rollout restart", &[]),
    ("scale", &["--replicas"]),
    ("version", &[]),
];

/// The same for `istioctl`; both know `--kubeconfig` and `--context` everywhere.
pub(crate) const ISTIOCTL: &[(&str, &[&str])] =
    &[("manifest generate", &[]), ("uninstall", &["--purge"])];
