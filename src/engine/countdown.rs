//! Waiting until everybody has done something, or cannot do it.

use tokio::sync::watch;

/// How many have not done it yet, and whether somebody ended without.
pub(super) struct Countdown(watch::Sender<(usize, bool)>);

/// One of them: it ends without having done it when this is dropped.
pub(super) struct Count<'a>(&'a Countdown, bool);

impl Countdown {
    /// A countdown from this number: so often [`Countdown::one`] has to be taken.
    pub(super) fn of(count: usize) -> Self {
        Self(watch::Sender::new((count, false)))
    }

    /// Takes one.
    pub(super) const fn one(&self) -> Count<'_> {
        Count(self, false)
    }

    /// Waits until all have ended; says whether all have done it.
    pub(super) async fn end(&self) -> bool {
        // The sender lives as long as `self`, so that this cannot fail.
        let mut receiver = self.0.subscribe();
        let last = receiver.wait_for(|(left, _)| *left == 0).await;
        last.is_ok_and(|last| !last.1)
    }
}

impl Count<'_> {
    /// It has done it.
    pub(super) fn done(mut self) {
        self.1 = true;
    }
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        let done = self.1;
        self.0.0.send_modify(|(left, failed)| {
            *left = left.saturating_sub(1);
            *failed |= !done;
        });
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn it_ends_when_all_have_ended_and_says_whether_they_did_it() {
        let countdown = Countdown::of(2);
        let (first, second) = (countdown.one(), countdown.one());
        first.done();
        assert_eq!(countdown.end().now_or_never(), None);
        second.done();
        assert_eq!(countdown.end().now_or_never(), Some(true));
        assert_eq!(Countdown::of(0).end().now_or_never(), Some(true));

        let countdown = Countdown::of(1);
        drop(countdown.one());
        assert_eq!(countdown.end().now_or_never(), Some(false));
    }
}
