use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

use super::*;
use crate::pki::fixtures::{at, seed_certs};
use crate::pki::{issue, renewal_due};

const NOW: &str = "2026-05-01T12:00:00Z";

fn certs() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("mesh/certs"));
    (dir, store)
}

fn root() -> Root {
    issue::root("Example", at(NOW)).unwrap()
}

fn issued(root: &Root) -> Cacerts {
    issue::intermediate(root, "east-1", "istio-system", at(NOW)).unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A copy of the seed's `certs` that may be changed.
fn seed() -> (TempDir, Store) {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &target);
            } else {
                fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    let (dir, store) = certs();
    copy(&seed_certs(), store.dir());
    (dir, store)
}

#[test]
fn an_empty_store_has_nothing_and_stays_empty() {
    let (_dir, store) = certs();
    assert!(store.root().unwrap().is_none());
    assert!(store.intermediate("east-1", "context-east-1").unwrap().is_none());
    assert!(!store.dir().exists(), "reading writes nothing");
}

#[test]
fn a_root_is_kept_and_never_overwritten() {
    let (_dir, store) = certs();
    let first = root();
    store.create_root(&first).unwrap();
    let found = store.root().unwrap().unwrap();
    assert_eq!((found.certificate, found.key), (first.certificate.clone(), first.key.clone()));
    assert_eq!(names(store.dir()), ["root-cert.pem", "root-key.pem"]);

    let error = store.create_root(&root()).unwrap_err();
    assert!(matches!(error, Error::RootExists { .. }), "{error}");
    fs::remove_file(store.dir().join("root-key.pem")).unwrap();
    let error = store.create_root(&root()).unwrap_err();
    assert!(matches!(error, Error::RootExists { .. }), "an offline root: {error}");
    assert_eq!(store.root().unwrap().unwrap().certificate, first.certificate);
}

#[cfg(unix)]
#[test]
fn everything_that_is_written_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    fn check(path: &Path, seen: &mut Vec<String>) {
        let metadata = fs::metadata(path).unwrap();
        let wanted = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(metadata.permissions().mode() & 0o7777, wanted, "{}", path.display());
        seen.push(path.file_name().unwrap().to_string_lossy().into_owned());
        if metadata.is_dir() {
            for name in names(path) {
                check(&path.join(name), seen);
            }
        }
    }
    let (dir, store) = certs();
    let root = root();
    store.create_root(&root).unwrap();
    store.save_intermediate("east-1", "context-east-1", &issued(&root)).unwrap();
    store.save_intermediate("east-1", "context-east-1", &issued(&root)).unwrap();
    let mut seen = Vec::new();
    check(&dir.path().join("mesh"), &mut seen);
    let wanted = [
        "mesh",
        "certs",
        "intermediate-east-1",
        "ca-cert.pem",
        "ca-key.pem",
        "cert-chain.pem",
        "root-cert.pem",
        "root-cert.pem",
        "root-key.pem",
    ];
    assert_eq!(seen, wanted);
}

#[test]
fn an_offline_root_has_no_key() {
    let (_dir, store) = certs();
    store.create_root(&Root { key: None, ..root() }).unwrap();
    assert!(store.root().unwrap().unwrap().key.is_none());
    assert_eq!(names(store.dir()), ["root-cert.pem"]);
}

#[test]
fn a_root_with_something_wrong_says_what_and_where() {
    let (_dir, store) = certs();
    store.create_root(&root()).unwrap();
    let key = store.dir().join("root-key.pem");
    let certificate = store.dir().join("root-cert.pem");
    let whole = fs::read_to_string(&key).unwrap();
    let (key_name, certificate_name) = (key.display(), certificate.display());
    let problem = || store.root().unwrap_err().to_string();

    fs::write(&key, root().key.unwrap().as_str()).unwrap();
    assert_eq!(
        problem(),
        format!(
            "the private key in `{key_name}` does not belong to the certificate in `{certificate_name}`"
        )
    );
    fs::write(&key, "").unwrap();
    assert_eq!(problem(), format!("`{key_name}`: it holds no private key in PEM"));
    fs::write(&key, &whole[..60]).unwrap();
    assert_eq!(problem(), format!("`{key_name}`: the private key is damaged"));
    fs::remove_file(&key).unwrap();
    fs::create_dir(&key).unwrap();
    assert_eq!(problem(), format!("cannot read `{key_name}`: it is a directory"));
    fs::remove_dir(&key).unwrap();

    fs::write(&key, &whole).unwrap();
    fs::write(&certificate, "").unwrap();
    assert_eq!(problem(), format!("`{certificate_name}`: it holds no certificate in PEM"));
    fs::remove_file(&certificate).unwrap();
    let error = store.root().unwrap_err();
    assert!(matches!(&error, Error::RootKeyWithoutCertificate { .. }), "{error}");
    let message =
        format!("`{key_name}` is there but its certificate `{certificate_name}` is missing");
    assert_eq!(error.to_string(), message);
}

#[test]
fn a_root_whose_creation_was_killed_is_whole_or_absent() {
    let root = root();
    // Killed before the key was there: no root, and the next attempt succeeds.
    let (_dir, store) = certs();
    files::write_private(&store.dir().join(PENDING_ROOT_CERT), "an earlier one").unwrap();
    assert!(store.root().unwrap().is_none());
    store.create_root(&root).unwrap();
    assert_eq!(names(store.dir()), ["root-cert.pem", "root-key.pem"]);

    // Killed after that: the root is there, and the next writer puts its certificate in place.
    for finish in [true, false] {
        let (_dir, store) = certs();
        store.create_root(&root).unwrap();
        let (pending, certificate) =
            (store.dir().join(PENDING_ROOT_CERT), store.dir().join("root-cert.pem"));
        fs::rename(&certificate, &pending).unwrap();
        assert_eq!(store.root().unwrap().unwrap().certificate, root.certificate);
        assert!(pending.exists(), "reading writes nothing");
        if finish {
            store.save_intermediate("east-1", "east-1", &issued(&root)).unwrap();
        } else {
            store.create_root(&super::tests::root()).unwrap_err();
        }
        assert!(certificate.exists() && !pending.exists());
        assert_eq!(store.root().unwrap().unwrap().certificate, root.certificate);
    }
}

#[test]
fn an_intermediate_is_kept_and_replaced() {
    let (_dir, store) = certs();
    let root = root();
    let (one, two) = (issued(&root), issued(&root));
    let dir = store.dir().join("intermediate-east-1");
    for cacerts in [&one, &two] {
        assert_eq!(store.save_intermediate("east-1", "context-east-1", cacerts).unwrap(), dir);
        let (found_in, found) = store.intermediate("east-1", "context-east-1").unwrap().unwrap();
        assert_eq!((&found_in, &found), (&dir, cacerts));
        assert_eq!(names(store.dir()), ["intermediate-east-1"]);
    }
    assert!(store.intermediate("east-2", "context-east-2").unwrap().is_none());
}

#[test]
fn an_incomplete_intermediate_names_the_missing_file() {
    let (_dir, store) = certs();
    let dir = store.save_intermediate("east-1", "c", &issued(&root())).unwrap();
    for name in names(&dir) {
        let text = fs::read_to_string(dir.join(&name)).unwrap();
        fs::remove_file(dir.join(&name)).unwrap();
        let error = store.intermediate("east-1", "c").unwrap_err().to_string();
        assert_eq!(error, format!("`{}` is incomplete: `{name}` is missing", dir.display()));
        fs::write(dir.join(&name), text).unwrap();
    }
    store.intermediate("east-1", "c").unwrap().unwrap();
}

#[test]
fn the_directory_of_the_seed_is_found_and_kept() {
    let (_dir, store) = seed();
    let root = store.root().unwrap().unwrap();
    assert!(root.key.is_some());
    let dir = store.dir().join("intermediate-context-east-1");
    let (found_in, old) = store.intermediate("east-1", "context-east-1").unwrap().unwrap();
    assert_eq!(found_in, dir);
    old.verify(&root.certificate, at("2020-06-01T00:00:00Z")).unwrap();
    let error = old.verify(&root.certificate, at(NOW)).unwrap_err();
    assert!(matches!(error, Error::Expired { .. }), "{error}");
    assert!(renewal_due(&old.certificate().unwrap(), at(NOW)));

    let new = issued(&root);
    assert_eq!(store.save_intermediate("east-1", "context-east-1", &new).unwrap(), dir);
    assert_eq!(
        store.intermediate("east-1", "context-east-1").unwrap().unwrap(),
        (dir.clone(), new)
    );
    let all = [
        "ca-cert.pem",
        "ca-key.pem",
        "cert-chain.pem",
        "cluster-ca.csr",
        "intermediate.conf",
        "root-cert.pem",
    ];
    assert_eq!(names(&dir), all, "what the user has beside the four files stays");
    assert!(!names(store.dir()).iter().any(|name| name.starts_with('.')));
}

#[test]
fn no_name_leads_out_of_the_directory() {
    let (dir, store) = certs();
    let cacerts = issued(&root());
    let outside = dir.path().join("mesh/outside");
    store.save_intermediate("east-1", "c", &cacerts).unwrap();
    fs::rename(store.dir().join("intermediate-east-1"), &outside).unwrap();
    fs::create_dir(store.dir().join("intermediate-x")).unwrap();

    let long = "x".repeat(300);
    let arn = "arn:aws:eks:eu-west-1:1:cluster/shop";
    for context in ["x/../../outside", "x/../../../mesh/outside", "..", "", "a\0b", arn, &long] {
        assert!(store.intermediate("shop", context).unwrap().is_none(), "{context}");
        let saved = store.save_intermediate("shop", context, &cacerts).unwrap();
        assert_eq!(saved, store.dir().join("intermediate-shop"), "{context}");
        fs::remove_dir_all(saved).unwrap();
    }
    for cluster in ["", "..", "a/b", "x/../../outside", "A", &"a".repeat(64)] {
        let error = store.intermediate(cluster, "c").unwrap_err();
        assert!(matches!(error, Error::Label { .. }), "{cluster}: {error}");
        let error = store.save_intermediate(cluster, "c", &cacerts).unwrap_err();
        assert!(matches!(error, Error::Label { .. }), "{cluster}: {error}");
    }
}

#[test]
fn a_save_killed_at_any_step_loses_nothing() {
    let root = root();
    let (old, new, next) = (issued(&root), issued(&root), issued(&root));
    let fill = |dir: &Path, cacerts: &Cacerts, count| {
        for (name, content) in cacerts.entries().into_iter().take(count) {
            files::write_private(&dir.join(name), content).unwrap();
        }
    };
    // Which directories a kill leaves (live, former, fresh), and what is read then.
    let steps: [(Option<&Cacerts>, Option<&Cacerts>, usize, &Cacerts); 5] = [
        (Some(&old), None, 0, &old),
        (Some(&old), None, 2, &old),
        (Some(&old), None, 4, &old),
        (None, Some(&old), 4, &old),
        (Some(&new), Some(&old), 0, &new),
    ];
    let undone = steps.into_iter().enumerate();
    // What comes next: that cluster's CA is replaced, another one's is, or none.
    for ((step, (live, former, fresh, readable)), after) in
        undone.flat_map(|step| ["east-1", "west-1", ""].map(|after| (step, after)))
    {
        let (_dir, store) = certs();
        let dir = store.dir().to_owned();
        if let Some(live) = live {
            fill(&dir.join("intermediate-east-1"), live, 4);
        }
        if let Some(former) = former {
            fill(&dir.join(".intermediate-east-1.old"), former, 4);
            fs::write(dir.join(".intermediate-east-1.old/notes"), "mine").unwrap();
        }
        fill(&dir.join(".intermediate-east-1.new"), &new, fresh);

        let before = names(&dir);
        let (_, found) = store.intermediate("east-1", "c").unwrap().unwrap();
        assert_eq!(&found, readable, "step {step}");
        assert_eq!(names(&dir), before, "step {step}: reading writes nothing");

        let mut left = vec!["intermediate-east-1"];
        let mut expected = readable;
        match after {
            "" => store.settle().unwrap(),
            cluster => drop(store.save_intermediate(cluster, "c", &next).unwrap()),
        }
        match after {
            "east-1" => expected = &next,
            "west-1" => left.push("intermediate-west-1"),
            _ => {}
        }
        assert_eq!(&store.intermediate("east-1", "c").unwrap().unwrap().1, expected, "step {step}");
        assert_eq!(names(&dir), left, "step {step}");
        assert_eq!(dir.join("intermediate-east-1/notes").exists(), former.is_some());
    }
}

#[cfg(unix)]
#[test]
fn a_linked_directory_is_replaced_and_its_target_left_alone() {
    let (dir, store) = certs();
    let root = root();
    let (old, new) = (issued(&root), issued(&root));
    let elsewhere = dir.path().join("elsewhere");
    let live = store.save_intermediate("east-1", "c", &old).unwrap();
    fs::rename(&live, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &live).unwrap();
    assert_eq!(store.intermediate("east-1", "c").unwrap().unwrap().1, old);
    store.save_intermediate("east-1", "c", &new).unwrap();
    assert_eq!(store.intermediate("east-1", "c").unwrap().unwrap().1, new);
    assert_eq!(names(&elsewhere).len(), 4);
    assert_eq!(names(store.dir()), ["intermediate-east-1"]);
}

#[test]
fn a_reader_beside_a_writer_never_sees_a_mixture() {
    let (_dir, store) = certs();
    let root = root();
    let generations = [issued(&root), issued(&root)];
    store.save_intermediate("east-1", "c", &generations[0]).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut changes = 0;
            let mut last = None;
            while !done.load(Ordering::Relaxed) {
                let (_, found) = store.intermediate("east-1", "c").unwrap().unwrap();
                let which = generations.iter().position(|known| *known == found);
                assert!(which.is_some(), "a mixture of two generations");
                changes += usize::from(which != last);
                last = which;
            }
            changes
        });
        for turn in 0..100 {
            store.save_intermediate("east-1", "c", &generations[turn % 2]).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 1, "the reader saw the writer at work");
    });
}

const KILLED_WRITER: &str = "MULTIMESH_TEST_KILLED_WRITER";

/// What the process does that [`a_killed_writer_leaves_a_key_with_its_certificate`] kills.
fn write_until_killed(dir: OsString) {
    let store = Store::open(dir);
    let root = store.root().unwrap().unwrap();
    let generations = [issued(&root), issued(&root)];
    for turn in 0.. {
        store.save_intermediate("east-1", "c", &generations[turn % 2]).unwrap();
        println!("saved");
    }
}

#[test]
fn a_killed_writer_leaves_a_key_with_its_certificate() {
    // The test starts itself as the writer.
    if let Some(dir) = std::env::var_os(KILLED_WRITER) {
        return write_until_killed(dir);
    }
    let (_dir, store) = certs();
    let root = root();
    store.create_root(&root).unwrap();
    let check = || {
        let (_, cacerts) = store.intermediate("east-1", "c").unwrap().unwrap();
        cacerts.verify(&root.certificate, at(NOW)).unwrap();
    };
    for round in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("pki::store::tests::a_killed_writer_leaves_a_key_with_its_certificate")
            .env(KILLED_WRITER, store.dir())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Kept open until the end: the writer would stop by itself when nobody listens.
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let saved = output
            .by_ref()
            .map_while(Result::ok)
            .filter(|line| line.ends_with("saved"))
            .take(1 + round)
            .count();
        // Readers get on while it writes; how many do is what moves the moment of the kill.
        for _ in 0..round * 3 {
            check();
        }
        child.kill().unwrap();
        let status = child.wait().unwrap();
        #[cfg(unix)]
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{status}");
        assert_eq!(saved, 1 + round);
        check();
    }
    store.save_intermediate("east-1", "c", &issued(&root)).unwrap();
    check();
    assert_eq!(names(store.dir()), ["intermediate-east-1", "root-cert.pem", "root-key.pem"]);
}
