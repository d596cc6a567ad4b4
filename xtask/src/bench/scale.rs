//! Twenty control planes beside five: links grow with the square of their number, time and memory
//! must not.

use multimesh_lab::Cluster;

use super::ground::{Ground, Mesh, Tools};
use super::report::{Row, median};
use crate::say::say;

const FEW: usize = 5;
const MANY: usize = 20;

#[derive(Default)]
struct Series {
    /// Seconds a cluster.
    seconds: Vec<f64>,
    /// MB a cluster.
    memory: Vec<f64>,
}

/// Measures these rows.
pub(super) fn measure(tools: &Tools) -> Result<Vec<Row>, String> {
    let ground = Ground::start(tools, 20, false)?;
    let clusters = ground.clusters()?;
    let mut series = [Series::default(), Series::default()];
    for run in 0..tools.runs {
        for turn in 0..2 {
            let index = (run + turn) % 2;
            let count = [FEW, MANY][index];
            apply(&ground, &clusters[..count.min(clusters.len())], &mut series[index])?;
        }
    }
    let [few, many] = series;
    let what = "`apply --wait=false`, 20 control planes, 380 links";
    #[expect(clippy::cast_precision_loss, reason = "twenty")]
    let peak = median(&many.memory) * MANY as f64;
    let per_cluster = |which, many: &[f64], few: &[f64]| {
        let with = format!("5 control planes, {which} a cluster");
        Row::ratio("scale", what, with, (many, few), 1.0)
    };
    Ok(vec![
        per_cluster("time", &many.seconds, &few.seconds),
        per_cluster("memory", &many.memory, &few.memory).counted_in("MB"),
        Row::figure("scale", what, (peak, "MB"), 80.0),
    ])
}

fn apply(ground: &Ground<'_>, clusters: &[Cluster], series: &mut Series) -> Result<(), String> {
    let mesh = Mesh::new(ground, clusters)?;
    mesh.describe(clusters, Some("flat"))?;
    let sample = mesh.run(&["apply", "--wait=false"])?;
    let links = ground.kubectl(
        &clusters[0],
        &["get", "secrets", "-n", "istio-system", "-l", "istio/multiCluster=true", "-o", "name"],
    )?;
    if links.lines().count() + 1 != clusters.len() {
        return Err(format!("{} has {} links", clusters[0].context, links.lines().count()));
    }
    #[expect(clippy::cast_precision_loss, reason = "twenty, and megabytes")]
    let (count, memory) = (clusters.len() as f64, sample.peak as f64 * 1024.0 / 1e6);
    say(&format!("apply, {count} control planes: {:.1} s, {memory:.1} MB", sample.seconds));
    series.seconds.push(sample.seconds / count);
    series.memory.push(memory / count);
    let gone = mesh.run(&["teardown", "--yes"])?;
    say(&format!("teardown: {:.1} s", gone.seconds));
    Ok(())
}
