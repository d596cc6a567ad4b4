//! The one room that prints: data to stdout, everything else to stderr.

pub mod document;
mod list;
pub mod meshes;
pub mod plan;
pub mod program;
pub mod progress;
pub mod status;
mod story;
pub mod table;
pub mod teardown;
pub mod versions;

use std::io::{IsTerminal as _, Write as _};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

use crate::error::Failure;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default();
const GOOD: Style = AnsiColor::Green.on_default();
const BOLD: Style = Style::new().bold();

/// Where and how the tool speaks.
#[derive(Debug, Clone, Copy)]
pub struct Ui {
    color: ColorChoice,
    live: bool,
    input: bool,
}

/// How a piece of text is meant, whatever colours the terminal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Wants attention.
    Warning,
    /// Broken.
    Bad,
    /// A heading or a name.
    Strong,
    /// Nothing special.
    Plain,
}

impl Tone {
    const fn style(self) -> Style {
        match self {
            Self::Good => GOOD,
            Self::Warning => WARNING,
            Self::Bad => ERROR,
            Self::Strong => BOLD,
            Self::Plain => Style::new(),
        }
    }

    /// The text in this tone; the streams strip the colour where none is wanted.
    pub fn paint(self, text: &str) -> String {
        let style = self.style();
        if self == Self::Plain { text.to_owned() } else { format!("{style}{text}{style:#}") }
    }
}

impl Ui {
    /// Looks at the terminal. `no_input` is the user's wish not to be asked anything, `log` that of
    /// seeing a log, whose lines stay where they are.
    pub fn new(color: ColorChoice, no_input: bool, log: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb");
        let ci = std::env::var_os("CI").is_some_and(|ci| !ci.is_empty() && ci != "false");
        Self {
            color,
            live: std::io::stderr().is_terminal() && !dumb && !ci && !log,
            input: !no_input && std::io::stdin().is_terminal() && std::io::stderr().is_terminal(),
        }
    }

    /// Whether stderr is a terminal on which lines may be redrawn.
    pub const fn live(&self) -> bool {
        self.live
    }

    /// How wide the terminal is that data goes to, if it goes to one.
    pub fn columns(&self) -> Option<usize> {
        let (width, _) = terminal_size::terminal_size_of(std::io::stdout())?;
        Some(usize::from(width.0)).filter(|width| *width > 0)
    }

    /// Whether stderr takes colours.
    pub fn colored(&self) -> bool {
        match self.color {
            ColorChoice::Auto => AutoStream::choice(&std::io::stderr()) != ColorChoice::Never,
            ColorChoice::Never => false,
            ColorChoice::Always | ColorChoice::AlwaysAnsi => true,
        }
    }

    /// Whether a person can be asked something.
    pub const fn interactive(&self) -> bool {
        self.input
    }

    /// Prints data: the one thing that goes to stdout.
    pub fn data(&self, text: &str) {
        let mut out = AutoStream::new(std::io::stdout().lock(), self.color);
        // A closed pipe (`| head`) is the reader's business, not an error.
        let _ = out.write_all(text.as_bytes());
        if !text.ends_with('\n') {
            let _ = out.write_all(b"\n");
        }
        let _ = out.flush();
    }

    /// Prints a line about what goes on, to stderr.
    pub fn line(&self, text: &str) {
        let mut err = AutoStream::new(std::io::stderr().lock(), self.color);
        let _ = writeln!(err, "{text}");
    }

    /// Prints something that the user should know, to stderr.
    pub fn note(&self, text: &str) {
        self.line(&format!("{HINT}note:{HINT:#} {text}"));
    }

    /// Prints something that may become a problem, to stderr.
    pub fn warning(&self, text: &str) {
        self.line(&format!("{WARNING}warning:{WARNING:#} {text}"));
    }

    /// Prints a failure with its place and hints, to stderr.
    pub fn failure(&self, failure: &Failure) {
        self.line(&format!("{ERROR}error:{ERROR:#} {}", harmless(&failure.message)));
        if let Some(at) = &failure.excerpt {
            let number = at.line.to_string();
            let margin = " ".repeat(number.len());
            if !failure.message.contains(&at.to_string()) {
                self.line(&format!("{margin} --> {at}"));
            }
        }
        if let Some(at) = failure.excerpt.as_ref().filter(|at| !at.text.is_empty()) {
            let number = at.line.to_string();
            let margin = " ".repeat(number.len());
            self.line(&format!("{number} | {}", harmless(&at.text)));
            let caret = " ".repeat(at.column.saturating_sub(1));
            self.line(&format!("{margin} | {caret}{ERROR}^{ERROR:#}"));
        }
        for hint in &failure.hints {
            self.hint(hint);
        }
    }

    /// Prints what to do about something, to stderr.
    pub fn hint(&self, text: &str) {
        let hint = harmless(&program::as_called(text));
        self.line(&format!("{HINT}hint:{HINT:#} {hint}"));
    }

    /// Prints what comes next, to stderr.
    pub fn next(&self, text: &str) {
        self.line(&format!("next: {}", program::as_called(text)));
    }

    /// Asks a yes-or-no question at the terminal; only `y` and `yes` are a yes.
    pub fn confirm(&self, question: &str) -> bool {
        {
            // Held no longer than needed: Ctrl-C is answered on stderr while the question stands.
            let mut err = AutoStream::new(std::io::stderr().lock(), self.color);
            let _ = write!(err, "{BOLD}{question}{BOLD:#} [y/N] ");
            let _ = err.flush();
        }
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer).unwrap_or(0);
        read > 0 && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
    }
}

/// A text that may repeat what a file or a cluster says, without what a terminal would act upon.
fn harmless(text: &str) -> String {
    let shown = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() && c != '\n' => '\u{fffd}',
        c => c,
    };
    text.chars().map(shown).collect()
}

/// A text that keeps to its line, whatever it repeats.
fn one_line(text: &str) -> String {
    harmless(text).replace('\n', " ")
}

/// `1 cluster`, `2 clusters`.
pub fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}
