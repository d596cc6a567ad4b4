//! The view of a run: a line a cluster at a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Tone, Ui};
use crate::engine::event::{Event, Sink};

/// Shows events as they come. A line that is told twice in a row is told once.
pub struct Progress {
    ui: Ui,
    started: Instant,
    view: Mutex<View>,
}

enum View {
    Live { bars: MultiProgress, lines: BTreeMap<String, ProgressBar>, width: usize },
    Plain { last: BTreeMap<String, String>, width: usize },
}

impl Progress {
    /// A view that fits the terminal.
    pub fn new(ui: Ui) -> Arc<Self> {
        let view = if ui.live() {
            let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
            View::Live { bars, lines: BTreeMap::new(), width: 0 }
        } else {
            View::Plain { last: BTreeMap::new(), width: 0 }
        };
        Arc::new(Self { ui, started: Instant::now(), view: Mutex::new(view) })
    }

    /// Leaves what was shown in place and ends the redrawing.
    pub fn finish(&self) {
        if let View::Live { lines, .. } = &*self.view.lock().unwrap_or_else(PoisonError::into_inner)
        {
            for line in lines.values().filter(|line| !line.is_finished()) {
                line.abandon();
            }
        }
    }

    fn show(&self, context: &str, text: &str, tone: Tone, over: bool) {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *view {
            View::Live { bars, lines, width } => {
                let line = lines
                    .entry(context.to_owned())
                    .or_insert_with(|| spinner(bars, context, *width));
                let colored = self.ui.colored();
                let text = if colored { tone.paint(text) } else { text.to_owned() };
                if over {
                    line.set_style(style(if tone == Tone::Bad { "x" } else { "v" }));
                    line.finish_with_message(text);
                } else {
                    line.set_message(text);
                }
            }
            View::Plain { last, width } => {
                if last.insert(context.to_owned(), text.to_owned()).as_deref() != Some(text) {
                    let seconds = self.started.elapsed().as_secs_f32();
                    let (text, width) = (tone.paint(text), *width);
                    self.ui.line(&format!("[{seconds:5.1}s] {context:width$}  {text}"));
                }
            }
        }
    }

    fn note(&self, text: &str) {
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        match &*view {
            View::Live { bars, .. } => bars.suspend(|| self.ui.note(text)),
            View::Plain { .. } => self.ui.note(text),
        }
    }

    fn begin(&self, contexts: &[String]) {
        let widest = contexts.iter().map(String::len).max().unwrap_or(0);
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *view {
            View::Live { bars, lines, width } => {
                *width = widest;
                for context in contexts {
                    lines.insert(context.clone(), spinner(bars, context, widest));
                }
            }
            View::Plain { width, .. } => *width = widest,
        }
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
        match event {
            Event::Started { contexts } => self.begin(&contexts),
            Event::Step { context, what } => self.show(&context, &what, Tone::Plain, false),
            Event::Waiting { context, what } => {
                self.show(&context, &format!("still waiting: {what}"), Tone::Warning, false);
            }
            Event::Note { text } => self.note(&text),
            Event::Finished { context, what } => self.show(&context, &what, Tone::Good, true),
            Event::Failed { context, failure } => {
                let own = format!("`{context}`: ");
                let text = failure.message.strip_prefix(&own).unwrap_or(&failure.message);
                self.show(&context, text, Tone::Bad, true);
            }
        }
    }
}

fn spinner(bars: &MultiProgress, context: &str, width: usize) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_prefix(format!("{context:width$}"));
    bar.set_style(style("{spinner}"));
    // It ticks only as one of the lines: before, it would draw a line of its own.
    let bar = bars.add(bar);
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn style(mark: &str) -> ProgressStyle {
    let template = format!("{mark} {{prefix}}  {{elapsed:>4}}  {{wide_msg}}");
    ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
