//! `kill -9` anywhere: nothing is lost at that moment, and the next run of the same command finishes.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use jiff::{SignedDuration, Timestamp};
use multimesh::pki::{Store, issue};
use serde_json::Value;

use super::directory::{lost_files, lost_now, unfinished};
use super::front::Fronted;
use super::kill::{Length, Point, kill_at, measure};
use super::ledger::{Book, Entry, at_length, points};
use super::snapshot::{Objects, differences, objects};

pub(crate) const APPLY: &[&str] = &["apply", "--wait=false"];
/// An apply that deletes what nothing wants any more, and takes clusters out of the mesh.
pub(crate) const APPLY_ALL: &[&str] = &["apply", "--wait=false", "--yes"];
pub(crate) const TEARDOWN: &[&str] = &["teardown", "--yes"];

/// How many points are tried for one that was wanted, as a run may end before.
const TRIES: usize = 8;

/// A command that is killed again and again.
struct Trial<'a> {
    name: &'static str,
    words: &'static [&'static str],
    /// Brings everything to where the command begins; told whether it has just run to its end.
    begin: &'a dyn Fn(&Fronted, usize, bool),
    /// The planes that are linked with each other from its begin to its end.
    linked: &'a [usize],
    /// The planes that are members in the end.
    members: &'a [usize],
    /// How the planes are after an undisturbed run.
    end: Vec<Objects>,
    length: Length,
    /// So that commands that take turns are not killed at the same part.
    offset: usize,
}

impl Trial<'_> {
    /// Kills the command at a point of it and finishes it.
    fn run(&self, fronted: &Fronted, index: usize) -> Entry {
        let mut point = self.length.point(index + self.offset);
        for attempt in 0..TRIES {
            (self.begin)(fronted, index, attempt > 0);
            match kill_at(fronted, self.words, point) {
                Ok(()) => return self.finish(fronted, point),
                Err(status) if status.success() => point = point.earlier(),
                Err(status) => {
                    let why = format!("{point:?}: not killed, it ended with {status}");
                    return Entry { lost: vec![why], ..Entry::default() };
                }
            }
        }
        let why = format!("the run ended before {point:?} and the {TRIES} points after it");
        Entry { lost: vec![why], ..Entry::default() }
    }

    /// Looks at what a killed run left, and runs the command once more.
    fn finish(&self, fronted: &Fronted, point: Point) -> Entry {
        let mut lost = lost_now(fronted, self.linked);
        let next = fronted.run(self.words);
        if next.code != 0 {
            lost.push(format!("the next run ended with {}: {}", next.code, next.stderr));
        }
        lost.extend(differences(&self.end, &stable(objects(fronted))));
        if self.members.is_empty() {
            lost.extend(unfinished(&fronted.mesh("m")));
        } else {
            lost.extend(lost_files(fronted, self.members));
            let again = fronted.run(self.words);
            if !again.stderr.contains("nothing to change") {
                lost.push(format!("there is more to change: {}", again.stderr));
            }
        }
        lost.extend(recorded(fronted, self.members));
        let lost = lost.into_iter().map(|lost| format!("{point:?}: {lost}")).collect();
        Entry::of(1, false, next.code == 0, lost)
    }
}

/// Contexts that are on record and are no members any more, or the other way round.
fn recorded(fronted: &Fronted, members: &[usize]) -> Vec<String> {
    let state = fronted.state();
    let known = |index: usize| state["contexts"].get(&fronted.clusters[index].context).is_some();
    let all = 0..fronted.clusters.len();
    let wrong = all.filter(|&index| known(index) != members.contains(&index));
    wrong.map(|index| format!("plane {index}: the record is wrong about it")).collect()
}

/// Without what Kubernetes keeps of former versions of a Deployment, one a version.
fn stable(mut planes: Vec<Objects>) -> Vec<Objects> {
    for plane in &mut planes {
        plane.retain(|name, object| {
            !(name.starts_with("ReplicaSet ") && object["metadata"]["ownerReferences"].is_array())
        });
    }
    planes
}

/// What came of each command.
#[derive(Default)]
struct Books(Mutex<BTreeMap<&'static str, Book>>);

impl Books {
    fn add(&self, trial: &Trial<'_>, entry: Entry) {
        let mut books = self.0.lock().unwrap();
        let book = books.entry(trial.name).or_insert_with(|| Book::new(trial.name));
        book.add("kill -9", entry);
    }
}

/// Works through the points side by side, on clusters of their own.
fn in_lanes(clusters: usize, lane: impl Fn(&Fronted, &[usize], &Books) + Sync) {
    // Kubernetes takes its time over a namespace, and the others can use it.
    let lanes = if at_length() { 2 } else { 1 };
    let books = Books::default();
    thread::scope(|scope| {
        let (lane, books) = (&lane, &books);
        for first in 0..lanes {
            let indices: Vec<usize> = (first..points()).step_by(lanes).collect();
            scope.spawn(move || lane(&Fronted::start(clusters), &indices, books));
        }
    });
    books.0.into_inner().unwrap().into_values().for_each(Book::close);
}

/// Makes the mesh directory as it was before the first apply, or, for half of the points of each kind,
/// with CAs that are due to be renewed.
fn forget_certificates(fronted: &Fronted, index: usize) {
    let certs = fronted.mesh("m").join("certs");
    fs::remove_dir_all(&certs).unwrap();
    if (index / 4).is_multiple_of(2) {
        return;
    }
    let store = Store::open(certs);
    // Two thirds of two years.
    let then = Timestamp::now() - SignedDuration::from_hours(24 * 500);
    let root = issue::root("Example", then).unwrap();
    store.create_root(&root).unwrap();
    for cluster in &fronted.clusters {
        let name = &cluster.context;
        let cacerts = issue::intermediate(&root, name, "istio-system", then).unwrap();
        store.save_intermediate(name, name, &cacerts).unwrap();
    }
}

#[test]
fn a_killed_apply_or_teardown_is_finished_by_the_next_one() {
    in_lanes(2, |fronted, indices, books| {
        fronted.describe_apart(&[0, 1]);
        let clean = stable(objects(fronted));
        let length = measure(fronted, APPLY);
        let apply = Trial {
            name: "apply",
            words: APPLY,
            begin: &|fronted, index, has_run| {
                if has_run {
                    fronted.run(TEARDOWN).expect(0);
                }
                forget_certificates(fronted, index);
            },
            linked: &[],
            members: &[0, 1],
            end: stable(objects(fronted)),
            length,
            offset: 3,
        };
        let length = measure(fronted, TEARDOWN);
        let teardown = Trial {
            name: "teardown",
            words: TEARDOWN,
            begin: &|fronted, _, has_run| {
                if has_run {
                    fronted.run(APPLY).expect(0);
                }
            },
            linked: &[],
            members: &[],
            end: clean,
            length,
            offset: 0,
        };
        let left = differences(&teardown.end, &objects(fronted));
        assert!(left.is_empty(), "an undisturbed teardown leaves\n{}", left.join("\n"));
        for &index in indices {
            for trial in [&apply, &teardown] {
                books.add(trial, trial.run(fronted, index));
            }
        }
    });
}

#[test]
fn a_killed_change_is_finished_by_the_next_apply() {
    in_lanes(2, |fronted, indices, books| {
        let settle = |fronted: &Fronted, has_run: bool| {
            if has_run {
                fronted.run(APPLY_ALL).expect(0);
            }
        };
        let apart = |fronted: &Fronted| fronted.describe_apart(&[0, 1]);
        let together = |fronted: &Fronted| fronted.describe(&[0, 1]);
        apart(fronted);
        fronted.run(APPLY_ALL).expect(0);
        together(fronted);
        let length = measure(fronted, APPLY_ALL);
        let gone = Trial {
            name: "apply, gateways go",
            words: APPLY_ALL,
            begin: &|fronted, _, has_run| {
                apart(fronted);
                settle(fronted, has_run);
                together(fronted);
            },
            linked: &[0, 1],
            members: &[0, 1],
            end: stable(objects(fronted)),
            length,
            offset: 2,
        };
        apart(fronted);
        let length = measure(fronted, APPLY_ALL);
        let come = Trial {
            name: "apply, gateways come",
            words: APPLY_ALL,
            begin: &|fronted, _, has_run| {
                together(fronted);
                settle(fronted, has_run);
                apart(fronted);
            },
            linked: &[0, 1],
            members: &[0, 1],
            end: stable(objects(fronted)),
            length,
            offset: 1,
        };
        for &index in indices {
            for trial in [&gone, &come] {
                books.add(trial, trial.run(fronted, index));
            }
        }
    });
}

#[test]
fn a_killed_leave_is_finished_by_the_next_apply() {
    in_lanes(3, |fronted, indices, books| {
        fronted.run(APPLY).expect(0);
        fronted.describe(&[0, 1]);
        let length = measure(fronted, APPLY_ALL);
        let trial = Trial {
            name: "apply, a context left",
            words: APPLY_ALL,
            begin: &|fronted, _, _| {
                fronted.describe(&[0, 1, 2]);
                fronted.run(APPLY).expect(0);
                fronted.describe(&[0, 1]);
            },
            linked: &[0, 1],
            members: &[0, 1],
            end: stable(objects(fronted)),
            length,
            offset: 0,
        };
        let indices = if at_length() { indices } else { &indices[..1] };
        for &index in indices {
            books.add(&trial, trial.run(fronted, index));
        }
    });
}

#[test]
fn what_a_killed_run_has_sent_may_land_when_the_next_one_has_looked() {
    let fronted = Fronted::start(1);
    fronted.run(APPLY).expect(0);
    let name = "istio-reader-clusterrole-istio-system";
    let role = fronted.kubectl(0, &["get", "clusterrole", name, "-o", "json"]);
    let mut role: Value = serde_json::from_str(&role).unwrap();
    let metadata = role["metadata"].as_object_mut().unwrap();
    metadata.retain(|key, _| matches!(key.as_str(), "name" | "labels" | "annotations"));
    fronted.kubectl(0, &["delete", "clusterrole", name]);
    let (lab, cluster) = (fronted.lab.clone(), fronted.clusters[0].clone());
    let landed = Arc::new(AtomicBool::new(false));
    let lands = Arc::clone(&landed);
    fronted.proxies[0].observe(move |seen| {
        // It was not in the list, and is looked for now.
        let looked = seen.method == "GET" && seen.path.ends_with(&format!("/{name}"));
        if looked && !lands.swap(true, Ordering::Relaxed) {
            lab.kubectl(&cluster, &["create", "-f", "-"], Some(&role.to_string())).unwrap();
        }
        None
    });
    fronted.run(APPLY).expect(0);
    fronted.proxies[0].clear();
    assert!(landed.load(Ordering::Relaxed), "nobody looked for what was on its way");
    fronted.run(APPLY).expect(0).says("nothing to change");
}
