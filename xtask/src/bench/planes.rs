//! Ten clusters without nodes: apply with nothing to do, and `status`. No istiod runs there, so
//! nothing is waited for, and nobody tells what it reads.

use super::ground::{Ground, Mesh, Tools};
use super::manual::Manual;
use super::nodes::{count, in_turn, unchanged};
use super::report::Row;
use super::{Chosen, Group, SHORT, scripts, writes};
use crate::say::say;

const APPLY: [&str; 2] = ["apply", "--wait=false"];

/// Measures what is chosen of these rows.
pub(super) fn measure(tools: &Tools, chosen: &Chosen) -> Result<Vec<Row>, String> {
    if !chosen.any(&[Group::Idle, Group::Status]) {
        return Ok(Vec::new());
    }
    let ground = Ground::start(tools, 10, false)?;
    let mesh = Mesh::new(&ground, &ground.clusters()?)?;
    let first = mesh.run(&APPLY)?;
    say(&format!("apply, 10 control planes: {:.1} s", first.seconds));
    let mut rows = Vec::new();
    if chosen.has(Group::Status) {
        rows.extend(status(&ground, &mesh)?);
    }
    if chosen.has(Group::Idle) {
        // Last, as doing it by hand makes the objects somebody else's too.
        rows.extend(idle(&ground, &mesh)?);
    }
    Ok(rows)
}

fn idle(ground: &Ground<'_>, mesh: &Mesh<'_>) -> Result<Vec<Row>, String> {
    let clusters = ground.clusters()?;
    let lists = scripts::lists(ground, &clusters)?;
    let floor = ground.floor(&lists)?;
    unchanged(mesh, &APPLY)?;
    let requests = mesh.requests(&APPLY)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..SHORT {
        ours.push(unchanged(mesh, &APPLY)?);
        theirs.push(floor.run()?.seconds);
    }
    let written = writes::during(ground, &clusters, || unchanged(mesh, &APPLY).map(drop))?;
    let manual = Manual::new(ground, clusters)?;
    let by_hand = manual.again_without_nodes()?;
    say(&format!("all of it again by hand, 10 control planes: {by_hand:.1} s"));
    let what = "`apply --wait=false` with nothing to do, 10 clusters";
    Ok(vec![
        Row::figure("idle", what, (count(&written), "writes"), 0.0).fact("writes", written),
        Row::ratio("idle", what, "by hand again, without waiting", (&ours, &[by_hand]), 0.05),
        Row::ratio("idle", what, "the floor: one list a kind", (&ours, &theirs), 1.3)
            .fact("requests", requests)
            .fact("requests_of_the_floor", scripts::size(&lists)),
    ])
}

fn status(ground: &Ground<'_>, mesh: &Mesh<'_>) -> Result<Vec<Row>, String> {
    let clusters = ground.clusters()?;
    let script = scripts::status(ground, &clusters, true)?;
    let floor = ground.floor(&script)?;
    let requests = mesh.requests(&["status"])?;
    let (mut ours, mut theirs, mut istioctl) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..SHORT {
        // Not healthy, as no istiod runs.
        ours.push(mesh.look(&["status"])?.seconds);
        theirs.push(floor.run()?.seconds);
        istioctl.push(in_turn(ground, &clusters)?);
    }
    let row = |with, theirs: &[f64], aim| {
        Row::ratio("status", "`status`, 10 clusters", with, (&ours, theirs), aim)
            .fact("requests", requests)
            .fact("requests_of_the_floor", scripts::size(&script))
    };
    Ok(vec![row("istioctl, one after the other", &istioctl, 0.1), row("the floor", &theirs, 1.3)])
}
