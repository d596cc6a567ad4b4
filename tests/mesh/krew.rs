//! The plugin as krew installs it: unpacked into a store, linked into a folder of the PATH, and
//! called by the real kubectl.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use multimesh_lab::Cluster;

use crate::cleanup::Cleanup;
use crate::clusters;
use crate::live::{BINARY, Run, User};

/// A krew root: `store/<plugin>/<version>` and `bin`.
struct Krew {
    root: tempfile::TempDir,
}

impl Krew {
    fn new() -> Self {
        let krew = Self { root: tempfile::tempdir().unwrap() };
        fs::create_dir_all(krew.bin()).unwrap();
        krew
    }

    fn bin(&self) -> PathBuf {
        self.root.path().join("bin")
    }

    fn link(&self) -> PathBuf {
        self.bin().join("kubectl-multimesh")
    }

    fn store(&self) -> PathBuf {
        self.root.path().join("store/multimesh")
    }

    /// An archive of a program, packed by the code that packs a release.
    fn archive(&self, version: &str, program: &Path) -> PathBuf {
        let archive = self.root.path().join(format!("{version}.tar.gz"));
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        for (variable, _) in env::vars_os() {
            // Build scripts would take what cargo told this test about itself for a change.
            let name = variable.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(&variable);
            }
        }
        cargo.args(["run", "--quiet", "--package", "xtask", "--", "pack"]).arg(program);
        cargo.arg(&archive).current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(cargo.status().unwrap().success());
        archive
    }

    /// Installs an archive, or puts it in the place of an older one.
    fn install(&self, version: &str, archive: &Path) {
        let folder = self.store().join(version);
        fs::create_dir_all(&folder).unwrap();
        let mut tar = Command::new("tar");
        assert!(tar.arg("-xzf").arg(archive).arg("-C").arg(&folder).status().unwrap().success());
        assert!(folder.join("LICENSE").is_file(), "krew refuses an archive without a licence");
        if self.link().symlink_metadata().is_ok() {
            fs::remove_file(self.link()).unwrap();
        }
        symlink(folder.join("kubectl-multimesh"), self.link()).unwrap();
        // After an upgrade only the new version stays.
        for entry in fs::read_dir(self.store()).unwrap() {
            let path = entry.unwrap().path();
            if !path.ends_with(version) {
                fs::remove_dir_all(path).unwrap();
            }
        }
    }

    fn uninstall(&self) {
        fs::remove_file(self.link()).unwrap();
        fs::remove_dir_all(self.store()).unwrap();
    }

    /// The lab's kubectl, for a user with krew's folder on the PATH.
    fn kubectl(&self, user: &User, arguments: &[&str]) -> Run {
        let mut path: OsString = self.bin().into();
        path.push(":");
        path.push(user.lab.path());
        let mut command = user.command_of("kubectl");
        Run::of(&command.env("PATH", path).args(arguments).output().unwrap())
    }
}

#[test]
fn krew_installs_upgrades_and_uninstalls_a_plugin_that_makes_a_mesh() {
    let _alone = clusters();
    let user = User::new();
    let krew = Krew::new();
    let run = |arguments: &[&str]| krew.kubectl(&user, arguments);

    let old = krew.root.path().join("old");
    fs::write(&old, "#!/bin/sh\necho kubectl-multimesh 0.0.9\n").unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
    krew.install("v0.0.9", &krew.archive("v0.0.9", &old));
    let told = run(&["multimesh", "--version"]).expect(0).stdout;
    assert_eq!(told, "kubectl-multimesh 0.0.9\n");

    let version = format!("v{}", env!("CARGO_PKG_VERSION"));
    krew.install(&version, &krew.archive(&version, Path::new(BINARY)));
    let told = run(&["multimesh", "version"]).expect(0).stdout;
    let ours = told.lines().find(|line| line.starts_with("kubectl-multimesh"));
    assert!(ours.is_some_and(|line| line.contains(env!("CARGO_PKG_VERSION"))), "{told}");
    let help = run(&["multimesh", "apply", "--help"]).expect(0).stdout;
    assert!(help.contains("Usage: kubectl multimesh apply [OPTIONS]"), "{help}");
    let list = run(&["plugin", "list"]).expect(0);
    let link = krew.link();
    assert!(list.stdout.lines().any(|line| Path::new(line) == link), "{}", list.stdout);
    let warned = [&list.stdout, &list.stderr].iter().any(|it| it.contains("warning"));
    assert!(!warned, "{}{}", list.stdout, list.stderr);
    assert_eq!(fs::read_dir(krew.store()).unwrap().count(), 1, "the old version is left");
    for text in ["man/kubectl-multimesh-apply.1", "completions/kubectl-multimesh.bash"] {
        assert!(krew.store().join(&version).join(text).is_file(), "{text} is not in the archive");
    }

    // kubectl completes the plugin's command line once its other name is there.
    run(&["multimesh", "completion", "install"]).expect(0);
    let told = run(&["__complete", "multimesh", "app"]).expect(0).stdout;
    assert!(told.starts_with("apply\tMake the clusters") && told.ends_with(":4\n"), "{told}");
    let told = run(&["__complete", "multimesh", "status", "-o", "w"]).expect(0).stdout;
    assert_eq!(told, "wide\n:4\n");
    user.describe("named", &user.lab.clusters().unwrap().iter().take(1).collect::<Vec<_>>());
    let first = user.lab.clusters().unwrap()[0].context.clone();
    let dir = user.mesh("named").display().to_string();
    for (words, told) in [
        (&["status", "--mesh", ""][..], "named\n:4\n".to_owned()),
        (&["plan", "--contexts", ""], format!("{first}\n:4\n")),
        (&["plan", "--dir", &dir, "--contexts", "^"], format!("^{first}\n:4\n")),
        (&["apply", "--nonsense", "x", "--mesh", "na"], "named\n:4\n".to_owned()),
    ] {
        let run = run(&[&["__complete", "multimesh"], words].concat()).expect(0);
        assert_eq!(run.stdout, told, "{words:?}");
        // Words of kubectl's own.
        let own = ["[Debug] ", "Completion ended with directive"];
        let other = |line: &&str| !own.iter().any(|start| line.starts_with(start));
        assert_eq!(run.stderr.lines().find(other), None, "{words:?}");
    }
    std::fs::remove_dir_all(dir).unwrap();
    krew.install("v9.9.9", &krew.archive("v9.9.9", Path::new(BINARY)));
    assert!(run(&["__complete", "multimesh", ""]).stdout.contains("teardown"), "after an upgrade");
    run(&["multimesh", "completion", "uninstall"]).expect(0);

    let three: Vec<Cluster> =
        user.lab.clusters().unwrap().into_iter().filter(|it| it.has_node).collect();
    let _cleanup = Cleanup(&user, Vec::new());
    run(&["multimesh", "init", "--mesh-id", "installed"]).expect(0);
    user.describe("installed", &three.iter().collect::<Vec<_>>());
    run(&["multimesh", "apply"]).expect(0);
    let status = run(&["multimesh", "status"]).expect(0);
    assert!(status.stdout.contains("HEALTHY"), "{}", status.stdout);
    run(&["multimesh", "teardown", "--yes"]).expect(0);

    krew.uninstall();
    let gone = run(&["multimesh", "--version"]);
    assert_ne!(gone.code, 0);
    assert!(gone.stderr.contains("unknown command"), "{}", gone.stderr);
}
