//! Folders that `render` made, applied by plain kubectl as their README.md says.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;

use serde_json::Value;

use crate::Planes;
use crate::live::{eventually, inventory};

/// What differs between two clusters that hold the same: the books of the API server, and tokens.
const BOOKS: [&str; 5] =
    ["resourceVersion", "managedFields", "generation", "uid", "creationTimestamp"];

struct Folder<'a> {
    planes: &'a Planes,
    dir: tempfile::TempDir,
}

impl Folder<'_> {
    fn path(&self) -> &str {
        self.dir.path().to_str().unwrap()
    }

    fn of(&self, index: usize) -> PathBuf {
        self.dir.path().join(&self.planes.clusters[index].context)
    }

    /// Applies a part of a cluster's folder.
    fn apply(&self, index: usize, how: &str, part: &str) {
        let part = self.of(index).join(part);
        let part = part.to_str().unwrap();
        self.planes.kubectl(index, &["apply", "--server-side", how, part]);
    }
}

/// The members of the apply set as somebody wants them.
fn members(planes: &Planes, index: usize) -> BTreeMap<String, Value> {
    let all = inventory(&planes.lab, &planes.clusters[index]).into_iter();
    let ours = all.filter(|(_, object)| {
        let labels = object["metadata"]["labels"].as_object();
        labels.is_some_and(|labels| labels.keys().any(|key| key.starts_with("applyset.")))
    });
    // The mark of a namespace is an apply's alone; the others are copies of a Service's labels.
    let others = ["Namespace ", "Endpoints ", "EndpointSlice "];
    ours.filter(|(name, _)| !others.iter().any(|kind| name.starts_with(kind)))
        .map(|(name, mut object)| {
            object.as_object_mut().unwrap().remove("status");
            let metadata = object["metadata"].as_object_mut().unwrap();
            metadata.retain(|key, _| !BOOKS.contains(&key.as_str()));
            if name.starts_with("Secret ") && !name.ends_with(" cacerts") {
                object.as_object_mut().unwrap().remove("data");
                object["metadata"]["annotations"] = Value::Null;
            }
            if name.starts_with("Service ") {
                // Kubernetes gives addresses and ports as they come.
                let spec = object["spec"].as_object_mut().unwrap();
                spec.retain(|key, _| !key.starts_with("clusterIP"));
                for port in spec["ports"].as_array_mut().into_iter().flatten() {
                    port["nodePort"] = Value::Null;
                }
            }
            for hook in object["webhooks"].as_array_mut().into_iter().flatten() {
                hook["failurePolicy"] = Value::Null;
            }
            (name, object)
        })
        .collect()
}

/// The files below a folder that are nobody's secret.
fn shared(dir: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.strip_prefix(dir).unwrap().display().to_string();
                files.insert(name, fs::read_to_string(path).unwrap());
            } else if !path.ends_with("secrets") {
                folders.push(path);
            }
        }
    }
    files
}

#[test]
fn what_kubectl_applies_is_what_an_apply_would_make() {
    let planes = Planes::start(2);
    let [east, west] = [&planes.clusters[0].context, &planes.clusters[1].context];
    let topology = format!(
        "mesh_id: m\ncontexts:\n  {east}: {{network: network-east}}\n  {west}: {{network: network-west}}\n"
    );
    planes.run(&["init", "--mesh-id", "m"]).expect(0);
    planes.write("m", "topology.yaml", &topology);
    let folder = Folder { planes: &planes, dir: tempfile::tempdir().unwrap() };
    let render = ["render", "--secrets", "--out", folder.path()];
    planes.run(&render).expect(3).says("no links to").says(east).says("again");
    assert!(planes.is_untouched(0) && planes.is_untouched(1));

    let install = &|index: usize| {
        folder.apply(index, "-f", "control-plane/namespace.yaml");
        folder.apply(index, "-k", "secrets");
        folder.apply(index, "-k", "control-plane");
        // A kind is served a moment after its definition was written.
        let wait = ["wait", "--for=condition=Established", "--timeout=60s"];
        planes.kubectl(index, &[&wait[..], &["crd/gateways.networking.istio.io"]].concat());
        folder.apply(index, "-k", "gateways");
    };
    thread::scope(|scope| [0, 1].map(|index| scope.spawn(move || install(index))).map(drop));
    eventually("a token in each cluster", || planes.run(&render).code == 0);
    let links = planes.run(&[&render[..], &["-vvv"]].concat()).expect(0).says("none changed");
    for index in 0..2 {
        let secrets = folder.of(index).join("secrets");
        assert_eq!(secrets.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        let mut count = 0;
        for entry in fs::read_dir(&secrets).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{path:?}");
            let text = fs::read_to_string(&path).unwrap();
            let data = text.split("\ndata:\n").nth(1).unwrap_or_default();
            let values = data.lines().filter_map(|line| line.split(": ").nth(1));
            for value in values.filter(|value| value.len() > 100) {
                assert!(!links.stderr.contains(value), "a secret was printed");
                count += 1;
            }
        }
        assert_eq!(count, 4 + 1, "the entries of cacerts, and one link");
        folder.apply(index, "-k", "secrets");
    }
    planes.run(&["plan", "--detailed-exitcode"]).expect(0);
    planes.apply(&[]).expect(0).says("nothing to change in 2 clusters");

    // An apply that would change what git feeds is told who manages it.
    let base = &crate::base();
    planes.write("m", "base.yaml", &base.replace("/dev/stdout", "/dev/stderr"));
    planes.apply(&[]).expect(1).says("kubectl").says("--force-conflicts");
    planes.write("m", "base.yaml", base);

    // What istiod does when it starts is neither undone nor in the way.
    let hook = "validatingwebhookconfiguration/istio-validator-istio-system";
    let policy = r#"[{"op":"replace","path":"/webhooks/0/failurePolicy","value":"Fail"},
        {"op":"add","path":"/webhooks/0/clientConfig/caBundle","value":"Cg=="}]"#;
    let patch = ["patch", hook, "--type=json", "--field-manager=pilot-discovery", "-p", policy];
    planes.kubectl(0, &patch);
    folder.apply(0, "-f", "control-plane/istiod.yaml");
    let fields = "jsonpath={.webhooks[0].failurePolicy} {.webhooks[0].clientConfig.caBundle}";
    assert_eq!(planes.kubectl(0, &["get", hook, "-o", fields]), "Fail Cg==");

    // Without a kubeconfig the same is rendered, but for the secrets.
    let offline = tempfile::tempdir().unwrap();
    let mut command = planes.command(&["render", "--out", offline.path().to_str().unwrap()]);
    command.env("KUBECONFIG", "/nonexistent");
    assert!(command.status().unwrap().success());
    assert_eq!(shared(offline.path()), shared(folder.dir.path()));

    planes.kubectl(
        0,
        &[
            "patch",
            hook,
            "--type=json",
            "-p",
            r#"[{"op":"remove","path":"/webhooks/0/clientConfig/caBundle"}]"#,
        ],
    );
    let rendered = [members(&planes, 0), members(&planes, 1)];
    planes.run(&["teardown", "--yes"]).expect(0);
    assert!(planes.is_untouched(0) && planes.is_untouched(1));
    let namespace = planes.kubectl(0, &["get", "namespace", "istio-system", "-o", "name"]);
    assert!(namespace.contains("istio-system"), "it is git's");

    planes.apply(&[]).expect(0);
    for (index, rendered) in rendered.iter().enumerate() {
        let applied = members(&planes, index);
        let names = |of: &BTreeMap<String, Value>| of.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(rendered), names(&applied));
        for (name, object) in rendered {
            assert!(object == &applied[name], "{name} differs");
        }
    }
    // And the other way round: what an apply made is handed over to kubectl.
    for (how, part) in [
        ("-f", "control-plane/namespace.yaml"),
        ("-f", "control-plane/istiod.yaml"),
        ("-k", "gateways"),
    ] {
        let part = folder.of(0).join(part);
        let part = part.to_str().unwrap();
        planes.kubectl(0, &["apply", "--server-side", "--force-conflicts", how, part]);
    }
    planes.apply(&[]).expect(0).says("nothing to change in 2 clusters");
}
