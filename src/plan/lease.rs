//! The Lease by which two runs on two machines keep out of each other's way.
//!
//! Machines' clocks are not trusted: how old a lease is, is told by the API server's clock alone, as
//! it stamps creations and changes (`metadata.creationTimestamp`, `metadata.managedFields[].time`).

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::object::{PARENT, annotation};

/// Group and version of the kind.
pub const API_VERSION: &str = "coordination.k8s.io/v1";
/// The name of the Lease, in the namespace of the control plane.
pub const NAME: &str = PARENT;
/// The annotation with the identity of the holder's mesh directory.
pub const DIRECTORY: &str = "kubectl-multimesh/directory";
/// The annotation with the command that the holder runs.
pub const COMMAND: &str = "kubectl-multimesh/command";
/// How long a lease lasts after it was last renewed.
pub const DURATION: SignedDuration = SignedDuration::from_secs(60);

/// A run that takes leases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The identity of the mesh directory that it has locked, on one machine.
    pub directory: String,
    /// The user, the machine and the process, for people.
    pub name: String,
    /// The command, as in `apply`.
    pub command: String,
}

/// A lease that somebody else has or had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// The user, the machine and the process.
    pub name: String,
    /// The command that is run.
    pub command: Option<String>,
    /// When it was taken.
    pub since: Option<Timestamp>,
    /// How long ago it was last renewed; `None` if nothing says that a run of this tool did.
    pub silent: Option<SignedDuration>,
    /// How long it lasts after that.
    pub lasts: SignedDuration,
}

/// Whose a lease is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Nobody's.
    Free,
    /// Of a run with the same mesh directory on this machine. Whoever has the lock of that
    /// directory knows that it is over.
    Mine,
    /// Of a run that is alive.
    Held(Other),
    /// Of a run that has not renewed it in time.
    Stale(Other),
}

/// The Lease of a holder. The times in it are those of this machine's clock, for people.
pub fn lease(namespace: &str, holder: &Holder, now: Timestamp) -> Value {
    let time = micro_time(now);
    json!({
        "apiVersion": API_VERSION,
        "kind": "Lease",
        "metadata": {
            "name": NAME,
            "namespace": namespace,
            "annotations": { DIRECTORY: holder.directory, COMMAND: holder.command },
        },
        "spec": {
            "holderIdentity": holder.name,
            "leaseDurationSeconds": DURATION.as_secs(),
            "acquireTime": time,
            "renewTime": time,
        },
    })
}

/// The patch that renews a lease which nobody has changed since `version`.
pub fn renewal(version: &str, now: Timestamp) -> Value {
    json!({
        "metadata": { "resourceVersion": version },
        "spec": { "renewTime": micro_time(now) },
    })
}

/// An object whose creation, as a dry run, tells the API server's time.
pub fn probe(namespace: &str) -> Value {
    json!({
        "apiVersion": API_VERSION,
        "kind": "Lease",
        "metadata": { "name": format!("{NAME}-clock"), "namespace": namespace },
    })
}

/// When the API server made an object.
pub fn created(object: &Value) -> Option<Timestamp> {
    time(&object["metadata"]["creationTimestamp"])
}

/// Whether a lease is of a run with this mesh directory.
pub fn is_of(lease: &Value, directory: &str) -> bool {
    annotation(lease, DIRECTORY) == Some(directory)
}

/// Who has a lease, as it says, fit for a terminal.
pub fn holder_name(lease: &Value) -> Option<String> {
    lease
        .pointer("/spec/holderIdentity")
        .and_then(Value::as_str)
        .map(plain)
        .filter(|n| !n.is_empty())
}

/// A text of somebody else in one short line.
fn plain(text: &str) -> String {
    /// Nobody's name is longer.
    const SHOWN: usize = 128;
    text.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}

/// Judges a lease for the holder of a mesh directory. `manager` is the tool's field manager, `now`
/// the API server's time.
pub fn judge(lease: Option<&Value>, directory: &str, manager: &str, now: Timestamp) -> Claim {
    let Some(lease) = lease else { return Claim::Free };
    if is_of(lease, directory) {
        return Claim::Mine;
    }
    let spec = &lease["spec"];
    let seconds = spec["leaseDurationSeconds"].as_i64().filter(|seconds| *seconds > 0);
    let other = Other {
        name: holder_name(lease).unwrap_or_else(|| "somebody".to_owned()),
        command: annotation(lease, COMMAND).map(plain),
        since: created(lease),
        silent: renewed(lease, manager).map(|at| now.duration_since(at)),
        lasts: seconds.map_or(DURATION, SignedDuration::from_secs),
    };
    match other.silent {
        Some(silent) if silent > other.lasts => Claim::Stale(other),
        _ => Claim::Held(other),
    }
}

/// When a run of this tool last changed a lease, by the API server's clock.
fn renewed(lease: &Value, manager: &str) -> Option<Timestamp> {
    let entries = lease.pointer("/metadata/managedFields")?.as_array()?;
    entries
        .iter()
        .filter(|entry| entry["manager"] == manager)
        .filter_map(|e| time(&e["time"]))
        .max()
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// As Kubernetes writes a `MicroTime`.
fn micro_time(at: Timestamp) -> String {
    format!("{at:.6}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-05-01T12:00:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn holder(directory: &str) -> Holder {
        Holder {
            directory: directory.into(),
            name: format!("{directory}@laptop, process 7"),
            command: "apply".into(),
        }
    }

    /// A lease as the API server keeps it.
    fn kept(directory: &str, created: &str, renewed: &str) -> Value {
        // A clock that is a day off changes nothing.
        let mut lease = lease("istio-system", &holder(directory), at("2026-05-02T12:00:00Z"));
        lease["metadata"]["creationTimestamp"] = json!(created);
        lease["metadata"]["managedFields"] = json!([
            { "manager": "kubectl-multimesh", "operation": "Update", "time": renewed },
            { "manager": "kubectl-edit", "operation": "Update", "time": NOW },
        ]);
        lease
    }

    fn judged(lease: Option<&Value>, directory: &str) -> Claim {
        judge(lease, directory, "kubectl-multimesh", at(NOW))
    }

    #[test]
    fn a_lease_is_free_mine_held_or_stale() {
        assert_eq!(judged(None, "anna"), Claim::Free);
        let fresh = kept("bob", "2026-05-01T11:50:00Z", "2026-05-01T11:59:55Z");
        assert_eq!(judged(Some(&fresh), "bob"), Claim::Mine);
        let other = Other {
            name: "bob@laptop, process 7".into(),
            command: Some("apply".into()),
            since: Some(at("2026-05-01T11:50:00Z")),
            silent: Some(SignedDuration::from_secs(5)),
            lasts: DURATION,
        };
        assert_eq!(judged(Some(&fresh), "anna"), Claim::Held(other.clone()));
        let old = kept("bob", "2026-05-01T11:50:00Z", "2026-05-01T11:58:00Z");
        let silent = Some(SignedDuration::from_secs(120));
        assert_eq!(judged(Some(&old), "anna"), Claim::Stale(Other { silent, ..other }));
        assert_eq!(judged(Some(&old), "bob"), Claim::Mine);
    }

    #[test]
    fn a_lease_lasts_to_the_end_of_its_last_second() {
        let edge = kept("bob", NOW, "2026-05-01T11:59:00Z");
        assert!(matches!(judged(Some(&edge), "anna"), Claim::Held(_)));
        let mut own = kept("bob", NOW, "2026-05-01T11:59:50Z");
        own["spec"]["leaseDurationSeconds"] = json!(5);
        assert!(matches!(judged(Some(&own), "anna"), Claim::Stale(_)), "the holder's own limit");
        for nonsense in [json!(0), json!(-1), json!("5"), Value::Null] {
            own["spec"]["leaseDurationSeconds"] = nonsense;
            assert!(matches!(judged(Some(&own), "anna"), Claim::Held(_)));
        }
    }

    #[test]
    fn what_the_tool_did_not_write_is_never_stale() {
        let mut foreign = kept("bob", "2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z");
        foreign["metadata"]["managedFields"][0]["manager"] = json!("some-controller");
        let Claim::Held(other) = judged(Some(&foreign), "anna") else { panic!("not held") };
        assert_eq!(other.silent, None);
        foreign["metadata"].as_object_mut().unwrap().remove("managedFields");
        foreign["spec"] = json!({});
        let Claim::Held(other) = judged(Some(&foreign), "anna") else { panic!("not held") };
        assert_eq!((other.name.as_str(), other.lasts), ("somebody", DURATION));
    }

    #[test]
    fn names_of_others_are_fit_for_a_terminal() {
        let mut lease = kept("bob", NOW, NOW);
        lease["spec"]["holderIdentity"] = json!("\x1b[2Jbob\n@laptop");
        assert_eq!(holder_name(&lease).unwrap(), "[2Jbob@laptop");
        lease["spec"]["holderIdentity"] = json!("");
        assert_eq!(holder_name(&lease), None);
    }

    #[test]
    fn times_are_written_as_kubernetes_reads_them() {
        let lease = lease("istio-system", &holder("anna"), at("2026-05-01T12:00:00.5Z"));
        assert_eq!(lease["spec"]["acquireTime"], "2026-05-01T12:00:00.500000Z");
        assert_eq!(renewal("7", at(NOW))["spec"]["renewTime"], "2026-05-01T12:00:00.000000Z");
    }
}
