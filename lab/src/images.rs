//! The container images of the lab, made of what was built and of Debian's busybox and iptables.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command;
use crate::error::{Doing as _, Error, Result};
use crate::oci::{self, Image, Root};
use crate::packages::find;
use crate::pins;
use crate::programs::Programs;

/// The files, one an image.
pub(crate) const NAMES: [&str; 4] = ["pause.tar", "pilot.tar", "proxyv2.tar", "echo.tar"];

/// The image of a pod's sandbox.
pub(crate) const PAUSE: &str = "localhost/pause:1";
/// The image of the echo application.
pub(crate) const ECHO: &str = "localhost/echo:1";

const APPLETS: [&str; 8] = ["sh", "cat", "ls", "sleep", "env", "wget", "nc", "id"];
const PASSWD: &str = "root:x:0:0:root:/:/bin/sh\nistio-proxy:x:1337:1337::/:/bin/sh\n";
const GROUP: &str = "root:x:0:\nistio-proxy:x:1337:\n";

/// Writes all images that are not there.
pub(crate) fn write(programs: &Programs) -> Result<()> {
    let folder = programs.images();
    fs::create_dir_all(&folder).at("create", &folder)?;
    for name in NAMES {
        let path = folder.join(name);
        if !path.is_file() {
            make(programs, name, &path)?;
        }
    }
    Ok(())
}

fn make(programs: &Programs, name: &str, to: &Path) -> Result<()> {
    let bin = programs.bin();
    let mut root = base()?;
    let istio = |image: &str| format!("{}/{image}:{}", pins::ISTIO_HUB, pins::ISTIO);
    let (image, entrypoint, user) = match name {
        "pause.tar" => (PAUSE.to_owned(), ["/bin/sleep", "2147483647"].as_slice(), ""),
        "pilot.tar" => {
            root.copy("/usr/local/bin/pilot-discovery", &bin.join("pilot-discovery"));
            (istio("pilot"), ["/usr/local/bin/pilot-discovery"].as_slice(), "1337:1337")
        }
        "proxyv2.tar" => {
            proxy(programs, &mut root)?;
            (istio("proxyv2"), ["/usr/local/bin/pilot-agent"].as_slice(), "")
        }
        _ => {
            for program in ["echo-server", "echo-client"] {
                root.copy(&format!("/usr/local/bin/{program}"), &bin.join(program));
            }
            (ECHO.to_owned(), ["/usr/local/bin/echo-server"].as_slice(), "")
        }
    };
    let image = Image { name: &image, entrypoint, user };
    oci::write(&image, &root, to)
}

/// A small system around busybox.
fn base() -> Result<Root> {
    let mut root = Root::default();
    for folder in ["dev", "etc", "proc", "run", "sys", "usr/local/bin", "var"] {
        root.folder(folder, 0o755);
    }
    root.folder("tmp", 0o1777);
    let busybox = program("busybox")?;
    root.copy("/bin/busybox", &busybox);
    libraries(&mut root, &busybox)?;
    for applet in APPLETS {
        root.link(&format!("/bin/{applet}"), "busybox");
    }
    root.text("/etc/passwd", PASSWD);
    root.text("/etc/group", GROUP);
    Ok(root)
}

fn proxy(programs: &Programs, root: &mut Root) -> Result<()> {
    for name in ["pilot-agent", "envoy"] {
        let path = programs.bin().join(name);
        root.copy(&format!("/usr/local/bin/{name}"), &path);
        libraries(root, &path)?;
    }
    for folder in ["/var/lib/istio/data", "/etc/istio/proxy", "/run"] {
        root.folder(folder, 0o777);
    }
    root.copy("/var/lib/istio/envoy/envoy_bootstrap_tmpl.json", &programs.bootstrap());

    // The init container of a sidecar redirects traffic with it.
    let iptables = program("iptables-legacy")?;
    root.copy("/usr/sbin/xtables-legacy-multi", &iptables);
    libraries(root, &iptables)?;
    for family in ["iptables", "ip6tables"] {
        for flavour in ["", "-legacy"] {
            for action in ["", "-save", "-restore"] {
                let name = format!("/usr/sbin/{family}{flavour}{action}");
                root.link(&name, "xtables-legacy-multi");
            }
        }
    }
    for extension in extensions()? {
        root.copy(&extension.display().to_string(), &extension);
        libraries(root, &extension)?;
    }
    Ok(())
}

/// A program of the system, through its links.
fn program(name: &str) -> Result<PathBuf> {
    let path = find(name)
        .ok_or_else(|| Error::Refused(format!("the images need `{name}`, which is not there")))?;
    fs::canonicalize(&path).at("resolve", &path)
}

/// Copies the shared libraries of a file to the places where the loader looks for them.
fn libraries(root: &mut Root, file: &Path) -> Result<()> {
    let mut ldd = Command::new("ldd");
    ldd.arg(file);
    match command::run(&mut ldd, Duration::from_secs(20)) {
        Ok(output) => {
            for library in paths(&output) {
                root.copy(library, Path::new(library));
            }
            Ok(())
        }
        // A static program has none.
        Err(Error::Program { output, .. }) if output.contains("not a dynamic executable") => Ok(()),
        Err(error) => Err(error),
    }
}

/// The paths in the output of `ldd`.
fn paths(output: &str) -> BTreeSet<&str> {
    let words = output.split_whitespace();
    words.filter(|word| word.starts_with('/')).collect()
}

/// The extensions of iptables.
fn extensions() -> Result<Vec<PathBuf>> {
    let below = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten();
        entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
    };
    let mut folders = vec![PathBuf::from("/usr/lib/xtables"), "/usr/lib64/xtables".into()];
    folders.extend(below(Path::new("/usr/lib")).iter().map(|it| it.join("xtables")));
    let folder =
        folders.iter().find(|folder| folder.join("libxt_owner.so").is_file()).ok_or_else(|| {
            Error::Refused("the images need the extensions of iptables, which are not there".into())
        })?;
    let mut files = below(folder);
    files.retain(|path| path.extension().is_some_and(|extension| extension == "so"));
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_found_in_the_output_of_ldd() {
        let output = "\tlinux-vdso.so.1 (0x00007ffc)\n\
                      \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert!(paths(output).into_iter().eq(expected));
    }
}
