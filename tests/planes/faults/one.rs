//! One of several clusters is broken: the others are finished in their normal time and lose no
//! link, its row says why, and the next run finishes it.

use std::time::Duration;

use multimesh_lab::faults::{Fault, Rule};

use super::front::Fronted;
use super::ledger::{Book, Entry};
use super::links::{Secrets, lost_links, wrong_links};
use crate::live::Run;

/// How much longer than normal the others may take where nothing of the broken cluster is waited
/// for.
const SLACK: f32 = 4.0;
/// The most requests to a cluster one after another before the first write to any: its definitions
/// of kinds, objects, rights, a dry run and its lease.
const IN_A_ROW: f32 = 12.0;
/// How much later each answer of a slow cluster is.
const LATER: Duration = Duration::from_millis(300);
/// How long a cluster is waited for before anything is written to any: for its first answer, or for
/// its return where it is gone when its lease is to be taken, and a pause between two attempts.
const FIRST_ANSWER: f32 = 14.0;

const ALL: [usize; 3] = [0, 1, 2];

/// When the first two clusters were finished, in seconds from the start of the run.
fn finished(fronted: &Fronted, run: &Run) -> Option<f32> {
    let last = |index: usize| {
        let context = format!("{} ", fronted.clusters[index].context);
        let lines = run.stderr.lines().filter_map(|line| line.strip_prefix('[')?.split_once("s] "));
        let done = |text: &str| {
            ["created", "updated", "nothing to change"].iter().any(|word| text.contains(word))
        };
        let mut lines = lines.filter(|(_, text)| text.starts_with(&context) && done(text));
        lines.next_back()?.0.trim().parse::<f32>().ok()
    };
    Some(last(0)?.max(last(1)?))
}

/// What an apply beside a broken cluster did wrong to the two others.
/// `linked` are the planes that are linked with each other.
fn harm(fronted: &Fronted, run: &Run, code: i32, within: f32, linked: &[usize]) -> Vec<String> {
    let mut harm = Vec::new();
    if run.code != code {
        harm.push(format!("it ended with {} and not {code}: {}", run.code, run.stderr));
    }
    match finished(fronted, run) {
        Some(time) if time <= within => {}
        time => harm.push(format!("done in {time:?} s and not {within} s: {}", run.stderr)),
    }
    let secrets = Secrets::of_all(fronted);
    for index in [0, 1] {
        if !fronted.is_changed(index) {
            harm.push(format!("plane {index} is not changed"));
        }
        harm.extend(wrong_links(fronted, &secrets, index, linked, &[]));
    }
    if code == 3 {
        let context = format!("`{}`", fronted.clusters[2].context);
        for text in [context.as_str(), "hint:", "applied to 2 clusters of 3"] {
            if !run.stderr.contains(text) {
                harm.push(format!("{text:?} is not told in: {}", run.stderr));
            }
        }
    }
    harm
}

/// Counts a run with a fault after another one has finished it.
fn finish(fronted: &Fronted, run: &Run, mut lost: Vec<String>) -> Entry {
    let next = fronted.apply(&[]);
    if next.code != 0 {
        lost.push(format!("the next apply ended with {}: {}", next.code, next.stderr));
    }
    for index in ALL.iter().copied().filter(|&index| !fronted.is_changed(index)) {
        lost.push(format!("plane {index} is not finished"));
    }
    lost.extend(lost_links(fronted, &ALL));
    let again = fronted.apply(&[]);
    if !again.stderr.contains("nothing to change in 3 clusters") {
        lost.push(format!("there is more to change: {}", again.stderr));
    }
    Entry::of(1, run.code == 0, next.code == 0, lost)
}

/// Applies a change while the third of three clusters has a fault, and once more without it.
/// `code` is how the first run has to end; the two others have to be done within these seconds.
fn beside(fronted: &Fronted, fault: Rule, code: i32, within: f32, linked: &[usize]) -> Entry {
    fronted.change();
    let struck = fronted.struck(2);
    fronted.proxies[2].inject(fault);
    let run = fronted.apply(&[]);
    fronted.proxies[2].clear();
    let injected = usize::from(fronted.struck(2) > struck);
    let lost = harm(fronted, &run, code, within, linked);
    Entry { injected, ..finish(fronted, &run, lost) }
}

#[test]
fn one_broken_cluster_costs_the_others_neither_time_nor_links() {
    let fronted = Fronted::start(3);
    let broken = &fronted.clusters[2];
    let proxy = &fronted.proxies[2];
    let mut book = Book::new("apply, one of three clusters");
    let dead = || Rule::new(Fault::Refuse(Duration::MAX));

    // It dies in the middle of its first apply: the two others link with each other.
    let joining = beside(&fronted, dead().writes().after(4).times(1), 3, 60.0, &[0, 1]);
    book.add("dies while it joins", joining);

    fronted.change();
    let run = fronted.apply(&[]).expect(0);
    let normal = finished(&fronted, &run).expect("the times of a normal run") + SLACK;

    book.add("dead", beside(&fronted, dead(), 3, normal, &ALL));
    let at_its_rights = dead().path("/selfsubjectaccessreviews").times(1);
    let late = normal + FIRST_ANSWER;
    book.add("dies when rights are asked", beside(&fronted, at_its_rights, 3, late, &ALL));
    // The first write is the lease, and all of them are taken before anything else is written.
    let at_its_lease = dead().writes().times(1);
    book.add("dies when it is locked", beside(&fronted, at_its_lease, 3, late, &ALL));
    let half_way = dead().writes().after(1).times(1);
    book.add("dies half way", beside(&fronted, half_way, 3, normal, &ALL));
    let within = normal + IN_A_ROW * LATER.as_secs_f32();
    book.add("slow", beside(&fronted, Rule::new(Fault::Slow(LATER)), 0, within, &ALL));

    fronted.change();
    broken.pause_api_server().unwrap();
    let run = fronted.apply(&[]);
    broken.resume_api_server().unwrap();
    let lost = harm(&fronted, &run, 3, late, &ALL);
    book.add("hanging", finish(&fronted, &run, lost));

    // A real restart, which takes its time: within the run or not.
    fronted.change();
    let rebooting = broken.clone();
    let (sender, reboot) = std::sync::mpsc::channel();
    proxy.observe(move |seen| {
        if seen.is_write() && !seen.path.contains("/leases") {
            let _ = sender.send(());
        }
        None
    });
    let restart = std::thread::spawn(move || {
        reboot.recv().expect("a write");
        rebooting.restart_api_server()
    });
    let run = fronted.apply(&[]);
    restart.join().unwrap().unwrap();
    proxy.clear();
    let code = if run.code == 0 { 0 } else { 3 };
    let lost = harm(&fronted, &run, code, normal, &ALL);
    book.add("reboots half way", finish(&fronted, &run, lost));
    book.close();
}

#[test]
fn a_mesh_of_dead_clusters_fails() {
    let fronted = Fronted::start(1);
    fronted.proxies[0].refuse();
    fronted.apply(&[]).expect(1).says("refused the connection").says("hint:");
}
