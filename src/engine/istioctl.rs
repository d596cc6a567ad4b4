//! istioctl: found, asked for its version, and run to render; unchanged input needs no run.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::process::Command;
use tokio::sync::OnceCell;

use super::fleet;
use super::home::cause;
use crate::error::Failure;
use crate::files;
use crate::hex::hex;
use crate::istio::manifest::{self, ManifestError};
use crate::istio::operator::{self, Variant};
use crate::istio::version;
use crate::kube::quote;
use crate::plan::desired::Rendering;

/// How long one run of istioctl may take: it renders in well under a second.
const LIMIT: Duration = Duration::from_secs(60);
/// How many renderings of the past are kept.
const KEPT: usize = 8;

/// An istioctl that was found. It is asked for its version once it is needed.
#[derive(Debug)]
pub struct Istioctl {
    path: PathBuf,
    /// Which build it was when it was found: one that takes its place meanwhile is another.
    identity: String,
    /// Where its version and what it rendered is kept.
    cache: PathBuf,
    version: OnceCell<String>,
}

/// The istioctl that a run would use, as far as it goes.
#[derive(Debug, Clone)]
pub struct Survey {
    /// Its file; `None` where there is none.
    pub path: Option<PathBuf>,
    /// Its version; `None` where it does not tell one.
    pub version: Option<String>,
    /// Why it cannot be used.
    pub unfit: Option<Failure>,
}

/// Finds istioctl as [`Istioctl::find`] does and asks for its version, whatever comes of it.
/// Writes nothing.
pub async fn survey(wanted: Option<&Path>) -> Survey {
    let path = match locate(wanted) {
        Ok(path) => path,
        Err(failure) => return Survey { path: None, version: None, unfit: Some(failure) },
    };
    let version = ask_version(&path).await;
    let checked = version.clone().and_then(|version| check_version(&path, &version));
    Survey { path: Some(path), version: version.ok(), unfit: checked.err() }
}

impl Istioctl {
    /// Finds istioctl: the user's, else the first on PATH. The version of a file that was asked
    /// before is taken from `cache`.
    pub fn find(wanted: Option<&Path>, cache: PathBuf) -> Result<Self, Failure> {
        let path = locate(wanted)?;
        let identity = identity(&path);
        let known = std::fs::read_to_string(record(&cache)).unwrap_or_default();
        // A script may be the shim of a version manager, which gives another istioctl tomorrow.
        let known = known
            .split_once('\n')
            .filter(|(id, _)| *id == identity && !is_script(&path))
            .map(|(_, version)| version.trim().to_owned())
            .filter(|version| check_version(&path, version).is_ok());
        let version = OnceCell::new_with(known);
        Ok(Self { path, identity, cache, version })
    }

    /// Its version, which is the version of the mesh: one that works.
    pub async fn version(&self) -> Result<&str, Failure> {
        let version = self.version.get_or_try_init(|| async {
            let version = ask_version(&self.path).await?;
            check_version(&self.path, &version)?;
            // Only a cache: what cannot be written is asked again.
            let text = format!("{}\n{version}\n", self.identity);
            let _ = files::write_private(&record(&self.cache), text.as_bytes());
            Ok(version)
        });
        version.await.map(String::as_str)
    }

    /// Renders the manifest of a variant. `file` is where `base` was read, for the message.
    pub async fn render(
        &self,
        base: &Value,
        overlay: Option<&Value>,
        variant: &Variant,
        file: &Path,
    ) -> Result<Rendering, Failure> {
        let operator = operator::build(base, overlay, variant);
        let input = operator.to_string();
        // Of one that was not the last here hardly anything is kept: it renders while it is asked.
        let ahead = async {
            if self.version.initialized() || is_script(&self.path) {
                return Ok(None);
            }
            Ok(Some(self.run_on(&input, file).await))
        };
        let (version, ahead) = futures::try_join!(self.version(), ahead)?;
        let kept = self.kept(version, &input);
        let output = match ahead {
            Some(output) => output?,
            None => match read_cached(kept.clone()).await {
                Some(rendering) => return Ok(rendering),
                None => self.run_on(&input, file).await?,
            },
        };
        let namespace = variant.namespace.clone();
        let read = move || {
            let objects = manifest::parse(&String::from_utf8_lossy(&output.stdout))?;
            Ok(Rendering::new(objects, &namespace))
        };
        let rendering = fleet::aside(read).await.map_err(|why: ManifestError| {
            Failure::new(why.to_string()).hint(self.try_hint(file))
        })?;
        store_cached(&self.cache, &kept, &rendering);
        Ok(rendering)
    }

    /// The file that keeps what was rendered of an input.
    fn kept(&self, version: &str, input: &str) -> PathBuf {
        let digest = Sha256::new()
            // Another version of the tool may make something else of it.
            .chain_update(env!("CARGO_PKG_VERSION"))
            .chain_update(version.as_bytes())
            .chain_update(self.identity.as_bytes())
            .chain_update(input.as_bytes())
            .finalize();
        self.cache.join(format!("manifest-{}.json", hex(&digest[..12])))
    }

    async fn run_on(&self, input: &str, base: &Path) -> Result<Output, Failure> {
        let file = tempfile::Builder::new()
            .prefix("multimesh-operator-")
            .suffix(".yaml")
            .tempfile()
            .and_then(|mut file| {
                std::io::Write::write_all(&mut file, input.as_bytes()).map(|()| file)
            })
            .map_err(|e| {
                Failure::new(format!("failed to write a temporary file: {}", cause(&e)))
            })?;
        let args: [OsString; 4] =
            ["manifest".into(), "generate".into(), "-f".into(), file.path().into()];
        let output = run(&self.path, &args).await?;
        if output.status.success() {
            return Ok(output);
        }
        let message = shorten(&String::from_utf8_lossy(&output.stderr), file.path());
        Err(Failure::new(format!("istioctl rejects the operator that base.yaml makes: {message}"))
            .hint("mend base.yaml, or the overlay of the context")
            .hint(self.try_hint(base)))
    }

    fn try_hint(&self, base: &Path) -> String {
        let words = [&self.path, base].map(|path| quote(&path.to_string_lossy()));
        format!("try it alone: `{} manifest generate -f {}`", words[0], words[1])
    }
}

/// The file that keeps the version.
fn record(cache: &Path) -> PathBuf {
    cache.join("istioctl-version")
}

fn locate(wanted: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(path) = wanted {
        return if path.is_file() {
            // A bare name would be looked up on PATH.
            Ok(std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()))
        } else {
            Err(Failure::new(format!("there is no istioctl at {}", path.display()))
                .hint("name the program itself: `--istioctl <path>`"))
        };
    }
    files::on_path("istioctl").ok_or_else(|| {
        Failure::new("there is no `istioctl` on PATH, and it renders what the clusters get")
            .hint("install the istioctl of the Istio version that you want (https://istio.io/latest/docs/setup/getting-started/#download)")
            .hint("or name it: `--istioctl <path>`")
    })
}

fn is_script(path: &Path) -> bool {
    let mut start = [0; 2];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == *b"#!"
}

/// Tells one build of a program from another without reading it.
fn identity(path: &Path) -> String {
    let Ok(meta) = std::fs::metadata(path) else { return path.display().to_string() };
    let changed = meta.modified().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
    let changed = changed.map_or(0, |d| d.as_nanos());
    format!("{} {} {changed}", path.display(), meta.len())
}

async fn ask_version(path: &Path) -> Result<String, Failure> {
    let args: [OsString; 4] =
        ["version".into(), "--remote=false".into(), "-o".into(), "json".into()];
    let output = run(path, &args).await?;
    version::of_istioctl(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| {
        let said = shorten(&String::from_utf8_lossy(&output.stderr), path);
        let said = if said.is_empty() { said } else { format!(": {said}") };
        Failure::new(format!("{} does not tell its version{said}", path.display())).hint(format!(
            "see what it says: `{} version --remote=false`",
            quote(&path.to_string_lossy())
        ))
    })
}

fn check_version(path: &Path, text: &str) -> Result<(), Failure> {
    match version::Version::parse(text) {
        Some(version) if version >= version::OLDEST => Ok(()),
        Some(_) => Err(Failure::new(format!(
            "istioctl {text} ({}) is too old: Istio {} is the oldest that works",
            path.display(),
            version::OLDEST
        ))
        .hint("install a newer istioctl, or name another: `--istioctl <path>`")),
        None => Err(Failure::new(format!(
            "istioctl ({}) says that its version is `{text}`, which is none of Istio's",
            path.display()
        ))
        .hint("use an istioctl of a release: `--istioctl <path>`")),
    }
}

async fn run(path: &Path, args: &[OsString]) -> Result<Output, Failure> {
    let mut command = Command::new(path);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Rendering needs no cluster, so it is given none.
        .env_remove("KUBECONFIG")
        // It ends soon: at Go's default a quarter of its work is collecting garbage.
        .env("GOGC", "400")
        .kill_on_drop(true);
    let run = async { files::start_when_written(|| command.spawn())?.wait_with_output().await };
    match tokio::time::timeout(LIMIT, run).await {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(error)) => {
            Err(Failure::new(format!("failed to run {}: {}", path.display(), cause(&error)))
                .hint("is it executable, and for this machine?"))
        }
        Err(_) => Err(Failure::new(format!(
            "{} did not end within {} s",
            path.display(),
            LIMIT.as_secs()
        ))
        .hint(format!("see what keeps it: `{} version --remote=false`", path.display()))),
    }
}

/// istioctl's own words, without its prefix, the temporary file and repetition.
fn shorten(stderr: &str, file: &Path) -> String {
    let line = stderr.lines().map(str::trim).find(|l| l.starts_with("Error")).unwrap_or(stderr);
    let line = line.trim().trim_start_matches("Error:").trim();
    let line = line.replace(&file.display().to_string(), "base.yaml");
    let line = line.lines().next().unwrap_or_default();
    if line.chars().count() <= 300 {
        return line.to_owned();
    }
    line.chars().take(300).chain("...".chars()).collect()
}

async fn read_cached(path: PathBuf) -> Option<Rendering> {
    fleet::aside(move || serde_json::from_slice(&std::fs::read(path).ok()?).ok()).await
}

/// Keeps a rendering; failing to costs the next run a render and nothing else.
fn store_cached(dir: &Path, path: &Path, rendering: &Rendering) {
    let Ok(text) = serde_json::to_vec(rendering) else { return };
    if files::write_private(path, &text).is_err() {
        return;
    }
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut by_age: BTreeMap<_, PathBuf> = BTreeMap::new();
    for entry in entries {
        let rendering = entry.file_name().to_string_lossy().starts_with("manifest-");
        if let (true, Ok(changed)) = (rendering, entry.metadata().and_then(|m| m.modified())) {
            by_age.insert((changed, entry.file_name()), entry.path());
        }
    }
    let surplus = by_age.len().saturating_sub(KEPT);
    for old in by_age.into_values().take(surplus) {
        let _ = std::fs::remove_file(old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn istioctls_words_are_kept_short() {
        let file = Path::new("/tmp/x.yaml");
        assert_eq!(
            shorten("Error: read /tmp/x.yaml: bad\nUsage: ...", file),
            "read base.yaml: bad"
        );
        assert_eq!(shorten("warn\nError: a\nError: b", file), "a");
        assert!(shorten(&"x".repeat(1000), file).len() < 320);
    }

    #[test]
    fn old_and_strange_versions_are_refused() {
        let check = |v| check_version(Path::new("istioctl"), v);
        assert!(check("1.31.0-alpha.eed52eb").is_ok());
        assert!(check("1.28.9").unwrap_err().message.contains("is too old"));
        assert!(check("unknown").is_err());
    }
}
