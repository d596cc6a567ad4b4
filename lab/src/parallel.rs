//! Does something for several clusters at a time, and reports as it goes.

use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};
use std::thread;

use crate::error::{Error, Result};

/// Calls `work` for every item, `width` of them at a time, and hands on the lines that it sends.
pub(crate) fn each<T: Sync>(
    items: &[T],
    width: usize,
    progress: &mut dyn FnMut(&str),
    work: impl Fn(&T, &Sender<String>) -> Result<()> + Sync,
) -> Result<()> {
    let queue = Mutex::new(items.iter());
    let (sender, lines) = mpsc::channel();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..width.min(items.len()))
            .map(|_| {
                let (sender, queue, work) = (sender.clone(), &queue, &work);
                scope.spawn(move || {
                    loop {
                        let Some(item) = queue.lock().ok().and_then(|mut it| it.next()) else {
                            return Ok(());
                        };
                        work(item, &sender)?;
                    }
                })
            })
            .collect();
        drop(sender);
        for line in lines {
            progress(&line);
        }
        threads
            .into_iter()
            .try_for_each(|thread| joined(thread.join()))
    })
}

/// Does two things at the same time.
pub(crate) fn both(
    one: impl FnOnce() -> Result<()> + Send,
    other: impl FnOnce() -> Result<()>,
) -> Result<()> {
    thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        joined(one.join()).and(other)
    })
}

fn joined(result: thread::Result<Result<()>>) -> Result<()> {
    result.unwrap_or_else(|_| Err(Error::Refused("a thread of the lab broke off".into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_done_and_the_first_failure_told() {
        let mut lines = Vec::new();
        let items = [1, 2, 3, 4, 5];
        let result = each(
            &items,
            2,
            &mut |line| lines.push(line.to_owned()),
            |item, sender| {
                let _ = sender.send(format!("{item}"));
                Ok(())
            },
        );
        assert!(result.is_ok());
        lines.sort();
        assert_eq!(lines.concat(), "12345");

        let failure = each(&items, 2, &mut |_| {}, |item, _| match item {
            3 => Err(Error::Refused("three".into())),
            _ => Ok(()),
        });
        assert_eq!(failure.expect_err("a failure").to_string(), "three");
    }
}
