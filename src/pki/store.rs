//! The directory `certs/`: the root, and one directory for each intermediate.
//!
//! An intermediate is replaced as a whole directory, so that at every moment, also after a kill, a
//! reader finds a key together with its own certificate. While that happens two hidden directories
//! exist: `.intermediate-<name>.new` is being filled, `.intermediate-<name>.old` is the former one.
//! Reading never writes; the next writer cleans up. Writers hold the [lock](files::Lock) of the
//! mesh directory.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::cacerts::{CA_CERT, CA_KEY, CERT_CHAIN, ROOT_CERT};
use super::inspect::Certificate;
use super::{Cacerts, Error, KeyPem, Place, Root, is_label};
use crate::files;

const ROOT_CERT_FILE: &str = "root-cert.pem";
const ROOT_KEY_FILE: &str = "root-key.pem";
/// The certificate of a root whose key is being put in place.
const PENDING_ROOT_CERT: &str = ".root-cert.pem.new";

/// How often a read is repeated when a writer replaces the directory under it.
const READ_ATTEMPTS: usize = 20;

/// The directory `certs/` of a mesh.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// The store in `dir`, which need not exist. Touches nothing.
    pub fn open(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The root; `None` when there is none yet, and without key when only its certificate is here.
    ///
    /// # Errors
    /// [`Error::RootKeyWithoutCertificate`], [`Error::KeyMismatch`], [`Error::Files`] when a file
    /// cannot be read, and the errors of reading certificates and keys inside [`Error::At`] with
    /// the file.
    pub fn root(&self) -> Result<Option<Root>, Error> {
        let (key_path, key) = self.read(ROOT_KEY_FILE)?;
        let key = key.map(KeyPem::from);
        let (mut path, mut cert_pem) = self.read(ROOT_CERT_FILE)?;
        if cert_pem.is_none() && key.is_some() {
            let (pending, text) = self.read(PENDING_ROOT_CERT)?;
            if text.is_some() {
                (path, cert_pem) = (pending, text);
            }
        }
        let Some(cert_pem) = cert_pem else {
            return match key {
                Some(_) => {
                    Err(Error::RootKeyWithoutCertificate { key: key_path, certificate: path })
                }
                None => Ok(None),
            };
        };
        let certificate = Certificate::from_pem(&cert_pem)
            .map_err(|error| error.at(Place::File(path.clone())))?;
        if let Some(key) = &key
            && !key
                .matches(&certificate)
                .map_err(|error| error.at(Place::File(key_path.clone())))?
        {
            return Err(Error::KeyMismatch {
                key: Place::File(key_path),
                certificate: Place::File(path),
            });
        }
        Ok(Some(Root { certificate, cert_pem, key }))
    }

    /// The certificate of the root alone; `None` when there is no root yet. The key is not opened.
    ///
    /// # Errors
    /// [`Error::Files`] when the certificate cannot be read, and the errors of reading it inside
    /// [`Error::At`] with the file.
    pub fn root_certificate(&self) -> Result<Option<Certificate>, Error> {
        let (mut path, mut pem) = self.read(ROOT_CERT_FILE)?;
        // As in `root`: who made it was killed before the last step.
        if pem.is_none() && self.dir.join(ROOT_KEY_FILE).exists() {
            (path, pem) = self.read(PENDING_ROOT_CERT)?;
        }
        let certificate = pem.map(|pem| Certificate::from_pem(&pem)).transpose();
        certificate.map_err(|error| error.at(Place::File(path)))
    }

    /// Keeps a new root: `root-key.pem`, unless it has none, and `root-cert.pem`. When this is
    /// killed, the root is either there with both or not there at all.
    ///
    /// # Errors
    /// [`Error::RootExists`] when either file is there; [`Error::Files`].
    pub fn create_root(&self, root: &Root) -> Result<(), Error> {
        let key = self.dir.join(ROOT_KEY_FILE);
        let certificate = self.dir.join(ROOT_CERT_FILE);
        files::create_private_dir(&self.dir)?;
        self.settle()?;
        for path in [&key, &certificate] {
            if path.symlink_metadata().is_ok() {
                return Err(Error::RootExists { path: path.clone() });
            }
        }
        let pending = self.dir.join(PENDING_ROOT_CERT);
        files::write_private(&pending, &root.cert_pem)?;
        let kept =
            root.key.as_ref().map_or(Ok(true), |pem| files::create_private(&key, pem.as_str()));
        if !matches!(kept, Ok(true)) {
            remove(&pending, |path| fs::remove_file(path))?;
        }
        if !kept? {
            return Err(Error::RootExists { path: key });
        }
        Ok(files::rename(&pending, &certificate)?)
    }

    /// The intermediate of a cluster and where it is: `intermediate-<cluster>`, else the directory
    /// that Istio 1.4's script made, `intermediate-<context>`. Its content is read, not verified.
    ///
    /// # Errors
    /// [`Error::IncompleteIntermediate`], [`Error::Label`] for a bad `cluster`, [`Error::Files`].
    pub fn intermediate(
        &self,
        cluster: &str,
        context: &str,
    ) -> Result<Option<(PathBuf, Cacerts)>, Error> {
        for slot in self.slots(cluster, context)? {
            if let Some(cacerts) = slot.read()? {
                return Ok(Some((slot.live, cacerts)));
            }
        }
        Ok(None)
    }

    /// Keeps the intermediate of a cluster, replacing the one that [`Self::intermediate`] finds, in
    /// its place; else in `intermediate-<cluster>`. Other files in a directory that is replaced
    /// stay. Returns the directory.
    ///
    /// # Errors
    /// [`Error::Label`] for a bad `cluster`, [`Error::Files`]; then the former one is still there.
    pub fn save_intermediate(
        &self,
        cluster: &str,
        context: &str,
        cacerts: &Cacerts,
    ) -> Result<PathBuf, Error> {
        let slots = self.slots(cluster, context)?;
        files::create_private_dir(&self.dir)?;
        self.settle()?;
        for slot in &slots {
            slot.settle()?;
        }
        let slot = slots.iter().find(|slot| slot.live.exists()).unwrap_or(&slots[0]);
        slot.replace(cacerts)?;
        Ok(slot.live.clone())
    }

    /// Ends what killed writers began: the certificate of a root comes to its place, each
    /// intermediate is one directory again, and temporary files go. The directory has to exist. An
    /// intermediate that cannot be put right is in nobody's way but its own: that is logged.
    ///
    /// # Errors
    /// [`Error::Files`].
    pub fn settle(&self) -> Result<(), Error> {
        self.finish_root()?;
        let read_error = |error: io::Error| files::read_error(&self.dir, &error);
        let mut unsettled = BTreeSet::new();
        for entry in fs::read_dir(&self.dir).map_err(read_error)? {
            let name = entry.map_err(read_error)?.file_name();
            unsettled.extend(name.to_str().and_then(Slot::of_hidden).map(str::to_owned));
        }
        for name in unsettled {
            if let Err(error) = Slot::new(&self.dir, &name).settle() {
                tracing::warn!(%error, "what a killed run left is still there");
            }
        }
        Ok(files::sweep(&self.dir)?)
    }

    /// Puts the certificate of an interrupted [`Self::create_root`] in its place.
    fn finish_root(&self) -> Result<(), Error> {
        let pending = self.dir.join(PENDING_ROOT_CERT);
        let certificate = self.dir.join(ROOT_CERT_FILE);
        let interrupted = pending.exists()
            && !certificate.exists()
            && self.dir.join(ROOT_KEY_FILE).exists()
            && self.root().is_ok();
        if interrupted { Ok(files::rename(&pending, &certificate)?) } else { Ok(()) }
    }

    fn read(&self, name: &str) -> Result<(PathBuf, Option<String>), Error> {
        let path = self.dir.join(name);
        let text = files::read(&path)?;
        Ok((path, text))
    }

    /// Where the intermediate of a cluster may be, in order.
    fn slots(&self, cluster: &str, context: &str) -> Result<Vec<Slot>, Error> {
        if !is_label(cluster) {
            return Err(Error::Label { name: cluster.to_owned() });
        }
        let mut slots = vec![Slot::new(&self.dir, cluster)];
        // A context such as an ARN never was a directory, nor one too long for a file name.
        let possible = (1..=200).contains(&context.len()) && !context.contains(['/', '\\', '\0']);
        if possible && context != cluster {
            slots.push(Slot::new(&self.dir, context));
        }
        Ok(slots)
    }
}

/// The place of one intermediate.
struct Slot {
    parent: PathBuf,
    live: PathBuf,
    fresh: PathBuf,
    former: PathBuf,
}

impl Slot {
    fn new(parent: &Path, name: &str) -> Self {
        Self {
            parent: parent.to_owned(),
            live: parent.join(format!("intermediate-{name}")),
            fresh: parent.join(format!(".intermediate-{name}.new")),
            former: parent.join(format!(".intermediate-{name}.old")),
        }
    }

    /// The name whose hidden directory, the new or the former one, is called so.
    fn of_hidden(name: &str) -> Option<&str> {
        let name = name.strip_prefix(".intermediate-")?;
        name.strip_suffix(".new").or_else(|| name.strip_suffix(".old"))
    }

    /// All four files, from one generation.
    fn read(&self) -> Result<Option<Cacerts>, Error> {
        for _ in 0..READ_ATTEMPTS {
            let Some(generation) = self.find()? else {
                return Ok(None);
            };
            let result = read_dir(&generation.dir, &self.live);
            if self.find()? == Some(generation) {
                return result.map(Some);
            }
        }
        let cause = files::Cause::Other("it keeps changing while it is read".to_owned());
        Err(files::Error::Read { path: self.live.clone(), cause }.into())
    }

    /// The directory to read.
    fn find(&self) -> Result<Option<Generation>, Error> {
        // The last look catches a writer that finished between the first two.
        for dir in [&self.live, &self.former, &self.live] {
            match fs::metadata(dir).and_then(|metadata| Generation::new(dir, &metadata)) {
                Ok(generation) => return Ok(Some(generation)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(files::read_error(dir, &error).into()),
            }
        }
        Ok(None)
    }

    /// Ends what a killed writer began: back to the former directory if the new one is not in
    /// place.
    fn settle(&self) -> Result<(), Error> {
        if self.former.symlink_metadata().is_ok() {
            if self.live.symlink_metadata().is_ok() {
                self.retire()?;
            } else {
                files::rename(&self.former, &self.live)?;
            }
        }
        remove(&self.fresh, |path| fs::remove_dir_all(path))
    }

    /// Fills the new directory, or leaves none.
    fn fill(&self, cacerts: &Cacerts) -> Result<(), Error> {
        files::create_private_dir(&self.fresh)?;
        let mut entries = cacerts.entries().into_iter();
        entries
            .try_for_each(|(name, content)| files::write_private(&self.fresh.join(name), content))
            .and_then(|()| files::sync_dir(&self.parent))
            .or_else(|error| {
                remove(&self.fresh, |path| fs::remove_dir_all(path))?;
                Err(error.into())
            })
    }

    fn replace(&self, cacerts: &Cacerts) -> Result<(), Error> {
        self.fill(cacerts)?;
        if self.live.symlink_metadata().is_ok() {
            files::rename(&self.live, &self.former)?;
        }
        if let Err(error) = files::rename(&self.fresh, &self.live) {
            self.settle()?;
            return Err(error.into());
        }
        self.retire()
    }

    /// Removes the former directory; files in it that are not ours move to the new one.
    fn retire(&self) -> Result<(), Error> {
        let Ok(metadata) = self.former.symlink_metadata() else {
            return Ok(());
        };
        if metadata.is_symlink() {
            return remove(&self.former, |path| fs::remove_file(path));
        }
        for name in [CA_CERT, CA_KEY, ROOT_CERT, CERT_CHAIN] {
            remove(&self.former.join(name), |path| fs::remove_file(path))?;
        }
        let read_error = |error: io::Error| files::read_error(&self.former, &error);
        for entry in fs::read_dir(&self.former).map_err(read_error)? {
            let entry = entry.map_err(read_error)?;
            files::rename(&entry.path(), &self.live.join(entry.file_name()))?;
        }
        remove(&self.former, |path| fs::remove_dir(path))?;
        Ok(files::sync_dir(&self.parent)?)
    }
}

/// A directory, with what tells it from its successor of the same name.
#[derive(PartialEq, Eq)]
struct Generation {
    dir: PathBuf,
    modified: SystemTime,
    inode: u64,
}

impl Generation {
    fn new(dir: &Path, metadata: &fs::Metadata) -> io::Result<Self> {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Ok(Self { dir: dir.to_owned(), modified: metadata.modified()?, inode })
    }
}

/// Reads the four files in `dir`, which errors call `live`.
fn read_dir(dir: &Path, live: &Path) -> Result<Cacerts, Error> {
    let file = |name: &'static str| -> Result<String, Error> {
        files::read(&dir.join(name))?
            .ok_or_else(|| Error::IncompleteIntermediate { dir: live.to_owned(), file: name })
    };
    Ok(Cacerts {
        ca_cert: file(CA_CERT)?,
        ca_key: file(CA_KEY)?.into(),
        root_cert: file(ROOT_CERT)?,
        cert_chain: file(CERT_CHAIN)?,
    })
}

fn remove(path: &Path, how: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), Error> {
    match how(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(files::write_error(path, &error).into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
