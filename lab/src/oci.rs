//! Writes container images as OCI archives, which containerd imports without a registry.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use crate::command::{digits, hex};
use crate::error::{Doing as _, Result};
use crate::programs::{part, rename};

/// The files of an image.
#[derive(Default)]
pub(crate) struct Root {
    entries: BTreeMap<String, Entry>,
}

enum Entry {
    Folder(u32),
    Text(String),
    Copy(PathBuf),
    Link(String),
}

impl Root {
    pub(crate) fn folder(&mut self, path: &str, mode: u32) {
        self.add(path, Entry::Folder(mode));
    }

    /// A file with that content.
    pub(crate) fn text(&mut self, path: &str, content: &str) {
        self.add(path, Entry::Text(content.to_owned()));
    }

    /// A copy of a file of this machine.
    pub(crate) fn copy(&mut self, path: &str, source: &Path) {
        self.add(path, Entry::Copy(source.to_owned()));
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) {
        self.add(path, Entry::Link(target.to_owned()));
    }

    fn add(&mut self, path: &str, entry: Entry) {
        let path = path.trim_matches('/');
        for (end, _) in path.match_indices('/') {
            let parent = path[..end].to_owned();
            self.entries.entry(parent).or_insert(Entry::Folder(0o755));
        }
        self.entries.insert(path.to_owned(), entry);
    }

    /// Writes the files as a layer: the same bytes for the same files, whoever writes them.
    fn write(&self, to: impl Write) -> io::Result<()> {
        let mut archive = Builder::new(to);
        for (path, entry) in &self.entries {
            let mut header = Header::new_gnu();
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            match entry {
                Entry::Folder(mode) => {
                    header.set_entry_type(EntryType::Directory);
                    header.set_mode(*mode);
                    header.set_size(0);
                    archive.append_data(&mut header, format!("{path}/"), io::empty())?;
                }
                Entry::Text(content) => {
                    header.set_mode(0o644);
                    header.set_size(content.len() as u64);
                    archive.append_data(&mut header, path, content.as_bytes())?;
                }
                Entry::Copy(source) => {
                    let file = File::open(source)?;
                    header.set_mode(0o755);
                    header.set_size(file.metadata()?.len());
                    archive.append_data(&mut header, path, file)?;
                }
                Entry::Link(target) => {
                    header.set_entry_type(EntryType::Symlink);
                    header.set_mode(0o777);
                    header.set_size(0);
                    archive.append_link(&mut header, path, target)?;
                }
            }
        }
        archive.into_inner()?.flush()
    }
}

/// What an image is called and what it runs.
pub(crate) struct Image<'a> {
    pub(crate) name: &'a str,
    pub(crate) entrypoint: &'a [&'a str],
    pub(crate) user: &'a str,
}

/// Writes an image with one layer.
pub(crate) fn write(image: &Image<'_>, root: &Root, to: &Path) -> Result<()> {
    let part = part(to);
    let file = File::create(&part).at("create", &part)?;
    archive(image, root, file).at("write", &part)?;
    rename(&part, to)
}

fn archive(image: &Image<'_>, root: &Root, to: impl Write) -> io::Result<()> {
    let mut layer = Hashing {
        file: io::BufWriter::new(tempfile::tempfile()?),
        hash: Sha256::new(),
        length: 0,
    };
    root.write(&mut layer)?;
    let (layer_hash, layer_length) = (digits(&layer.hash.finalize()), layer.length);
    let mut layer = layer
        .file
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    layer.rewind()?;

    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": {
            "Entrypoint": image.entrypoint,
            "User": image.user,
            "Env": ["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_hash}")]},
    })
    .to_string();
    let described = |kind: &str, hash: &str, length: u64| {
        json!({
            "mediaType": format!("application/vnd.oci.image.{kind}"),
            "digest": format!("sha256:{hash}"),
            "size": length,
        })
    };
    let config_hash = hex(config.as_bytes());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described("config.v1+json", &config_hash, config.len() as u64),
        "layers": [described("layer.v1.tar", &layer_hash, layer_length)],
    })
    .to_string();
    let manifest_hash = hex(manifest.as_bytes());
    let mut entry = described("manifest.v1+json", &manifest_hash, manifest.len() as u64);
    let tag = image.name.rsplit(':').next().unwrap_or_default();
    entry["annotations"] = json!({
        "io.containerd.image.name": image.name,
        "org.opencontainers.image.ref.name": tag,
    });
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();

    let mut archive = Builder::new(to);
    let mut append = |name: &str, length: u64, content: &mut dyn io::Read| {
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_size(length);
        archive.append_data(&mut header, name, content)
    };
    let layout = r#"{"imageLayoutVersion":"1.0.0"}"#;
    for (name, text) in [
        ("oci-layout".to_owned(), layout),
        ("index.json".to_owned(), &index),
        (format!("blobs/sha256/{config_hash}"), &config),
        (format!("blobs/sha256/{manifest_hash}"), &manifest),
    ] {
        append(&name, text.len() as u64, &mut text.as_bytes())?;
    }
    let name = format!("blobs/sha256/{layer_hash}");
    append(&name, layer_length, &mut layer.take(layer_length))?;
    archive.into_inner()?.flush()
}

/// Hashes what is written through it.
struct Hashing<W> {
    file: W,
    hash: Sha256,
    length: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::Value;

    use super::*;

    fn example() -> Vec<u8> {
        let mut root = Root::default();
        root.text("/etc/passwd", "root:x:0:0:root:/:/bin/sh\n");
        root.folder("/tmp", 0o1777);
        root.link("/bin/sh", "busybox");
        let image = Image {
            name: "localhost/example:7",
            entrypoint: &["/bin/sh"],
            user: "1337:1337",
        };
        let mut bytes = Vec::new();
        archive(&image, &root, &mut bytes).expect("an archive");
        bytes
    }

    fn files(bytes: &[u8]) -> HashMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(bytes);
        let entries = archive.entries().expect("entries").map(|entry| {
            let mut entry = entry.expect("an entry");
            let path = entry.path().expect("a path").display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("content");
            (path, content)
        });
        entries.collect()
    }

    #[test]
    fn every_digest_names_a_blob_of_that_content() {
        let files = files(&example());
        let blob = |described: &Value| {
            let digest = described["digest"].as_str().expect("a digest");
            let hash = digest.strip_prefix("sha256:").expect("SHA-256");
            let content = &files[&format!("blobs/sha256/{hash}")];
            assert_eq!(hex(content), hash);
            assert_eq!(described["size"], content.len());
            content.clone()
        };
        let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("JSON");

        let index = json(&files["index.json"]);
        let entry = &index["manifests"][0];
        assert_eq!(
            entry["annotations"]["io.containerd.image.name"],
            "localhost/example:7"
        );
        assert_eq!(
            entry["annotations"]["org.opencontainers.image.ref.name"],
            "7"
        );
        let manifest = json(&blob(entry));
        let config = json(&blob(&manifest["config"]));
        assert_eq!(config["config"]["User"], "1337:1337");
        let layer = &manifest["layers"][0];
        assert_eq!(config["rootfs"]["diff_ids"][0], layer["digest"]);
        let content = blob(layer);
        let names = tar::Archive::new(content.as_slice())
            .entries()
            .expect("entries")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .path()
                    .expect("a path")
                    .display()
                    .to_string()
            })
            .collect::<Vec<_>>();
        assert_eq!(names, ["bin/", "bin/sh", "etc/", "etc/passwd", "tmp/"]);
    }

    #[test]
    fn the_same_files_make_the_same_archive() {
        assert_eq!(example(), example());
    }
}
