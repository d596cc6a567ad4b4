//! Waiting until everybody has done something, or cannot do it.

use tokio::sync::watch;

/// What is still to be done, by so many.
pub(super) struct Countdown(watch::Sender<usize>);

/// One of them: it has done it, or ended otherwise, when this is dropped.
pub(super) struct Count<'a>(&'a Countdown);

impl Countdown {
    /// A countdown from this number: so often [`Countdown::one`] has to be taken and dropped.
    pub(super) fn of(count: usize) -> Self {
        Self(watch::Sender::new(count))
    }

    /// Takes one.
    pub(super) const fn one(&self) -> Count<'_> {
        Count(self)
    }

    /// Waits until nothing is left to be done.
    pub(super) async fn end(&self) {
        // The sender lives as long as `self`, so that this cannot fail.
        let _ = self.0.subscribe().wait_for(|left| *left == 0).await;
    }
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|left| *left = left.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn it_ends_when_all_have_ended() {
        let countdown = Countdown::of(2);
        let (first, second) = (countdown.one(), countdown.one());
        drop(first);
        assert!(countdown.end().now_or_never().is_none());
        drop(second);
        assert!(countdown.end().now_or_never().is_some());
        assert!(Countdown::of(0).end().now_or_never().is_some());
    }
}
