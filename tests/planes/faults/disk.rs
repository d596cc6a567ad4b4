//! A full disk under the mesh directory: told, nothing torn, and the next run finishes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::directory::{lost_files, torn, unfinished};
use super::front::Fronted;
use super::ledger::{Book, Entry, at_length};

/// The smallest piece of such a file system.
const PAGE: usize = 4096;
const PAGES: usize = 1024;

/// A small file system, which goes with the value.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        let size = format!("size={}", PAGE * PAGES);
        let mut mount = Command::new("mount");
        let status =
            mount.args(["--no-mtab", "-t", "tmpfs", "-o", &size, "small"]).arg(at).status();
        assert!(status.unwrap().success(), "a small file system");
        Self(at.to_owned())
    }

    /// Leaves so many pages free.
    fn fill(&self, free: usize) {
        let filler = self.0.join("filler");
        let _ = fs::remove_file(&filler);
        // It ends where there is no more room.
        let _ = fs::write(&filler, vec![b'x'; PAGE * PAGES]);
        let length = fs::metadata(&filler).unwrap().len();
        let file = fs::File::options().write(true).open(&filler).unwrap();
        file.set_len(length.saturating_sub((PAGE * free) as u64)).unwrap();
    }

    fn empty(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--lazy", "--no-mtab"]).arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_told_and_nothing_is_torn() {
    let fronted = Fronted::start(1);
    let dir = fronted.mesh("m");
    let small = Small::mount(&dir);
    fronted.describe(&[0]);
    fronted.write("m", "base.yaml", &crate::base());
    let mut entry = Entry::default();
    // Root, intermediate and record take a page a file, and directories none.
    let rooms: Vec<usize> = if at_length() { (0..12).collect() } else { vec![0, 2, 5] };
    let mut ended = Vec::new();
    for &free in &rooms {
        small.fill(free);
        let run = fronted.apply(&[]);
        let mut lost = [unfinished(&dir), torn(&dir)].concat();
        if run.code != 0 {
            for text in ["no space is left on the device", "hint: make room: `df -h"] {
                if run.code != 1 || !run.stderr.contains(text) {
                    lost.push(format!("{text:?} is not told in {}: {}", run.code, run.stderr));
                }
            }
            if !fronted.is_untouched(0) {
                lost.push("something was written to the cluster".into());
            }
        }
        small.empty();
        ended.push(run.code == 0);
        if at_length() || rooms.last() == Some(&free) {
            let next = fronted.apply(&[]);
            lost.extend(lost_files(&fronted, &[0]));
            if next.code != 0 {
                lost.push(format!("the next apply ended with {}: {}", next.code, next.stderr));
            }
            // One that had room enough met no fault.
            for _ in ended.drain(..).filter(|finished| !finished) {
                entry.add(Entry::of(1, false, next.code == 0, Vec::new()));
            }
            fronted.run(&["teardown", "--yes"]).expect(0);
            for made in ["certs", "cache"] {
                fs::remove_dir_all(dir.join(made)).unwrap();
            }
        }
        entry.lost.extend(lost.into_iter().map(|lost| format!("{free} pages free: {lost}")));
    }
    if entry.finished == entry.injected {
        entry.lost.push("no run had too little room".into());
    }
    let mut book = Book::new("apply");
    book.add("full disk", entry);
    book.close();
}
