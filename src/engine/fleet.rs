//! Many clusters at once, some at a time.

use std::num::NonZero;
use std::panic::resume_unwind;

use futures::StreamExt as _;
use futures::stream;

/// How many requests of one kind to one API server are under way at once.
pub(super) const REQUESTS: usize = 8;

/// Runs the futures, at most `limit` of them at once; results come in the order of the input.
pub(super) async fn all<T>(
    limit: usize,
    futures: impl IntoIterator<Item = impl Future<Output = T>>,
) -> Vec<T> {
    stream::iter(futures).buffered(limit.max(1)).collect().await
}

/// Like [`all`], for futures that can fail: the first failure (in the order of the input) ends it.
pub(super) async fn try_all<T, E>(
    limit: usize,
    futures: impl IntoIterator<Item = impl Future<Output = Result<T, E>>>,
) -> Result<Vec<T>, E> {
    use futures::TryStreamExt as _;
    stream::iter(futures).buffered(limit.max(1)).try_collect().await
}

/// Runs what keeps a processor busy, such as reading a whole manifest, beside what waits for answers.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => resume_unwind(error.into_panic()),
    }
}

/// Runs what keeps a processor busy for each of the items, on all processors; results come in the order
/// of the input.
pub(super) fn spread<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let each = items.len().div_ceil(threads).max(1);
    let mut items = items.into_iter();
    let work = &work;
    std::thread::scope(|scope| {
        let shares = std::iter::from_fn(|| Some(items.by_ref().take(each).collect::<Vec<T>>()));
        let shares = shares.take_while(|share| !share.is_empty());
        let runs =
            shares.map(|share| scope.spawn(|| share.into_iter().map(work).collect::<Vec<R>>()));
        let runs: Vec<_> = runs.collect();
        let done = runs.into_iter().map(|run| run.join().unwrap_or_else(|p| resume_unwind(p)));
        done.flatten().collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_all_processors_come_in_order() {
        for count in [0, 1, 2, 3, 100] {
            let doubled: Vec<u32> = (0..count).map(|number| number * 2).collect();
            assert_eq!(spread((0..count).collect(), |number: u32| number * 2), doubled);
        }
    }
}
