//! Clusters with nodes, where a mesh really becomes ready: cold apply, apply with nothing to do,
//! `status`, and a cluster that joins.

use multimesh_lab::Cluster;

use super::ground::{Ground, Mesh, Tools};
use super::manual::{Manual, istioctl};
use super::measure;
use super::quiet::settle;
use super::report::Row;
use super::{Chosen, Group, scripts, writes};
use crate::say::say;

const CLUSTERS: u8 = 3;

#[derive(Default)]
struct Figures {
    cold: Vec<f64>,
    cold_manual: Vec<f64>,
    cold_floor: Vec<f64>,
    objects: usize,
    floor_objects: usize,
    idle: Vec<f64>,
    idle_manual: Vec<f64>,
    idle_floor: Vec<f64>,
    idle_written: Vec<f64>,
    read_back_floor: Vec<f64>,
    requests: Requests,
    writes: Vec<String>,
    status: Vec<f64>,
    status_istioctl: Vec<f64>,
    status_floor: Vec<f64>,
    join: Vec<f64>,
    alone: Vec<f64>,
}

/// How many requests the tool makes, and the floors.
#[derive(Default)]
struct Requests {
    apply: usize,
    unread: usize,
    lists: usize,
    both: usize,
    status: usize,
    status_floor: usize,
}

/// Measures what is chosen of these rows.
pub(super) fn measure(tools: &Tools, chosen: &Chosen) -> Result<Vec<Row>, String> {
    let mut figures = Figures::default();
    let tool = [Group::Cold, Group::Idle, Group::Status, Group::Join];
    let manual = [Group::Cold, Group::Idle];
    for run in 0..tools.runs {
        // Each goes first in turn.
        for turn in 0..3 {
            match (run + turn) % 3 {
                0 if chosen.any(&tool) => with_tool(tools, chosen, &mut figures)?,
                1 if chosen.any(&manual) => by_hand(tools, chosen, &mut figures)?,
                2 if chosen.has(Group::Cold) => bare(tools, &mut figures)?,
                _ => {}
            }
        }
    }
    Ok(rows(&figures, chosen))
}

fn with_tool(tools: &Tools, chosen: &Chosen, figures: &mut Figures) -> Result<(), String> {
    let ground = Ground::start(tools, CLUSTERS, true)?;
    let clusters = ground.clusters()?;
    let mesh = Mesh::new(&ground, &clusters)?;
    let cold = mesh.run(&["apply"])?;
    say(&format!("cold apply, 3 clusters: tool {:.1} s", cold.seconds));
    figures.cold.push(cold.seconds);
    figures.objects = cold.stderr.lines().filter_map(created).max().unwrap_or_default();
    if chosen.has(Group::Idle) {
        idle(&ground, &mesh, &clusters, figures)?;
    }
    if chosen.has(Group::Status) {
        status(&ground, &mesh, &clusters, figures)?;
    }
    if chosen.has(Group::Join) {
        join(&ground, &mesh, figures)?;
    }
    Ok(())
}

/// The number in a line such as `[ 13.9s] context-west-1  45 created`.
fn created(line: &str) -> Option<usize> {
    line.strip_suffix(" created")?.rsplit(' ').next()?.parse().ok()
}

fn idle(
    ground: &Ground<'_>,
    mesh: &Mesh<'_>,
    clusters: &[Cluster],
    figures: &mut Figures,
) -> Result<(), String> {
    let lists = scripts::lists(ground, clusters)?;
    let floor = ground.floor(&lists)?;
    let what_runs = scripts::what_runs(ground, clusters)?;
    let both_scripts = scripts::then(scripts::lists(ground, clusters)?, what_runs);
    let both = ground.floor(&both_scripts)?;
    unchanged(mesh, &["apply"])?;
    figures.requests.apply = mesh.requests(&["apply"])?;
    figures.requests.unread = mesh.requests(&["apply", "--wait=false"])?;
    figures.requests.lists = scripts::size(&lists);
    figures.requests.both = scripts::size(&both_scripts);
    for _ in 0..super::SHORT {
        figures.idle.push(unchanged(mesh, &["apply"])?);
        figures.idle_floor.push(floor.run()?.seconds);
        figures.idle_written.push(unchanged(mesh, &["apply", "--wait=false"])?);
        figures.read_back_floor.push(both.run()?.seconds);
    }
    if figures.writes.is_empty() {
        figures.writes =
            writes::during(ground, clusters, || unchanged(mesh, &["apply"]).map(drop))?;
    }
    Ok(())
}

/// Applies where there is nothing to do; returns the seconds.
pub(super) fn unchanged(mesh: &Mesh<'_>, words: &[&str]) -> Result<f64, String> {
    let sample = mesh.run(words)?;
    if sample.stderr.contains("nothing to change in") {
        return Ok(sample.seconds);
    }
    Err(format!("there was something to do for an apply:\n{}", sample.stderr))
}

fn status(
    ground: &Ground<'_>,
    mesh: &Mesh<'_>,
    clusters: &[Cluster],
    figures: &mut Figures,
) -> Result<(), String> {
    let script = scripts::status(ground, clusters, true)?;
    let floor = ground.floor(&script)?;
    figures.requests.status = mesh.requests(&["status"])?;
    figures.requests.status_floor = scripts::size(&script);
    for _ in 0..super::SHORT {
        figures.status.push(mesh.run(&["status"])?.seconds);
        figures.status_floor.push(floor.run()?.seconds);
        figures.status_istioctl.push(in_turn(ground, clusters)?);
    }
    Ok(())
}

/// Asks each cluster with istioctl for what its istiod reads; returns the seconds.
pub(super) fn in_turn(ground: &Ground<'_>, clusters: &[Cluster]) -> Result<f64, String> {
    let mut seconds = 0.0;
    for cluster in clusters {
        let mut command = istioctl(ground, cluster, &["remote-clusters"])?;
        // Where no istiod runs the command fails, which takes less time than an answer.
        let codes: &[i32] = if cluster.has_node { &[0] } else { &[0, 1] };
        seconds += measure::run_to(&mut command, codes)?.seconds;
    }
    Ok(seconds)
}

/// A fourth cluster joins the three; and a fifth is applied alone, as the first of a mesh whose
/// other cluster is left out: both get a gateway, and both share the machine with the same others.
/// What is installed first on a node takes longer, so both have had a control plane before.
fn join(ground: &Ground<'_>, mesh: &Mesh<'_>, figures: &mut Figures) -> Result<(), String> {
    ground.grow(CLUSTERS + 2, true)?;
    let clusters = ground.clusters()?;
    let (Some(four), Some(last)) = (clusters.get(..4), clusters.get(4)) else {
        return Err("the lab did not grow".into());
    };
    let fourth = &four[3];
    let both = Mesh::new(ground, &[fourth.clone(), last.clone()])?;
    both.run(&["apply"])?;
    both.run(&["teardown", "--yes"])?;
    let solo = Mesh::new(ground, &[clusters[0].clone(), last.clone()])?;
    solo.run(&["init", "--mesh-id", "mesh1"])?;
    let alone = || -> Result<f64, String> {
        settle()?;
        let sample = solo.run(&["apply", "--contexts", &last.context])?;
        solo.run(&["teardown", "--yes", "--contexts", &last.context])?;
        Ok(sample.seconds)
    };
    let join = || -> Result<f64, String> {
        mesh.describe(four, None)?;
        settle()?;
        let sample = mesh.run(&["apply"])?;
        mesh.run(&["teardown", "--yes", "--contexts", &fourth.context])?;
        Ok(sample.seconds)
    };
    for first in [true, false] {
        let (joined, single) = if first {
            let joined = join()?;
            (joined, alone()?)
        } else {
            let single = alone()?;
            (join()?, single)
        };
        say(&format!("join of a 4th cluster: {joined:.1} s; one cluster cold: {single:.1} s"));
        figures.join.push(joined);
        figures.alone.push(single);
    }
    Ok(())
}

fn by_hand(tools: &Tools, chosen: &Chosen, figures: &mut Figures) -> Result<(), String> {
    let ground = Ground::start(tools, CLUSTERS, true)?;
    let manual = Manual::new(&ground, ground.clusters()?)?;
    let cold = manual.install()?;
    say(&format!("cold apply, 3 clusters: by hand {cold:.1} s"));
    figures.cold_manual.push(cold);
    if chosen.has(Group::Idle) {
        figures.idle_manual.push(manual.again()?);
    }
    Ok(())
}

fn bare(tools: &Tools, figures: &mut Figures) -> Result<(), String> {
    let ground = Ground::start(tools, CLUSTERS, true)?;
    let script = scripts::cold(&ground, &ground.clusters()?, true)?;
    figures.floor_objects = scripts::size(&script);
    let cold = ground.floor(&script)?.run()?;
    say(&format!("cold apply, 3 clusters: floor {:.1} s", cold.seconds));
    figures.cold_floor.push(cold.seconds);
    Ok(())
}

fn rows(f: &Figures, chosen: &Chosen) -> Vec<Row> {
    let mut rows = Vec::new();
    if chosen.has(Group::Cold) {
        let what = "cold `apply`, 3 clusters with nodes";
        let row = |with, theirs: &[f64], aim| {
            Row::ratio("cold", what, with, (&f.cold, theirs), aim)
                .fact("objects_per_cluster", f.objects)
                .fact("objects_per_cluster_of_the_floor", f.floor_objects)
        };
        rows.push(row("by hand", &f.cold_manual, 0.3));
        rows.push(row("the floor", &f.cold_floor, 1.0));
    }
    if chosen.has(Group::Idle) {
        let what = "`apply` with nothing to do, 3 clusters";
        rows.push(
            Row::figure("idle", what, (count(&f.writes), "writes"), 0.0)
                .fact("writes", f.writes.clone()),
        );
        rows.push(Row::ratio("idle", what, "by hand again", (&f.idle, &f.idle_manual), 0.05));
        let row = |what: &str, with, series: (&[f64], &[f64]), requests: (usize, usize)| {
            Row::ratio("idle", what, with, series, Some(1.3))
                .fact("requests", requests.0)
                .fact("requests_of_the_floor", requests.1)
        };
        let requests = &f.requests;
        let unread = "the same with `--wait=false`, 3 clusters";
        let lists = "the floor: one list a kind";
        rows.push(row(
            unread,
            lists,
            (&f.idle_written, &f.idle_floor),
            (requests.unread, requests.lists),
        ));
        let both = "the floor: these lists, then istiods and tokens";
        rows.push(row(what, both, (&f.idle, &f.read_back_floor), (requests.apply, requests.both)));
        rows.push(row(what, lists, (&f.idle, &f.idle_floor), (requests.apply, requests.lists)));
    }
    if chosen.has(Group::Status) {
        let row = |with, theirs: &[f64], aim| {
            Row::ratio("status", "`status`, 3 clusters with nodes", with, (&f.status, theirs), aim)
                .fact("requests", f.requests.status)
                .fact("requests_of_the_floor", f.requests.status_floor)
        };
        rows.push(row("istioctl, one after the other", &f.status_istioctl, None));
        rows.push(row("the floor", &f.status_floor, Some(1.3)));
    }
    if chosen.has(Group::Join) {
        let series = (f.join.as_slice(), f.alone.as_slice());
        rows.push(Row::ratio("join", "join of a 4th cluster", "one cluster cold", series, 1.2));
    }
    rows
}

#[expect(clippy::cast_precision_loss, reason = "a handful")]
pub(super) fn count(writes: &[String]) -> f64 {
    writes.len() as f64
}
