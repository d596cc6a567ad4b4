//! `init`: what it makes, keeps and refuses.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use insta::assert_snapshot;

use super::kubeconfig::{Kubeconfig, TOKEN};
use super::sandbox::Sandbox;
use super::{refused, three_contexts};

#[test]
fn a_new_mesh_has_all_its_files_and_they_are_private() {
    let sandbox = Sandbox::with(&three_contexts());
    let run = sandbox.run(&["init", "--mesh-id", "shop"]);
    assert_snapshot!(run.told(), @r#"
exit 0
mesh shop in [dir]/home/.config/multimesh/shop
  created  certs/root-key.pem   private key of the root CA
  created  certs/root-cert.pem  root CA `O=Istio, CN=Root CA`, until [date]
  created  base.yaml            what istioctl installs in every cluster
  created  topology.yaml        3 contexts of your kubeconfig, commented out
keep [dir]/home/.config/multimesh/shop/certs/root-key.pem safe and back it up: who has it can join the mesh, and without it no cluster can be added
next: edit [dir]/home/.config/multimesh/shop/topology.yaml, then run `kubectl multimesh apply`
"#);
    let modes: Vec<_> = sandbox.modes(&sandbox.path("home/.config")).into_iter().collect();
    assert_snapshot!(modes.iter().map(|(name, mode)| format!("{mode} {name}\n")).collect::<String>(), @r#"
700 
700 multimesh
700 multimesh/shop
600 multimesh/shop/.lock
600 multimesh/shop/base.yaml
700 multimesh/shop/certs
600 multimesh/shop/certs/root-cert.pem
600 multimesh/shop/certs/root-key.pem
600 multimesh/shop/topology.yaml
"#);
    let key = fs::read_to_string(sandbox.mesh("shop").join("certs/root-key.pem")).unwrap();
    assert!(key.starts_with("-----BEGIN PRIVATE KEY-----"));
}

#[test]
fn again_it_changes_nothing_and_says_so() {
    let sandbox = Sandbox::with(&three_contexts());
    sandbox.run(&["init", "--mesh-id", "shop"]).expect(0);
    let before = sandbox.tree();
    let run = sandbox.run(&["init", "--mesh-id", "shop"]);
    assert_eq!(sandbox.tree(), before);
    assert_snapshot!(run.told(), @r#"
exit 0
mesh shop in [dir]/home/.config/multimesh/shop: everything is there, nothing was changed
  kept     certs/root-key.pem   private key of the root CA
  kept     certs/root-cert.pem  root CA `O=Istio, CN=Root CA`, until [date]
  kept     base.yaml            what istioctl installs in every cluster
  kept     topology.yaml        the clusters
next: edit [dir]/home/.config/multimesh/shop/topology.yaml, then run `kubectl multimesh apply`
"#);
}

#[test]
fn the_contexts_of_the_kubeconfig_are_proposed_and_need_no_more_than_uncommenting() {
    let sandbox = Sandbox::with(
        &Kubeconfig::default()
            .unreachable("arn:aws:eks:eu-west-1:123456789012:cluster/shop", "https://a.example.com")
            .unreachable("gke_project_us-east1_shop", "https://34.0.0.1"),
    );
    sandbox.run(&["init", "--mesh-id", "shop"]).expect(0);
    let path = sandbox.mesh("shop").join("topology.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let (_, contexts) = text.split_once("\ncontexts:\n").unwrap();
    assert_snapshot!(contexts, @r#"
# "arn:aws:eks:eu-west-1:123456789012:cluster/shop":  # https://a.example.com
#   cluster: shop-845d5a30
#   network: network-eu-west-1              # guessed: region eu-west-1
# gke_project_us-east1_shop:                # https://34.0.0.1
#   cluster: shop-b2b7b110
#   network: network-us-east1               # guessed: region us-east1
"#);

    let before = refused(&sandbox, &["apply"]);
    assert_snapshot!(before.told(), @r#"
exit 1
error: [dir]/home/.config/multimesh/shop/topology.yaml:20:1: the mesh has no contexts
20 | contexts:
   | ^
hint: un-comment an entry or add one: a kubeconfig context with its `network:` below it
hint: the contexts that there are: `kubectl config get-contexts -o name`
"#);

    fs::write(&path, text.replace("\n  # ", "\n  ").replace("  #   ", "    ")).unwrap();
    let run = refused(&sandbox, &["apply"]);
    assert!(run.stderr.contains("there is no `istioctl` on PATH"), "{}", run.stderr);
}

#[test]
fn contexts_can_be_chosen() {
    let sandbox = Sandbox::with(&three_contexts());
    let run = sandbox.run(&["init", "--mesh-id", "shop", "--contexts", "/east/"]).expect(0);
    assert!(run.stderr.contains("2 contexts of your kubeconfig"), "{}", run.stderr);
    let text = fs::read_to_string(sandbox.mesh("shop").join("topology.yaml")).unwrap();
    assert!(text.contains("# context-east-2:") && !text.contains("context-west-1"), "{text}");

    let run = refused(&sandbox, &["init", "--mesh-id", "other", "--contexts", "north"]);
    assert_snapshot!(run.told(), @r#"
exit 64
error: `north` matches no context
hint: the contexts are `context-east-1`, `context-east-2`, `context-west-1`
"#);
}

#[test]
fn the_environment_of_the_seed_is_read() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["prep-mesh"]);
    command.env("MESH_ID", "mymeshname").env("ORG_NAME", "Example Ltd");
    command.env("WORKDIR", sandbox.path("home/work dir"));
    let run = sandbox.end(command);
    assert_snapshot!(run.told(), @r#"
exit 0
note: there is no kubeconfig; topology.yaml has an example in place of your contexts
mesh mymeshname in [dir]/home/work dir
  created  certs/root-key.pem   private key of the root CA
  created  certs/root-cert.pem  root CA `O=Example Ltd, CN=Root CA`, until [date]
  created  base.yaml            what istioctl installs in every cluster
  created  topology.yaml        the clusters
keep [dir]/home/work dir/certs/root-key.pem safe and back it up: who has it can join the mesh, and without it no cluster can be added
next: edit [dir]/home/work dir/topology.yaml, then run `kubectl multimesh apply --dir '[dir]/home/work dir'`
"#);
    let text = fs::read_to_string(sandbox.path("home/work dir/topology.yaml")).unwrap();
    assert!(text.contains("\nmesh_id: mymeshname\n"), "{text}");
    assert!(!sandbox.path("home/.config").exists());
}

#[test]
fn a_directory_can_be_given() {
    let sandbox = Sandbox::with(&three_contexts());
    fs::create_dir(sandbox.path("home/shop")).unwrap();
    fs::set_permissions(sandbox.path("home/shop"), fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.run(&["init", "--mesh", "shop", "--dir", "shop"]).expect(0);
    let modes = sandbox.modes(&sandbox.path("home"));
    assert_eq!(modes["shop"], "755", "a folder of the user stays as it is");
    assert_eq!((&*modes["shop/certs"], &*modes["shop/certs/root-key.pem"]), ("700", "600"));

    let again = sandbox.run(&["init", "--dir", "shop"]).expect(0);
    assert!(again.stderr.contains("mesh shop in shop: everything is there"), "{}", again.stderr);
}

#[test]
fn a_topology_kept_elsewhere_is_used_or_written_there() {
    let sandbox = Sandbox::with(&three_contexts());
    let topology = sandbox.write("home/git/shop.yaml", "mesh_id: shop\ncontexts: {}\n");
    let run = sandbox.run(&["init", "-f", "git/shop.yaml"]);
    assert_snapshot!(run.told(), @r#"
exit 0
mesh shop in [dir]/home/.config/multimesh/shop
  created  certs/root-key.pem   private key of the root CA
  created  certs/root-cert.pem  root CA `O=Istio, CN=Root CA`, until [date]
  created  base.yaml            what istioctl installs in every cluster
  kept     git/shop.yaml        the clusters
keep [dir]/home/.config/multimesh/shop/certs/root-key.pem safe and back it up: who has it can join the mesh, and without it no cluster can be added
next: edit git/shop.yaml, then run `kubectl multimesh apply -f git/shop.yaml`
"#);
    assert_eq!(fs::read_to_string(&topology).unwrap(), "mesh_id: shop\ncontexts: {}\n");
    assert!(!sandbox.mesh("shop").join("topology.yaml").exists());

    sandbox.run(&["init", "-f", "git/new.yaml", "--mesh-id", "new"]).expect(0);
    let text = fs::read_to_string(sandbox.path("home/git/new.yaml")).unwrap();
    assert!(text.contains("mesh_id: new\n"), "{text}");
}

#[test]
fn what_the_user_wrote_is_kept_and_what_is_missing_is_made() {
    let sandbox = Sandbox::with(&three_contexts());
    let mesh = sandbox.mesh("shop");
    sandbox.run(&["init", "--mesh-id", "shop"]).expect(0);
    let mine = "mesh_id: shop\ncontexts:\n  context-east-1: {}  # mine\n";
    fs::write(mesh.join("topology.yaml"), mine).unwrap();
    fs::remove_file(mesh.join("base.yaml")).unwrap();
    let key = fs::read_to_string(mesh.join("certs/root-key.pem")).unwrap();

    let run = sandbox.run(&["init", "--mesh-id", "shop"]);
    assert_snapshot!(run.told(), @r#"
exit 0
mesh shop in [dir]/home/.config/multimesh/shop
  kept     certs/root-key.pem   private key of the root CA
  kept     certs/root-cert.pem  root CA `O=Istio, CN=Root CA`, until [date]
  created  base.yaml            what istioctl installs in every cluster
  kept     topology.yaml        the clusters
next: edit [dir]/home/.config/multimesh/shop/topology.yaml, then run `kubectl multimesh apply`
"#);
    assert_eq!(fs::read_to_string(mesh.join("topology.yaml")).unwrap(), mine);
    assert_eq!(fs::read_to_string(mesh.join("certs/root-key.pem")).unwrap(), key);
    assert!(mesh.join("base.yaml").exists());
}

#[test]
fn a_run_that_was_killed_is_completed_by_the_next_one() {
    let sandbox = Sandbox::with(&three_contexts());
    let mesh = sandbox.mesh("shop");
    let certs = mesh.join("certs");
    let complete = |what: &str| {
        let run = sandbox.run(&["init", "--mesh-id", "shop"]).expect(0);
        let modes = sandbox.modes(&mesh);
        let names: Vec<&str> = modes.keys().map(String::as_str).filter(|n| !n.is_empty()).collect();
        let expected = [
            ".lock",
            "base.yaml",
            "certs",
            "certs/root-cert.pem",
            "certs/root-key.pem",
            "topology.yaml",
        ];
        assert_eq!(names, expected, "{what}");
        sandbox.run(&["init", "--mesh-id", "shop"]).expect(0);
        run
    };
    complete("from nothing");
    let certificate = fs::read(certs.join("root-cert.pem")).unwrap();

    // Between the key and its certificate: the certificate waits under another name.
    fs::rename(certs.join("root-cert.pem"), certs.join(".root-cert.pem.new")).unwrap();
    fs::remove_file(mesh.join("base.yaml")).unwrap();
    fs::remove_file(mesh.join("topology.yaml")).unwrap();
    complete("between key and certificate");
    assert_eq!(fs::read(certs.join("root-cert.pem")).unwrap(), certificate, "the same root");

    // Before the key: a new root is made. What was being written is gone.
    fs::rename(certs.join("root-cert.pem"), certs.join(".root-cert.pem.new")).unwrap();
    fs::remove_file(certs.join("root-key.pem")).unwrap();
    fs::write(certs.join(".multimesh-writing-a1"), "half a key").unwrap();
    fs::write(mesh.join(".multimesh-writing-b2"), "half a topology").unwrap();
    fs::create_dir(certs.join(".intermediate-west.new")).unwrap();
    fs::write(certs.join(".intermediate-west.new/ca-key.pem"), "a key").unwrap();
    complete("before the key");
    assert_ne!(fs::read(certs.join("root-cert.pem")).unwrap(), certificate);
}

#[test]
fn runs_at_the_same_time_make_one_mesh() {
    let sandbox = Sandbox::with(&three_contexts());
    let runs: Vec<_> = std::thread::scope(|scope| {
        let start = || scope.spawn(|| sandbox.run(&["init", "--mesh-id", "shop"]));
        let runs: Vec<_> = std::iter::repeat_with(start).take(8).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert!(runs.iter().any(|run| run.code == 0));
    for run in &runs {
        let busy = run.code == 1 && run.stderr.contains("is in use by ");
        assert!(run.code == 0 || busy, "{}", run.stderr);
    }
    let made = runs.iter().filter(|run| run.stderr.contains("created  certs/root-key.pem"));
    assert_eq!(made.count(), 1);
    sandbox.run(&["init", "--mesh-id", "shop"]).expect(0);
}

#[test]
fn without_a_mesh_id_it_says_how_to_give_one() {
    let sandbox = Sandbox::with(&three_contexts());
    assert_snapshot!(refused(&sandbox, &["init"]).told(), @r#"
exit 64
error: a new mesh needs a mesh ID, a name that no other mesh of yours has
hint: give it one: `kubectl multimesh init --mesh-id <mesh id>`, or set MESH_ID
"#);
    assert_snapshot!(refused(&sandbox, &["init", "--dir", "work"]).told(), @r#"
exit 64
error: a new mesh needs a mesh ID, a name that no other mesh of yours has
hint: give it one: `kubectl multimesh init --mesh-id <mesh id> --dir work`, or set MESH_ID
"#);
}

#[test]
fn a_mesh_id_must_be_one_name_of_63_characters() {
    let sandbox = Sandbox::with(&three_contexts());
    assert_snapshot!(refused(&sandbox, &["init", "--mesh-id", "../x"]).told(), @r#"
exit 64
error: `../x` cannot be a mesh ID: only letters, digits, `-`, `_` and `.` are allowed, and it must start and end with a letter or digit
"#);
    assert_snapshot!(refused(&sandbox, &["init", "--mesh-id", &"m".repeat(300)]).told(), @r#"
exit 64
error: `mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm...` cannot be a mesh ID: it has 300 characters, 63 are allowed
"#);
    assert_snapshot!(refused(&sandbox, &["init", "--mesh-id", ""]).told(), @r#"
exit 64
error: invalid value '' for '--mesh <ID>': it is empty; give a value, or unset the environment variable

For more information, try '--help'.
"#);
}

#[test]
fn an_organisation_must_fit_into_a_certificate() {
    let sandbox = Sandbox::with(&three_contexts());
    let long = "o".repeat(65);
    let run = refused(&sandbox, &["init", "--mesh-id", "shop", "--org", &long]).expect(64);
    assert!(run.stderr.contains("it is longer than 64 characters"), "{}", run.stderr);
    refused(&sandbox, &["init", "--mesh-id", "shop", "--org", ""]).expect(64);
}

#[test]
fn a_directory_keeps_its_mesh() {
    let sandbox = Sandbox::with(&three_contexts());
    sandbox.run(&["init", "--mesh-id", "shop", "--dir", "work"]).expect(0);
    let run = refused(&sandbox, &["init", "--mesh-id", "bank", "--dir", "work"]);
    assert_snapshot!(run.told(), @r#"
exit 64
error: work/topology.yaml is the topology of the mesh `shop`, not of `bank`
hint: give `bank` a directory of its own: leave out `--dir` and `-f`, and unset WORKDIR
hint: or, if `shop` is meant: `--mesh-id shop`, and unset MESH_ID
"#);

    // The topology was lost, and the record of an apply is still there.
    fs::remove_file(sandbox.path("home/work/topology.yaml")).unwrap();
    sandbox.write("home/work/state.yaml", "format: 1\nmesh_id: shop\ncontexts: {}\n");
    let run = refused(&sandbox, &["init", "--mesh-id", "bank", "--dir", "work"]);
    assert_snapshot!(run.told(), @r#"
exit 1
error: work/state.yaml belongs to the mesh `shop`, not to `bank`
hint: a mesh ID cannot be changed in place: give each mesh a directory of its own
"#);
}

#[test]
fn a_topology_that_cannot_be_read_stops_it() {
    let sandbox = Sandbox::with(&three_contexts());
    sandbox.write("home/work/topology.yaml", "mesh_id: [shop\n");
    let run = refused(&sandbox, &["init", "--mesh-id", "shop", "--dir", "work"]);
    assert_snapshot!(run.told(), @r#"
exit 1
error: work/topology.yaml:1:10: invalid YAML: unclosed bracket '['
1 | mesh_id: [shop
  |          ^
hint: close the bracket or brace
"#);
}

#[test]
fn a_kubeconfig_that_cannot_be_read_costs_the_proposals_only() {
    let nothing = Sandbox::new();
    assert_snapshot!(nothing.run(&["init", "--mesh-id", "shop"]).told(), @r#"
exit 0
note: there is no kubeconfig; topology.yaml has an example in place of your contexts
mesh shop in [dir]/home/.config/multimesh/shop
  created  certs/root-key.pem   private key of the root CA
  created  certs/root-cert.pem  root CA `O=Istio, CN=Root CA`, until [date]
  created  base.yaml            what istioctl installs in every cluster
  created  topology.yaml        the clusters
keep [dir]/home/.config/multimesh/shop/certs/root-key.pem safe and back it up: who has it can join the mesh, and without it no cluster can be added
next: edit [dir]/home/.config/multimesh/shop/topology.yaml, then run `kubectl multimesh apply`
"#);

    let garbage = Sandbox::new();
    garbage
        .write("home/.kube/config", &format!("users:\n- name: a\n  user: {{token: \"{TOKEN}\"\n"));
    let run = garbage.run(&["init", "--mesh-id", "shop"]).expect(0);
    let note = run.told().lines().nth(1).unwrap().to_owned();
    assert_snapshot!(note, @"note: the kubeconfig [dir]/home/.kube/config, line 3, column 9, is not valid: unclosed bracket; topology.yaml has an example in place of your contexts");
    assert!(!run.output().contains("secret-of-the-kubeconfig"));

    let missing = Sandbox::new();
    let run = missing.run(&["init", "--mesh-id", "shop", "--kubeconfig", "none"]).expect(0);
    let told = run.told();
    assert_snapshot!(told.lines().nth(1).unwrap(), @"note: cannot read the kubeconfig none: no such file or directory; topology.yaml has an example in place of your contexts");
    assert_snapshot!(told.lines().last().unwrap(), @"next: edit [dir]/home/.config/multimesh/shop/topology.yaml, then run `kubectl multimesh apply --kubeconfig none`");

    let empty = Sandbox::with(&Kubeconfig::default());
    let run = empty.run(&["init", "--mesh-id", "shop"]).expect(0);
    assert_snapshot!(run.told().lines().nth(1).unwrap(), @"note: [dir]/home/.kube/config has no contexts; topology.yaml has an example in place of your contexts");
}

#[test]
fn a_root_that_was_there_is_kept_with_a_word_about_it() {
    let sandbox = Sandbox::with(&three_contexts());
    let mesh = sandbox.mesh("shop");
    let key = mesh.join("certs/root-key.pem");
    sandbox.run(&["init", "--mesh-id", "shop"]).expect(0);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let run = sandbox.run(&["init", "--mesh-id", "shop", "--org", "Other"]).expect(0);
    let notes =
        |told: &str| told.lines().filter(|l| l.starts_with("note:")).collect::<Vec<_>>().join("\n");
    assert_snapshot!(notes(&run.told()), @r#"
note: the root CA is kept, `O=Istio, CN=Root CA`: the organisation `Other` is not used
note: [dir]/home/.config/multimesh/shop/certs/root-key.pem can be read by others: `chmod 600 [dir]/home/.config/multimesh/shop/certs/root-key.pem`
"#);

    fs::remove_file(&key).unwrap();
    let run = sandbox.run(&["init", "--mesh-id", "shop"]).expect(0);
    assert_snapshot!(notes(&run.told()), @"note: the root CA has no private key here: put it at [dir]/home/.config/multimesh/shop/certs/root-key.pem when a cluster is to be added or its certificate renewed");
    assert!(!run.stderr.contains("root-key.pem  "), "{}", run.stderr);
}

#[test]
fn a_mesh_that_was_applied_gets_no_second_root() {
    let sandbox = Sandbox::with(&three_contexts());
    let mesh = sandbox.mesh("shop");
    sandbox.run(&["init", "--mesh-id", "shop"]).expect(0);
    let state = format!("format: 1\nmesh_id: shop\nroot: {}\ncontexts: {{}}\n", "ab".repeat(32));
    fs::write(mesh.join("state.yaml"), state).unwrap();
    fs::remove_dir_all(mesh.join("certs")).unwrap();
    assert_snapshot!(refused(&sandbox, &["init", "--mesh-id", "shop"]).told(), @r#"
exit 1
error: the root CA of this mesh is missing from [dir]/home/.config/multimesh/shop/certs
hint: restore root-cert.pem and root-key.pem from your backup
"#);
}

#[test]
fn the_next_command_names_the_mesh_where_there_are_several() {
    let sandbox = Sandbox::with(&three_contexts());
    sandbox.run(&["init", "--mesh-id", "shop"]).expect(0);
    let run = sandbox.run(&["init", "--mesh-id", "bank"]).expect(0);
    assert!(
        run.stderr.ends_with("then run `kubectl multimesh apply --mesh bank`\n"),
        "{}",
        run.stderr
    );
}
