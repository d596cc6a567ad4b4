//! The view of a run: a line a cluster at a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::story::Story;
use super::table::last_columns;
use super::{Tone, Ui, one_line};
use crate::engine::event::{Event, Sink};
use crate::error::beside;

/// Columns that a name takes on a line that changes; what goes on needs the others.
const NAME: usize = 30;

/// Shows events as they come.
pub struct Progress {
    ui: Ui,
    started: Instant,
    view: Mutex<View>,
}

enum View {
    Live(Live),
    Plain(Story),
}

/// A line a cluster, which changes in place.
struct Live {
    ui: Ui,
    bars: MultiProgress,
    lines: BTreeMap<String, ProgressBar>,
    width: usize,
}

impl Progress {
    /// A view that fits the terminal.
    pub fn new(ui: Ui) -> Arc<Self> {
        let view =
            if ui.live() { View::Live(Live::new(ui)) } else { View::Plain(Story::default()) };
        Arc::new(Self { ui, started: Instant::now(), view: Mutex::new(view) })
    }

    /// Leaves what was shown in place and ends the redrawing.
    pub fn finish(&self) {
        if let View::Live(live) = &*self.view() {
            for line in live.lines.values().filter(|line| !line.is_finished()) {
                line.abandon();
            }
        }
    }

    /// How long ago the view began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run that fails leaves its lines in place too.
impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Sink for Progress {
    fn emit(&self, event: Event) {
        match (&mut *self.view(), &event) {
            (View::Live(live), Event::Note { text }) => live.bars.suspend(|| self.ui.note(text)),
            (View::Plain(_), Event::Note { text }) => self.ui.note(text),
            (View::Live(live), event) => live.tell(event),
            (View::Plain(story), event) => {
                for line in story.tell(self.started.elapsed(), event) {
                    self.ui.line(&line);
                }
            }
        }
    }
}

impl Live {
    fn new(ui: Ui) -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        Self { ui, bars, lines: BTreeMap::new(), width: 0 }
    }

    fn tell(&mut self, event: &Event) {
        match event {
            Event::Started { contexts } => {
                self.width = contexts.iter().map(String::len).max().unwrap_or(0);
                for context in contexts {
                    let line = spinner(&self.bars, context, self.width);
                    self.lines.insert(context.clone(), line);
                }
            }
            Event::Step { context, what } => self.show(context, what, Tone::Plain, None),
            Event::Waiting { context, what } => {
                self.show(context, &format!("still waiting: {what}"), Tone::Warning, None);
            }
            Event::Note { .. } => {}
            Event::Finished { context, what } => self.show(context, what, Tone::Good, Some("v")),
            Event::Failed { context, failure } => {
                self.show(context, beside(&failure.message, context), Tone::Bad, Some("x"));
            }
        }
    }

    /// Changes the line of a cluster. One that ends (`mark` is how) gets a whole line above the others
    /// instead, so that nothing of it is cut and a terminal needs no row for it.
    fn show(&mut self, context: &str, text: &str, tone: Tone, mark: Option<&str>) {
        let Self { ui, bars, lines, width } = self;
        let text = one_line(text);
        let Some(mark) = mark else {
            let line = lines.entry(context.to_owned());
            let line = line.or_insert_with(|| spinner(bars, context, *width));
            let text = if ui.colored() { tone.paint(&text) } else { text };
            return line.set_message(text);
        };
        let elapsed = lines.remove(context).map_or_else(Duration::default, |line| {
            bars.remove(&line);
            line.elapsed()
        });
        let seconds = elapsed.as_secs();
        let text = tone.paint(&text);
        bars.suspend(|| ui.line(&format!("{mark} {context:width$}  {seconds:>3}s  {text}")));
    }
}

fn spinner(bars: &MultiProgress, context: &str, width: usize) -> ProgressBar {
    let (name, width) = (last_columns(context, NAME), width.min(NAME));
    let bar = ProgressBar::new_spinner().with_prefix(format!("{name:width$}"));
    let style = ProgressStyle::with_template("{spinner} {prefix}  {elapsed:>4}  {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    // It ticks only as one of the lines: before, it would draw a line of its own.
    let bar = bars.add(bar);
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
