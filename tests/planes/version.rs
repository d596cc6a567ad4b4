//! What runs, as it is told beside what is installed.

use multimesh_lab::programs;
use serde_json::Value;

use crate::Planes;
use crate::live::versions;

fn version(planes: &Planes, arguments: &[&str]) -> Value {
    let run = planes.run(&[&["version", "-o", "json", "--contexts", "/./"], arguments].concat());
    serde_json::from_str(&run.expect(0).stdout).expect("a document")
}

#[test]
fn a_control_plane_and_its_istioctl_are_told_and_a_mesh_is_listed() {
    let planes = Planes::start(1);
    let before = versions(&planes.lab, &planes.clusters[0]);
    let cluster = &version(&planes, &[])["clusters"][0];
    assert_eq!(cluster["state"], "noIstio", "{cluster}");
    assert_eq!(versions(&planes.lab, &planes.clusters[0]), before, "it wrote");

    planes.apply(&[]).expect(0);
    let told = version(&planes, &[]);
    let cluster = &told["clusters"][0];
    assert_eq!(cluster["state"], "supported", "{cluster}");
    assert_eq!(cluster["istio"], programs::ISTIO_VERSION);
    assert_eq!(cluster["istioctlAhead"], 0);
    assert_eq!(told["istioctl"]["version"], programs::ISTIO_VERSION);
    assert_eq!(told["meshId"], "m");
    let server = planes.kubectl(0, &["version", "-o", "json"]);
    let server: Value = serde_json::from_str(&server).expect("kubectl prints JSON");
    assert_eq!(cluster["kubernetes"], server["serverVersion"]["gitVersion"]);

    let older = programs::istioctl_as("1.29.4").unwrap();
    let run = planes.run(&["version", "--contexts", "/./", "--istioctl", older.to_str().unwrap()]);
    let screen = run.expect(0).stdout;
    assert!(screen.contains("  supported\n"), "{screen}");
    assert!(screen.contains("istioctl 1.29.4 is 2 minor versions older than"), "{screen}");

    let list = planes.run(&["list", "-o", "json"]).expect(0).stdout;
    let list: Value = serde_json::from_str(&list).expect("a document");
    let mesh = &list["meshes"][0];
    assert_eq!((&mesh["meshId"], &mesh["state"]), (&"m".into(), &"ok".into()), "{mesh}");
    assert_eq!(mesh["applied"], serde_json::json!([planes.clusters[0].context]));
    assert!(mesh["recordedAt"].is_string() && mesh["rootCa"]["daysLeft"].is_i64(), "{mesh}");
}
