//! Twenty control planes beside five: links grow with the square of their number, time and memory
//! must not. The floor shows what of that is the API servers'.

use std::thread;

use multimesh_lab::Cluster;
use serde_json::{Value, json};

use super::bare::Script;
use super::ground::{Ground, Mesh, Tools};
use super::quiet::settle;
use super::report::{Row, median};
use super::scripts;
use crate::say::say;

const FEW: usize = 5;
const MANY: usize = 20;

/// What was seen of meshes of one size.
#[derive(Default)]
struct Series {
    /// Seconds a cluster.
    seconds: Vec<f64>,
    /// MB a cluster.
    memory: Vec<f64>,
    /// Seconds a cluster that processors worked for the tool and istioctl.
    work: Vec<f64>,
    /// Seconds a cluster of the floor.
    floor: Vec<f64>,
}

/// Measures these rows.
pub(super) fn measure(tools: &Tools) -> Result<Vec<Row>, String> {
    let ground = Ground::start(tools, 20, false)?;
    let clusters = ground.clusters()?;
    let sizes = [FEW, MANY].map(|count| &clusters[..count.min(clusters.len())]);
    let [few, many] = sizes.map(|clusters| scripts::cold(&ground, clusters, false));
    let scripts = [few?, many?];
    let mut series = [Series::default(), Series::default()];
    for run in 0..tools.runs {
        for turn in 0..2 {
            let index = (run + turn) % 2;
            apply(&ground, sizes[index], &mut series[index])?;
            bare(&ground, sizes[index], &scripts[index], &mut series[index])?;
        }
    }
    let [few, many] = series;
    let what = "`apply --wait=false`, 20 control planes, 380 links";
    #[expect(clippy::cast_precision_loss, reason = "twenty")]
    let peak = median(&many.memory) * MANY as f64;
    let row = |what, with: &str, many: &[f64], few: &[f64], aim| {
        Row::ratio("scale", what, with, (many, few), aim)
    };
    let time = "5 control planes, time a cluster";
    Ok(vec![
        row(what, time, &many.seconds, &few.seconds, Some(1.0)),
        row("the floor of that, 20 control planes", time, &many.floor, &few.floor, None),
        row(what, "the floor, time a cluster", &many.seconds, &many.floor, None),
        row(
            "processor time of that, tool and istioctl alone",
            "5 control planes, processor time a cluster",
            &many.work,
            &few.work,
            Some(1.0),
        ),
        row(what, "5 control planes, memory a cluster", &many.memory, &few.memory, Some(1.0))
            .counted_in("MB"),
        Row::figure("scale", what, (peak, "MB"), 80.0),
    ])
}

/// The tool's mesh, made and taken away.
fn apply(ground: &Ground<'_>, clusters: &[Cluster], series: &mut Series) -> Result<(), String> {
    let mesh = Mesh::new(ground, clusters)?;
    mesh.describe(clusters, Some("flat"))?;
    settle()?;
    let sample = mesh.run(&["apply", "--wait=false"])?;
    check_links(ground, clusters)?;
    #[expect(clippy::cast_precision_loss, reason = "twenty, and megabytes")]
    let (count, memory) = (clusters.len() as f64, sample.peak as f64 * 1024.0 / 1e6);
    say(&format!("apply, {count} control planes: {:.1} s, {memory:.1} MB", sample.seconds));
    series.seconds.push(sample.seconds / count);
    series.memory.push(memory / count);
    series.work.push(sample.work / count);
    let gone = mesh.run(&["teardown", "--yes"])?;
    say(&format!("teardown: {:.1} s", gone.seconds));
    Ok(())
}

/// The floor's, made and taken away.
fn bare(
    ground: &Ground<'_>,
    clusters: &[Cluster],
    script: &Script,
    series: &mut Series,
) -> Result<(), String> {
    let floor = ground.floor(script)?;
    settle()?;
    let sample = floor.run()?;
    check_links(ground, clusters)?;
    #[expect(clippy::cast_precision_loss, reason = "twenty")]
    let count = clusters.len() as f64;
    say(&format!("the floor, {count} control planes: {:.1} s", sample.seconds));
    series.floor.push(sample.seconds / count);
    thread::scope(|scope| {
        let made = clusters.iter().zip(scripts::objects(script));
        let gone = made.map(|(cluster, made)| scope.spawn(move || clear(ground, cluster, &made)));
        let gone: Vec<_> = gone.collect();
        gone.into_iter().try_for_each(|one| {
            one.join().unwrap_or_else(|_| Err("a deletion ended in a panic".to_owned()))
        })
    })
}

fn clear(ground: &Ground<'_>, cluster: &Cluster, objects: &[&Value]) -> Result<(), String> {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string();
    let deletion = ["delete", "--ignore-not-found", "-f", "-"];
    let deleted = ground.lab.kubectl(cluster, &deletion, Some(&list));
    deleted.map(drop).map_err(|error| error.to_string())
}

/// A ratio of meshes that are not whole would be none.
fn check_links(ground: &Ground<'_>, clusters: &[Cluster]) -> Result<(), String> {
    let words =
        ["get", "secrets", "-n", "istio-system", "-l", "istio/multiCluster=true", "-o", "name"];
    let links = ground.kubectl(&clusters[0], &words)?.lines().count();
    if links + 1 == clusters.len() {
        return Ok(());
    }
    Err(format!("{} has {links} links", clusters[0].context))
}
