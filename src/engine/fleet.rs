//! Many clusters at once, some at a time.

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
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
