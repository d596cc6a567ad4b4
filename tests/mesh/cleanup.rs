//! Leaving the clusters as they were.

use multimesh_lab::{Cluster, Lab};

use crate::live::{User, kubectl};

/// Tears the mesh down when its test fails, so that the next test finds the clusters free.
pub(crate) struct Cleanup<'a>(pub(crate) &'a User, pub(crate) Vec<String>);

impl Drop for Cleanup<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let arguments: Vec<&str> = self.1.iter().map(String::as_str).collect();
            let run = self.0.run(&[&["teardown", "--yes"], &arguments[..]].concat());
            for cluster in self.0.lab.clusters().into_iter().flatten() {
                let delete = ["delete", "namespace", "demo", "--ignore-not-found", "--timeout=90s"];
                let _ = self.0.lab.kubectl(&cluster, &delete, None);
            }
            eprintln!("cleaning up ended with {}:\n{}", run.code, run.stderr);
        }
    }
}

/// Takes the echo application away again.
pub(crate) fn delete_echo(lab: &Lab, clusters: &[Cluster]) {
    for cluster in clusters {
        kubectl(lab, cluster, &["delete", "namespace", "demo", "--wait=true", "--timeout=90s"]);
    }
}
