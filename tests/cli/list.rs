//! `list`: the meshes of this user, from their files alone.

use std::fs;
use std::path::Path;

use insta::assert_snapshot;
use regex::Regex;
use serde_json::Value;

use super::sandbox::{Run, Sandbox};
use super::{shop, three_contexts};

const STATE: &str = "format: 1\nmesh_id: shop\ncontexts:\n  context-east-1:\n    uid: 7c9e6679-7425\n    \
     cluster: context-east-1\n    network: network-east\n    namespace: istio-system\n    \
     server: https://10.1.0.1:6443\n";

const TWO: &str =
    "  context-east-1: {network: network-east}\n  context-west-1: {network: network-west}\n";

fn document(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap()
}

/// Lists without a change to any file.
#[track_caller]
fn list(sandbox: &Sandbox, arguments: &[&str]) -> Run {
    let before = sandbox.tree();
    let run = sandbox.run(&[&["list"], arguments].concat()).expect(0);
    assert_eq!(sandbox.tree(), before, "something was written");
    run
}

/// What was told, with the same days left whenever the root CA was made.
fn told(run: &Run) -> String {
    Regex::new(r"\b36\d\dd\b").unwrap().replace_all(&run.told(), "3648d").into_owned()
}

#[test]
fn without_a_mesh_it_says_how_to_make_one() {
    let sandbox = Sandbox::new();
    let table = list(&sandbox, &[]).told();
    assert_snapshot!(table, @r"
    exit 0
    note: there is no mesh in [dir]/home/.config/multimesh
    hint: create one: `kubectl multimesh init --mesh-id <mesh id>`
    ");
    for output in ["wide", "name"] {
        assert_eq!(list(&sandbox, &["-o", output]).told(), table);
    }
    let json = document(&list(&sandbox, &["-o", "json"]));
    assert_eq!(json["meshes"], serde_json::json!([]));
    assert_eq!((&json["apiVersion"], &json["kind"]), (&"multimesh/v1".into(), &"MeshList".into()));
}

#[test]
fn each_mesh_is_a_line_with_what_its_files_tell() {
    let sandbox = shop(&three_contexts(), TWO);
    fs::write(sandbox.mesh("shop").join("state.yaml"), STATE).unwrap();
    sandbox.run(&["init", "--mesh-id", "fresh"]).expect(0);
    // Neither is a mesh.
    fs::create_dir_all(sandbox.mesh("notes")).unwrap();
    fs::write(sandbox.mesh("readme.txt"), "text").unwrap();
    assert_snapshot!(told(&list(&sandbox, &[])), @r"
    exit 0
    --- stdout
    MESH   CLUSTERS  NETWORKS  ROOT CA  APPLIED     DIRECTORY
    fresh  0         0         3648d    -           [dir]/home/.config/multimesh/fresh
    shop   2         2         3648d    [date]  [dir]/home/.config/multimesh/shop
    ");
    assert_eq!(list(&sandbox, &["-o", "name"]).stdout, "fresh\nshop\n");
    let wide = list(&sandbox, &["-o", "wide"]).stdout;
    assert!(wide.contains("context-east-1,context-west-1  network-east,network-west"), "{wide}");

    let json = document(&list(&sandbox, &["-o", "json"]));
    let yaml: Value = serde_yaml::from_str(&list(&sandbox, &["-o", "yaml"]).stdout).unwrap();
    assert_eq!(json, yaml);
    let shop = &json["meshes"][1];
    assert_eq!(shop["meshId"], "shop");
    assert_eq!(shop["state"], "ok");
    assert_eq!(shop["applied"], serde_json::json!(["context-east-1"]));
    assert_eq!(shop["directory"], sandbox.mesh("shop").display().to_string());
    assert_eq!(json["meshes"][0]["recordedAt"], Value::Null, "never applied");
    let record = fs::metadata(sandbox.mesh("shop").join("state.yaml")).unwrap().modified().unwrap();
    let record = record.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let told: jiff::Timestamp = shop["recordedAt"].as_str().unwrap().parse().unwrap();
    assert_eq!(u64::try_from(told.as_second()).unwrap(), record);
}

#[test]
fn a_broken_mesh_is_a_line_with_the_reason_and_hides_no_other() {
    let sandbox = shop(&three_contexts(), TWO);
    for id in ["bad-ca", "bad-record", "bad-topology"] {
        sandbox.run(&["init", "--mesh-id", id]).expect(0);
    }
    fs::write(sandbox.mesh("bad-ca").join("certs/root-cert.pem"), "text").unwrap();
    fs::write(sandbox.mesh("bad-record").join("state.yaml"), "{").unwrap();
    fs::write(sandbox.mesh("bad-topology").join("topology.yaml"), "mesh_id: [").unwrap();
    copy(&sandbox.mesh("shop"), &sandbox.mesh("shop-copy"));
    let run = list(&sandbox, &[]);
    assert_snapshot!(told(&run));
    assert!(run.stdout.lines().any(|line| line.starts_with("shop   ")), "{}", run.stdout);
    let names = list(&sandbox, &["-o", "name"]).stdout;
    assert_eq!(names, "bad-ca\nbad-record\nbad-topology\nshop\nshop\n");
    let json = document(&list(&sandbox, &["-o", "json"]));
    let states: Vec<&Value> =
        json["meshes"].as_array().unwrap().iter().map(|mesh| &mesh["state"]).collect();
    assert_eq!(states, ["broken", "broken", "broken", "ok", "broken"]);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, target).unwrap();
        }
    }
}

#[test]
fn neither_the_private_key_nor_a_kubeconfig_is_opened() {
    let sandbox = shop(&three_contexts(), TWO);
    // Whoever opens these waits for a writer that never comes.
    for file in [sandbox.mesh("shop").join("certs/root-key.pem"), sandbox.path("home/.kube/config")]
    {
        fs::remove_file(&file).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    }
    let run = sandbox.run(&["list"]).expect(0);
    assert!(told(&run).contains("shop  2         2         3648d"), "{}", run.stdout);
}

#[test]
fn a_root_ca_that_is_over_says_so() {
    let sandbox = shop(&three_contexts(), TWO);
    let expired =
        multimesh::pki::issue::root("Example", "2010-01-01T00:00:00Z".parse().unwrap()).unwrap();
    fs::write(sandbox.mesh("shop").join("certs/root-cert.pem"), expired.cert_pem).unwrap();
    let run = list(&sandbox, &[]);
    assert!(run.stdout.contains("  expired  "), "{}", run.stdout);
}

#[test]
fn a_topology_that_is_kept_elsewhere_and_a_directory_of_its_own_are_found() {
    let sandbox = shop(&three_contexts(), TWO);
    let elsewhere = sandbox.write("git/topology.yaml", &format!("mesh_id: git\ncontexts:\n{TWO}"));
    let elsewhere = elsewhere.display().to_string();
    sandbox.run(&["init", "-f", &elsewhere]).expect(0);
    fs::write(
        sandbox.mesh("git").join("state.yaml"),
        STATE.replace("mesh_id: shop", "mesh_id: git"),
    )
    .unwrap();
    let work = sandbox.path("work").display().to_string();
    sandbox.run(&["init", "--mesh-id", "own", "--dir", &work]).expect(0);
    let mut command = sandbox.command(&["list", "-o", "json"]);
    command.env("WORKDIR", &work);
    let json = document(&sandbox.end(command).expect(0));
    let meshes: Vec<(&str, &Value, &str)> = json["meshes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["meshId"].as_str().unwrap(), &it["topology"], it["state"].as_str().unwrap()))
        .collect();
    assert_eq!(
        meshes.iter().map(|it| (it.0, it.2)).collect::<Vec<_>>(),
        [("git", "ok"), ("own", "ok"), ("shop", "ok"),]
    );
    assert_eq!(*meshes[0].1, Value::Null);
    assert_eq!(json["meshes"][0]["contexts"], serde_json::json!(["context-east-1"]));

    // One that is not there is told as what it is.
    let nowhere = sandbox.path("nowhere").display().to_string();
    let run = list(&sandbox, &["--dir", &nowhere]);
    assert!(run.stdout.contains("nowhere does not exist"), "{}", run.stdout);
    // And one that is listed already is listed once.
    let own = sandbox.mesh("shop").display().to_string();
    assert_eq!(list(&sandbox, &["-o", "name", "--dir", &own]).stdout, "git\nshop\n");
}
