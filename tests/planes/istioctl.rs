//! The real istioctl, and its versions.

use multimesh_lab::programs;

use crate::Planes;

#[test]
fn an_operator_that_istioctl_rejects_is_told_in_its_words() {
    let planes = Planes::start(1);
    let base = crate::base().replace("profile: minimal", "profile: minimall");
    planes.write("m", "base.yaml", &base);
    planes
        .apply(&[])
        .expect(1)
        .says("istioctl rejects")
        .says("\"minimall\" not found")
        .says("hint:");
    assert!(planes.is_untouched(0));
}

#[test]
fn another_istioctl_than_what_runs_is_refused() {
    let planes = Planes::start(1);
    planes.apply(&[]).expect(0);
    let other = programs::istioctl_as("1.30.4").unwrap();
    planes
        .apply(&["--istioctl", other.to_str().unwrap()])
        .expect(1)
        .says(&format!("runs Istio {}, but istioctl is 1.30.4", programs::ISTIO_VERSION));
    let old = programs::istioctl_as("1.28.9").unwrap();
    planes.apply(&["--istioctl", old.to_str().unwrap()]).expect(1).says("is too old");
}
