//! Control planes that tests use one after the other: each finds one as new.
//!
//! To start a control plane costs a core some seconds. What makes it new is its content, and that is
//! in etcd: it is kept when it has started, and put back when it is claimed again.

mod etcd;

use std::fs::{self, File, TryLockError};
use std::path::PathBuf;

use crate::cluster::Cluster;
use crate::controlplane;
use crate::error::{Doing as _, Result};
use crate::lab::Lab;

/// A control plane that nobody else uses as long as the value lives.
#[derive(Debug)]
pub struct Claim {
    /// The control plane.
    pub cluster: Cluster,
    /// The system gives the lock back also when the process is killed.
    _lock: File,
}

impl Lab {
    /// Claims a control plane: one that was claimed before and that nobody uses now, put back to
    /// what it was as new, else a new one under the context `context`. It stays until the lab ends,
    /// or is removed.
    pub fn claim_control_plane(&self, context: &str) -> Result<Claim> {
        for cluster in self.clusters()?.into_iter().filter(|cluster| !cluster.has_node) {
            let Some(lock) = self.try_lock(&cluster)? else { continue };
            let kept = self.content(&cluster);
            // One that is started by somebody else at this moment has no content yet.
            if !kept.exists() {
                continue;
            }
            // A test may have stopped it, or ended a part of it.
            let _ = cluster.resume_api_server();
            controlplane::start(&self.site()?, cluster.member())?;
            etcd::restore(self, &cluster, &kept)?;
            return Ok(Claim { cluster, _lock: lock });
        }
        let cluster = self.add_control_plane(context)?;
        let lock = loop {
            // Others only try it.
            if let Some(lock) = self.try_lock(&cluster)? {
                break lock;
            }
            std::thread::yield_now();
        };
        etcd::keep(self, &cluster, &self.content(&cluster))?;
        Ok(Claim { cluster, _lock: lock })
    }

    /// The file with the content of a new control plane.
    fn content(&self, cluster: &Cluster) -> PathBuf {
        self.run().cluster(cluster.number).join("content.json")
    }

    /// Takes the lock of a control plane unless somebody has it, or the control plane is gone.
    fn try_lock(&self, cluster: &Cluster) -> Result<Option<File>> {
        let folder = self.run().cluster(cluster.number);
        let path = folder.join("claimed");
        if !folder.join("pki").exists() {
            return Ok(None);
        }
        let mut options = fs::File::options();
        let file =
            options.create(true).truncate(false).write(true).open(&path).at("open", &path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).at("lock", &path),
        }
    }
}
