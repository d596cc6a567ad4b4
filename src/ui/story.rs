//! A run as lines of a log: short enough to be read as a story, whatever the number of clusters.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::list::{NAMED, first};
use super::{Tone, count, one_line};
use crate::engine::event::Event;
use crate::error::beside;

/// When what is missing is told again for the first time. From then on each time is twice as late as
/// the one before, so that an hour of waiting is ten lines.
const FIRST: Duration = Duration::from_secs(10);

/// What was told of a run. Clusters go through the same steps side by side, so a step is told when the
/// first cluster gets there; how each cluster ends has a line of its own.
#[derive(Default)]
pub(super) struct Story {
    width: usize,
    steps: BTreeSet<String>,
    /// What each cluster waits for.
    missing: BTreeMap<String, String>,
    next: Option<Duration>,
}

impl Story {
    /// The lines that an event adds, `elapsed` after the run began; none for what needs no telling.
    pub(super) fn tell(&mut self, elapsed: Duration, event: &Event) -> Vec<String> {
        let stamp = format!("[{:5.1}s]", elapsed.as_secs_f32());
        match event {
            Event::Started { contexts } => {
                self.width = contexts.iter().map(String::len).max().unwrap_or(0);
                self.steps.clear();
                self.missing.clear();
                Vec::new()
            }
            Event::Step { context, what } => {
                self.missing.remove(context);
                let new = self.steps.insert(what.clone());
                new.then(|| format!("{stamp} {what}")).into_iter().collect()
            }
            Event::Waiting { context, what } => {
                let line = |text: &str| format!("{stamp} {}", Tone::Warning.paint(&one_line(text)));
                let known = self.missing.values().any(|it| it == what);
                let first = self.missing.insert(context.clone(), what.clone()).is_none();
                if first && !known {
                    // It may be told only once. Others that wait for the same are named with it later.
                    return vec![line(&format!("still waiting: {context}: {what}"))];
                }
                if elapsed < *self.next.get_or_insert(FIRST) {
                    return Vec::new();
                }
                self.next = Some(elapsed * 2);
                self.waits().iter().map(|text| line(text)).collect()
            }
            Event::Note { .. } => Vec::new(),
            Event::Finished { context, what } => vec![self.end(&stamp, context, what, Tone::Good)],
            Event::Failed { context, failure } => {
                vec![self.end(&stamp, context, beside(&failure.message, context), Tone::Bad)]
            }
        }
    }

    fn end(&mut self, stamp: &str, context: &str, text: &str, tone: Tone) -> String {
        self.missing.remove(context);
        let text = tone.paint(&one_line(text));
        format!("{stamp} {context:width$}  {text}", width = self.width)
    }

    /// What is waited for; clusters that wait for the same thing are told together.
    fn waits(&self) -> Vec<String> {
        let mut waits: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (context, what) in &self.missing {
            waits.entry(what).or_default().push(context.clone());
        }
        let wait = |(what, contexts): (&str, Vec<String>)| {
            let clusters = match contexts.len() {
                1 => contexts.concat(),
                n => format!("{} ({})", count(n, "cluster"), first(contexts, NAMED).join(" ")),
            };
            format!("still waiting: {clusters}: {what}")
        };
        waits.into_iter().map(wait).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Failure;

    fn step(context: &str, what: &str) -> Event {
        Event::Step { context: context.into(), what: what.into() }
    }

    fn waiting(context: &str, what: &str) -> Event {
        Event::Waiting { context: context.into(), what: what.into() }
    }

    fn told(story: &mut Story, events: impl IntoIterator<Item = (f32, Event)>) -> String {
        let tell = |(seconds, event)| story.tell(Duration::from_secs_f32(seconds), &event);
        let lines: Vec<String> = events.into_iter().flat_map(tell).collect();
        anstream::adapter::strip_str(&lines.join("\n")).to_string()
    }

    #[test]
    fn a_step_is_told_once_and_each_end_for_itself() {
        let contexts = vec!["east".to_owned(), "west-1".to_owned()];
        let failure = Failure::new("`west-1`: no answer");
        let events = [
            (0.0, Event::Started { contexts }),
            (0.1, step("east", "reading")),
            (0.1, step("west-1", "reading")),
            (1.0, step("east", "installing")),
            (2.0, Event::Finished { context: "east".into(), what: "2 created".into() }),
            (3.0, Event::Failed { context: "west-1".into(), failure }),
        ];
        assert_eq!(
            told(&mut Story::default(), events),
            "[  0.1s] reading\n\
             [  1.0s] installing\n\
             [  2.0s] east    2 created\n\
             [  3.0s] west-1  no answer"
        );
    }

    #[test]
    fn what_is_missing_is_told_ever_more_rarely_and_by_what_it_is() {
        let mut story = Story::default();
        let ask = |seconds| {
            ["a", "b", "c"].map(|context| {
                let what = if context == "c" { "an address" } else { "istiod" };
                (seconds, waiting(context, what))
            })
        };
        assert_eq!(
            told(&mut story, ask(5.0)),
            "[  5.0s] still waiting: a: istiod\n\
             [  5.0s] still waiting: c: an address"
        );
        assert_eq!(told(&mut story, ask(9.0)), "");
        assert_eq!(
            told(&mut story, ask(11.0)),
            "[ 11.0s] still waiting: c: an address\n\
             [ 11.0s] still waiting: 2 clusters (a, b): istiod"
        );
        assert_eq!(told(&mut story, ask(16.0)), "");
        let _ = story.tell(Duration::from_secs(17), &step("c", "going on"));
        assert_eq!(
            told(&mut story, [(23.0, waiting("a", "istiod"))]),
            "[ 23.0s] still waiting: 2 clusters (a, b): istiod"
        );
        let lines: usize = (24..3600)
            .map(|second| story.tell(Duration::from_secs(second), &waiting("a", "istiod")).len())
            .sum();
        assert!(lines <= 8, "an hour of waiting: {lines} lines");
    }

    #[test]
    fn slow_clusters_are_a_story_of_thirty_lines_too() {
        let contexts = ["a", "b", "c"];
        let stages = ["istiod", "a webhook", "a gateway", "an address"];
        let mut events =
            vec![(0.0, Event::Started { contexts: contexts.map(String::from).into() })];
        let mut second = 0_u16;
        for stage in stages {
            events.extend(contexts.map(|it| (f32::from(second), step(it, stage))));
            // Each tells at another moment, and how much is there changes.
            for _ in 0..60 {
                second += 1;
                let missing = format!("{stage}: 0 of 1 ready");
                events.extend(contexts.map(|it| (f32::from(second), waiting(it, &missing))));
            }
        }
        let end = |it: &str| Event::Finished { context: it.into(), what: "45 created".into() };
        events.extend(contexts.map(|it| (f32::from(second), end(it))));
        let told = told(&mut Story::default(), events);
        // The last screen has eight lines at most.
        assert!((10..=22).contains(&told.lines().count()), "{told}");
    }

    #[test]
    fn a_cluster_that_goes_on_is_not_waited_for() {
        let mut story = Story::default();
        let end = Event::Finished { context: "b".into(), what: "done".into() };
        let events = [(1.0, waiting("a", "x")), (1.0, waiting("b", "x")), (2.0, end)];
        told(&mut story, events);
        assert_eq!(told(&mut story, [(12.0, waiting("a", "x"))]), "[ 12.0s] still waiting: a: x");
    }
}
