//! Never the wrong cluster.

mod membership;

use crate::Planes;
use crate::live::versions;

#[test]
fn two_contexts_of_one_cluster_are_refused() {
    let mut planes = Planes::start(1);
    let context = planes.clusters[0].context.clone();
    let text = std::fs::read_to_string(planes.clusters[0].kubeconfig()).unwrap();
    let twin = planes.home().join("twin");
    std::fs::write(&twin, text.replace(&context, "twin")).unwrap();
    let list = format!("{}:{}", planes.clusters[0].kubeconfig().display(), twin.display());
    planes.user.set_kubeconfig(list);
    let topology = format!(
        "mesh_id: m\ncontexts:\n  {context}: {{network: flat}}\n  twin: {{network: flat}}\n"
    );
    planes.write("m", "topology.yaml", &topology);
    planes.apply(&[]).expect(1).says("are the same cluster").says("topology.yaml:4");
    assert!(planes.is_untouched(0));
}

/// Lets the first context lead to another plane.
fn lead_to(planes: &mut Planes, index: usize) {
    let first = planes.clusters[0].context.clone();
    let cluster = &planes.clusters[index];
    let text = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    let moved = planes.home().join("moved");
    std::fs::write(&moved, text.replace(&cluster.context, &first)).unwrap();
    planes.user.set_kubeconfig(moved);
}

fn uid(planes: &Planes, index: usize) -> String {
    planes.kubectl(index, &["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"])
}

fn intermediate(planes: &Planes, index: usize) -> String {
    let data = "jsonpath={.data.ca-cert\\.pem}";
    planes.kubectl(index, &["get", "secret", "cacerts", "-n", "istio-system", "-o", data])
}

#[test]
fn a_context_that_points_elsewhere_now_is_refused_until_that_is_accepted() {
    let mut planes = Planes::start(2);
    planes.describe(&[&planes.clusters[0]]);
    planes.apply(&[]).expect(0);
    let first = planes.clusters[0].context.clone();
    let (then, now) = (uid(&planes, 0), uid(&planes, 1));
    let state = planes.mesh("m").join("state.yaml");
    let pinned = std::fs::read_to_string(&state).unwrap();
    lead_to(&mut planes, 1);

    // Its CA is another one.
    let refused = format!("`{first}` may not be the cluster that it was");
    let accept = |command: &str| format!("`kubectl multimesh {command} --accept-identity {first}`");
    let accept_it =
        |command: &str| format!("`kubectl multimesh {command} --accept-identity {first}={now}`");
    for command in ["apply", "teardown"] {
        let yes: &[&str] = if command == "apply" { &["--wait=false"] } else { &["--yes"] };
        let run = planes.run(&[&[command], yes].concat()).expect(1);
        run.says(&refused)
            .says("nothing was sent to it")
            .says(&format!("UID {then}, CA "))
            .says("UID not asked for, CA ")
            .says(&accept(command));
    }
    planes.run(&["plan"]).expect(1).says(&refused).says(&accept("plan"));
    let status = planes.run(&["status"]).expect(4);
    assert!(status.stdout.contains(&refused), "{}", status.stdout);

    // Its UID is another one, where the CA was not pinned yet.
    let lines = pinned.lines().filter(|l| !l.trim_start().starts_with("ca:") && !l.contains("- "));
    std::fs::write(&state, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let refused = format!("`{first}` is not the cluster that it was");
    let both = format!("UID {then}, CA not recorded; now ");
    planes.apply(&[]).expect(1).says(&refused).says(&both).says(&now).says(&accept_it("apply"));
    planes.run(&["teardown", "--yes"]).expect(1).says(&refused).says(&accept_it("teardown"));
    assert!(planes.is_untouched(1));

    // Who accepts a CA has not seen which cluster it is that answers.
    std::fs::write(&state, &pinned).unwrap();
    for unseen in [first.clone(), format!("{first}={then}")] {
        for command in [&["apply"][..], &["teardown", "--yes"]] {
            let run = planes.run(&[command, &["--accept-identity", &unseen]].concat()).expect(1);
            run.says(&refused).says(&now).says(&accept_it(command[0]));
        }
    }
    assert!(planes.is_untouched(1));

    // Accepted, it is a new cluster.
    planes
        .apply(&["--accept-identity", &format!("{first}={}", &now[..8])])
        .expect(0)
        .says("leads to another cluster than at the last apply, as you accepted")
        .says(&then);
    assert_ne!(intermediate(&planes, 0), intermediate(&planes, 1), "one intermediate a cluster");
    planes.apply(&[]).expect(0).says("nothing to change");
    assert!(std::fs::read_to_string(&state).unwrap().contains(&now));

    // The former one is torn down only if it says itself that it is of this mesh.
    lead_to(&mut planes, 0);
    planes.run(&["teardown", "--yes"]).expect(1).says(&format!("`{first}` may not be"));
    let then = format!("{first}={then}");
    let accepted = ["teardown", "--yes", "--accept-identity", &then];
    let parent = ["configmap", "kubectl-multimesh", "-n", "istio-system"];
    let kept = planes.kubectl(0, &[&["get"], &parent[..], &["-o", "json"]].concat());
    planes.kubectl(0, &[&["delete"], &parent[..]].concat());
    planes.run(&accepted).expect(1).says("nothing there is deleted");
    assert!(!planes.is_untouched(0));
    planes.lab.kubectl(&planes.clusters[0], &["create", "-f", "-"], Some(&kept)).unwrap();
    planes.run(&accepted).expect(0);
    assert!(planes.is_untouched(0) && !planes.is_untouched(1));
}

#[test]
fn a_token_of_the_cluster_that_was_there_is_not_shown_to_the_one_that_is_there_now() {
    let mut planes = Planes::start(3);
    planes.describe(&[&planes.clusters[0], &planes.clusters[1]]);
    planes.apply(&[]).expect(0);
    let first = planes.clusters[0].context.clone();
    let accepted = format!("{first}={}", uid(&planes, 2));
    lead_to(&mut planes, 2);
    let (moved, second) = (planes.home().join("moved"), planes.clusters[1].kubeconfig());
    planes.user.set_kubeconfig(std::env::join_paths([moved, second]).unwrap());
    // It waits for links, which do not come up without nodes.
    let run = planes.run(&["apply", "--accept-identity", &accepted, "--timeout", "5s", "-vv"]);
    let at = |text: &str| run.stderr.find(text);
    let (write, review) = (at("method=PATCH").expect("a write"), at("/tokenreviews"));
    assert!(review.is_none_or(|review| write < review), "{}", run.stderr);
    assert_eq!(planes.links(1).len(), 1);
}

#[test]
fn a_context_that_leads_to_another_member_now_is_told_as_that() {
    let mut planes = Planes::start(2);
    planes.apply(&[]).expect(0);
    // As with one CA, or one proxy, before all clusters.
    let state = planes.mesh("m").join("state.yaml");
    let pinned = std::fs::read_to_string(&state).unwrap();
    let lines = pinned.lines().filter(|l| !l.trim_start().starts_with("ca:") && !l.contains("- "));
    std::fs::write(&state, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let (first, then, now) = (planes.clusters[0].context.clone(), uid(&planes, 0), uid(&planes, 1));
    lead_to(&mut planes, 1);
    let list = [planes.home().join("moved"), planes.clusters[1].kubeconfig()];
    planes.user.set_kubeconfig(std::env::join_paths(list).unwrap());
    let run = planes.apply(&["--yes"]).expect(1);
    let told = format!("`{first}` is not the cluster that it was");
    let run = run.says(&told).says(&then).says(&now);
    assert!(!run.stderr.contains("leave one of the two"), "{}", run.stderr);
    // Who accepts it has one cluster under two names.
    let accept = format!("{first}={now}");
    planes.apply(&["--accept-identity", &accept]).expect(1).says("are the same cluster");
    assert_eq!(planes.links(1).len(), 1);
}

#[test]
fn a_link_is_not_led_to_a_cluster_that_nobody_knows() {
    let planes = Planes::start(2);
    planes.apply(&[]).expect(0);
    // As somebody without a record sees a new cluster under the name of a member.
    for file in ["state.yaml", "state.yaml.bak"] {
        std::fs::remove_file(planes.mesh("m").join(file)).unwrap();
    }
    planes.kubectl(1, &["delete", "configmap", "kubectl-multimesh", "-n", "istio-system"]);
    let (first, second) = (&planes.clusters[0].context, &planes.clusters[1].context);
    let server = "server: 'https://elsewhere.example:6443'";
    let text = format!(
        "mesh_id: m\ncontexts:\n  {first}: {{network: flat}}\n  {second}: {{network: flat, {server}}}\n"
    );
    planes.write("m", "topology.yaml", &text);
    // The API server goes on establishing definitions for a moment.
    let secrets = || {
        let mut versions = versions(&planes.lab, &planes.clusters[0]);
        versions.retain(|name, _| name.starts_with("Secret "));
        versions
    };
    let before = secrets();
    let accept = format!("--accept-identity {second}={}`", uid(&planes, 1));
    planes
        .apply(&[])
        .expect(1)
        .says(&format!("`{second}` may not be the cluster that the others know as"))
        .says(&format!("the link in `{first}` leads to "))
        .says(&accept);
    assert_eq!(secrets(), before);

    // At the address that the others know it is taken for the one.
    planes.describe(&planes.clusters.iter().collect::<Vec<_>>());
    planes.apply(&[]).expect(0);
}

#[test]
fn a_missing_file_in_the_list_of_kubeconfigs_is_no_fault() {
    let mut planes = Planes::start(1);
    let list = format!("/nowhere:{}", planes.clusters[0].kubeconfig().display());
    let before = std::fs::read(planes.clusters[0].kubeconfig()).unwrap();
    planes.user.set_kubeconfig(list);
    planes.apply(&[]).expect(0);
    let after = std::fs::read(planes.clusters[0].kubeconfig()).unwrap();
    assert_eq!(before, after, "a kubeconfig is never written");
}
