//! `kill -9` anywhere: the next run of the same command finishes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use multimesh_lab::faults::{Fault, FaultProxy, Tally};
use serde_json::Value;

use super::front::Fronted;
use super::ledger::{Book, Entry, at_length, points};
use super::snapshot::{Objects, differences, lost_files, objects, unfinished};

/// How long a run may take that is killed in the middle.
const LIMIT: Duration = Duration::from_secs(120);

/// Where a run is killed.
#[derive(Debug, Clone, Copy)]
enum Point {
    /// At that request of all, which does not reach the API server, or does.
    Request { number: usize, lands: bool },
    /// At that write of all.
    Write { number: usize, lands: bool },
    /// After that many changes in the mesh directory.
    File { changes: usize },
}

/// How long an undisturbed run is.
#[derive(Debug, Clone, Copy)]
struct Length {
    requests: usize,
    writes: usize,
    changes: usize,
}

impl Length {
    /// A point of the run. As many of them as are wanted are spread evenly over all of it.
    fn point(self, index: usize) -> Point {
        // The golden ratio comes near no part twice.
        let part = (index * 618 + 500) % 1000;
        let spread = |all: usize| 1 + (all - 1) * part / 999;
        let lands = (index / 4).is_multiple_of(2);
        match index % 4 {
            0 => Point::Write { number: spread(self.writes), lands },
            1 => Point::Request { number: spread(self.requests), lands },
            2 => Point::Write { number: spread(self.writes), lands: !lands },
            _ => Point::File { changes: spread(self.changes) },
        }
    }
}

type Victim = Arc<Mutex<Option<Child>>>;

fn kill(victim: &Victim) {
    // One that has ended already is not killed, and that is seen by its status.
    let _ = victim.lock().unwrap().as_mut().unwrap().kill();
}

/// Starts the tool and kills it at a point; says whether the point was reached.
fn kill_at(fronted: &Fronted, words: &[&str], point: Point) -> bool {
    let victim = Victim::default();
    let reached = Arc::new(AtomicUsize::new(0));
    for proxy in &fronted.proxies {
        let (victim, reached) = (Arc::clone(&victim), Arc::clone(&reached));
        proxy.observe(move |seen| {
            let (number, lands) = match point {
                Point::Request { number, lands } => (number, lands),
                Point::Write { number, lands } if seen.is_write() => (number, lands),
                Point::Write { .. } | Point::File { .. } => return None,
            };
            if reached.fetch_add(1, Ordering::SeqCst) + 1 != number {
                return None;
            }
            kill(&victim);
            (!lands).then_some(Fault::Reset)
        });
    }
    {
        // Taken, so that a request that comes at once waits until there is somebody to kill.
        let mut slot = victim.lock().unwrap();
        let mut command = fronted.command(words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        *slot = Some(command.spawn().unwrap());
    }
    let mut changes = Changes::of(&fronted.mesh("m"));
    let end = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = victim.lock().unwrap().as_mut().unwrap().try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < end, "{words:?} goes on for {LIMIT:?}");
        match point {
            Point::File { changes: number } if changes.look() >= number => kill(&victim),
            Point::File { .. } => {}
            _ => thread::sleep(Duration::from_millis(5)),
        }
    };
    fronted.proxies.iter().for_each(FaultProxy::clear);
    status.signal() == Some(9)
}

/// The changes of a directory as somebody sees them who looks all the time.
struct Changes {
    dir: PathBuf,
    last: BTreeMap<PathBuf, (u64, SystemTime)>,
    count: usize,
}

impl Changes {
    fn of(dir: &Path) -> Self {
        let mut last = BTreeMap::new();
        list(dir, &mut last);
        Self { dir: dir.to_owned(), last, count: 0 }
    }

    fn look(&mut self) -> usize {
        let mut now = BTreeMap::new();
        list(&self.dir, &mut now);
        self.count += usize::from(now != self.last);
        self.last = now;
        self.count
    }
}

/// Everything below a directory but the lock, with length and time. What goes meanwhile is not in it.
fn list(dir: &Path, into: &mut BTreeMap<PathBuf, (u64, SystemTime)>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        if entry.file_name() == ".lock" {
            continue;
        }
        if metadata.is_dir() {
            list(&entry.path(), into);
        }
        let time = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        into.insert(entry.path(), (metadata.len(), time));
    }
}

const APPLY: &[&str] = &["apply", "--wait=false"];
const TEARDOWN: &[&str] = &["teardown", "--yes"];

/// Runs the tool undisturbed and measures how long the run is.
fn measure(fronted: &Fronted, words: &[&str]) -> Length {
    let sum = |tallies: Vec<Tally>| {
        let all = tallies.iter().map(Tally::all).sum::<usize>();
        (all, tallies.iter().map(|tally| tally.writes).sum::<usize>())
    };
    let before = sum(fronted.tallies());
    let mut changes = Changes::of(&fronted.mesh("m"));
    let mut child = fronted
        .command(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = loop {
        changes.look();
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
    };
    assert_eq!(status.code(), Some(0), "{words:?} undisturbed");
    let after = sum(fronted.tallies());
    Length {
        requests: after.0 - before.0,
        writes: after.1 - before.1,
        changes: changes.count.max(1),
    }
}

/// What the undisturbed commands make of the clusters, and how long they are.
struct Model {
    applied: Vec<Objects>,
    clean: Vec<Objects>,
    apply: Length,
    teardown: Length,
}

impl Model {
    fn of(fronted: &Fronted) -> Self {
        let clean = objects(fronted);
        let apply = measure(fronted, APPLY);
        let applied = objects(fronted);
        let teardown = measure(fronted, TEARDOWN);
        let model = Self { applied, clean, apply, teardown };
        let left = differences(&model.clean, &objects(fronted));
        assert!(left.is_empty(), "an undisturbed teardown leaves\n{}", left.join("\n"));
        model
    }
}

/// Kills one apply and one teardown at a point of theirs, and finishes both.
fn kill_both(fronted: &Fronted, model: &Model, index: usize) -> [Entry; 2] {
    // Every apply makes its certificates anew.
    fs::remove_dir_all(fronted.mesh("m").join("certs")).unwrap();
    let all: Vec<usize> = (0..fronted.clusters.len()).collect();

    let point = model.apply.point(index);
    let mut apply =
        Entry { injected: usize::from(kill_at(fronted, APPLY, point)), ..Entry::default() };
    apply.left = apply.injected;
    let next = fronted.run(APPLY);
    if next.code != 0 {
        apply.lost.push(format!("the next apply ended with {}: {}", next.code, next.stderr));
    }
    apply.lost.extend(differences(&model.applied, &objects(fronted)));
    apply.lost.extend(lost_files(fronted, &all));
    let last = fronted.run(APPLY);
    if !last.stderr.contains("nothing to change") {
        apply.lost.push(format!("there is more to change: {}", last.stderr));
    }
    name(&mut apply, point);

    let point = model.teardown.point(index);
    let injected = usize::from(kill_at(fronted, TEARDOWN, point));
    let mut teardown = Entry { injected, left: injected, ..Entry::default() };
    let next = fronted.run(TEARDOWN);
    if next.code != 0 {
        teardown.lost.push(format!("the next teardown ended with {}: {}", next.code, next.stderr));
    }
    teardown.lost.extend(differences(&model.clean, &objects(fronted)));
    teardown.lost.extend(unfinished(&fronted.mesh("m")));
    name(&mut teardown, point);
    [apply, teardown]
}

fn name(entry: &mut Entry, point: Point) {
    for lost in &mut entry.lost {
        *lost = format!("{point:?}: {lost}");
    }
}

/// What came of each command.
#[derive(Default)]
struct Books(Mutex<BTreeMap<&'static str, Book>>);

impl Books {
    fn add(&self, command: &'static str, entry: Entry) {
        let mut books = self.0.lock().unwrap();
        books.entry(command).or_insert_with(|| Book::new(command)).add("kill -9", entry);
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

#[test]
fn a_killed_apply_or_teardown_is_finished_by_the_next_one() {
    in_lanes(2, |fronted, indices, books| {
        let model = Model::of(fronted);
        for &index in indices {
            let [apply, teardown] = kill_both(fronted, &model, index);
            books.add("apply", apply);
            books.add("teardown", teardown);
        }
    });
}

/// An apply that takes a cluster out of the mesh.
const LEAVE: &[&str] = &["apply", "--wait=false", "--yes"];

/// Kills one leave of the last of three clusters, and finishes it.
fn kill_leave(fronted: &Fronted, left: &[Objects], point: Point) -> Entry {
    fronted.describe(&[0, 1, 2]);
    fronted.run(APPLY).expect(0);
    fronted.describe(&[0, 1]);
    let injected = usize::from(kill_at(fronted, LEAVE, point));
    let mut entry = Entry { injected, left: injected, ..Entry::default() };
    let next = fronted.run(LEAVE);
    if next.code != 0 {
        entry.lost.push(format!("the next apply ended with {}: {}", next.code, next.stderr));
    }
    entry.lost.extend(differences(left, &objects(fronted)));
    entry.lost.extend(lost_files(fronted, &[0, 1]));
    let state = fs::read_to_string(fronted.mesh("m").join("state.yaml")).unwrap();
    if state.contains(&fronted.clusters[2].context) {
        entry.lost.push("the cluster that left is still on record".into());
    }
    name(&mut entry, point);
    entry
}

#[test]
fn a_killed_leave_is_finished_by_the_next_apply() {
    in_lanes(3, |fronted, indices, books| {
        fronted.run(APPLY).expect(0);
        fronted.describe(&[0, 1]);
        let length = measure(fronted, LEAVE);
        let left = objects(fronted);
        let indices = if at_length() { indices } else { &indices[..1] };
        for &index in indices {
            let entry = kill_leave(fronted, &left, length.point(index));
            books.add("apply, a context left", entry);
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
    let mut landed = false;
    fronted.proxies[0].observe(move |seen| {
        // It was not in the list, and is looked for now.
        if !landed && seen.method == "GET" && seen.path.ends_with(&format!("/{name}")) {
            landed = true;
            lab.kubectl(&cluster, &["create", "-f", "-"], Some(&role.to_string())).unwrap();
        }
        None
    });
    fronted.run(APPLY).expect(0);
    fronted.proxies[0].clear();
    fronted.run(APPLY).expect(0).says("nothing to change");
}
