//! Versions as a screen.

use super::table::{remark, table as lay_out};
use super::{Tone, count};
use crate::engine::versions::{
    ClusterVersions, Combination, IstioctlState, IstioctlVersion, Versions,
};

/// What stands for something that is not there, or not known.
const NOTHING: &str = "-";

/// The programs, the clusters that were asked, and what has to be said of them.
pub fn table(versions: &Versions) -> String {
    let Versions { tool, istioctl, clusters, .. } = versions;
    let path = |path: Option<&std::path::PathBuf>| {
        path.map_or_else(|| NOTHING.to_owned(), |path| path.display().to_string())
    };
    let text = |text: Option<&String>| text.cloned().unwrap_or_else(|| NOTHING.to_owned());
    let programs = [
        vec![
            "kubectl-multimesh".into(),
            tool.version.into(),
            "ok".into(),
            path(tool.path.as_ref()),
        ],
        vec![
            "istioctl".into(),
            text(istioctl.version.as_ref()),
            fitness(istioctl.state).into(),
            path(istioctl.path.as_ref()),
        ],
    ];
    let mut screen = lay_out(&["PROGRAM", "VERSION", "STATE", "PATH"], programs);
    if !clusters.is_empty() {
        screen.push('\n');
        let rows = clusters.iter().map(|cluster| {
            let (kubernetes, istio) = (cluster.kubernetes.as_ref(), cluster.istio.as_ref());
            vec![cluster.context.clone(), text(kubernetes), text(istio), word(cluster.state).into()]
        });
        screen += &lay_out(&["CONTEXT", "KUBERNETES", "ISTIO", "STATE"], rows);
    }
    let remarks = remarks(versions);
    if !remarks.is_empty() {
        screen.extend(["\n", &Tone::Strong.paint("notes"), ":\n", &remarks]);
    }
    screen
}

fn remarks(versions: &Versions) -> String {
    let mut text = String::new();
    if let Some(reason) = &versions.istioctl.reason {
        remark(&mut text, reason, &versions.istioctl.hints);
    }
    for cluster in &versions.clusters {
        if let Some(reason) = &cluster.reason {
            remark(&mut text, &format!("`{}`: {reason}", cluster.context), &cluster.hints);
        }
        if let Some(message) = skew(cluster, &versions.istioctl) {
            let hint = "use the istioctl of that version: `--istioctl <path>`".to_owned();
            // One that is too old is of no use.
            let hints = if cluster.state == Combination::TooOld { vec![] } else { vec![hint] };
            remark(&mut text, &message, &hints);
        }
    }
    text
}

/// What there is to say of an istioctl that is more than one minor version away from what runs.
fn skew(cluster: &ClusterVersions, istioctl: &IstioctlVersion) -> Option<String> {
    let minors = cluster.istioctl_ahead.filter(|minors| minors.abs() > 1)?;
    let (context, istio, istioctl) =
        (&cluster.context, cluster.istio.as_ref()?, istioctl.version.as_ref()?);
    let away = count(usize::try_from(minors.unsigned_abs()).ok()?, "minor version");
    let direction = if minors > 0 { "newer" } else { "older" };
    Some(format!("`{context}`: istioctl {istioctl} is {away} {direction} than its Istio {istio}"))
}

const fn fitness(state: IstioctlState) -> &'static str {
    match state {
        IstioctlState::Ok => "ok",
        IstioctlState::TooOld => "too old",
        IstioctlState::Missing => "missing",
        IstioctlState::NotUsable => "not usable",
    }
}

const fn word(state: Combination) -> &'static str {
    match state {
        Combination::Supported => "supported",
        Combination::NewerThanTested => "newer than tested",
        Combination::TooOld => "too old",
        Combination::NoIstio => "no Istio",
        Combination::Unknown => "unknown",
        Combination::OtherCluster => "other cluster",
        Combination::Unreachable => "unreachable",
    }
}
