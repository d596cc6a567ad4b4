//! Figures as rows of a table, as JSON and as Markdown.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// What was measured of one thing, compared with one other.
#[derive(Serialize)]
pub(super) struct Row {
    /// The name by which `--only` selects it.
    pub(super) group: &'static str,
    /// What the tool did.
    pub(super) what: String,
    /// What it is compared with.
    pub(super) with: String,
    /// The ratio, or the figure where there is nothing to compare with.
    pub(super) figure: f64,
    /// What the figure counts: empty for a ratio.
    pub(super) unit: &'static str,
    /// The most that it should be.
    pub(super) aim: Option<f64>,
    /// What the runs are counted in.
    pub(super) runs_unit: &'static str,
    /// All runs, oldest first.
    pub(super) ours: Vec<f64>,
    /// All runs of what it is compared with.
    pub(super) theirs: Vec<f64>,
    /// More that was seen.
    pub(super) facts: Map<String, Value>,
}

impl Row {
    /// The medians of two series as a ratio.
    pub(super) fn ratio(
        group: &'static str,
        what: impl Into<String>,
        with: impl Into<String>,
        (ours, theirs): (&[f64], &[f64]),
        aim: impl Into<Option<f64>>,
    ) -> Self {
        Self {
            group,
            what: what.into(),
            with: with.into(),
            figure: median(ours) / median(theirs),
            unit: "",
            aim: aim.into(),
            runs_unit: "s",
            ours: ours.to_vec(),
            theirs: theirs.to_vec(),
            facts: Map::new(),
        }
    }

    /// A figure that stands for itself.
    pub(super) fn figure(
        group: &'static str,
        what: impl Into<String>,
        (figure, unit): (f64, &'static str),
        aim: f64,
    ) -> Self {
        Self {
            group,
            what: what.into(),
            with: String::new(),
            figure,
            unit,
            aim: Some(aim),
            runs_unit: "",
            ours: Vec::new(),
            theirs: Vec::new(),
            facts: Map::new(),
        }
    }

    /// Adds the runs, in seconds, that a figure comes from.
    pub(super) fn seen(mut self, seconds: Vec<f64>) -> Self {
        (self.ours, self.runs_unit) = (seconds, "s");
        self
    }

    /// Says what the runs are counted in, where it is not seconds.
    pub(super) fn counted_in(mut self, unit: &'static str) -> Self {
        self.runs_unit = unit;
        self
    }

    /// Adds something that was seen.
    pub(super) fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.into(), value.into());
        self
    }

    fn met(&self) -> &'static str {
        match self.aim {
            Some(aim) if self.figure <= aim => "yes",
            Some(_) => "no",
            None => "",
        }
    }

    fn cells(&self) -> [String; 7] {
        let number = |value: f64| match self.unit {
            "" if value < 0.1 => format!("{value:.3}"),
            "" => format!("{value:.2}"),
            "MB" | "ms" => format!("{value:.1} {}", self.unit),
            unit => format!("{value} {unit}"),
        };
        let runs = |runs: &[f64]| match (self.runs_unit, median(runs)) {
            _ if runs.is_empty() => String::new(),
            ("s", value) if value < 0.1 => format!("{:.1} ms", value * 1e3),
            (unit, value) => format!("{value:.2} {unit}"),
        };
        [
            self.what.clone(),
            self.with.clone(),
            runs(&self.ours),
            runs(&self.theirs),
            number(self.figure),
            self.aim.map_or_else(String::new, |aim| format!("<= {}", number(aim))),
            self.met().to_owned(),
        ]
    }
}

const HEAD: [&str; 7] = ["What", "Compared with", "Tool", "Other", "Ratio or figure", "Aim", "Met"];

/// The rows for a terminal.
pub(super) fn table(rows: &[Row]) -> String {
    let cells: Vec<[String; 7]> =
        std::iter::once(HEAD.map(String::from)).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| {
        cells.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let line = |row: &[String; 7]| {
        let cells = row.iter().enumerate().map(|(at, cell)| format!("{cell:0$}", width(at)));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    cells.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The rows for a page.
pub(super) fn markdown(rows: &[Row], machine: &Value) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = format!("{}\n\n", sentence(machine));
    text += &line(&HEAD.map(String::from));
    text += &line(&HEAD.map(|_| "---".to_owned()));
    text.extend(rows.iter().map(|row| line(&row.cells().map(|cell| cell.replace("<=", "≤")))));
    text
}

fn sentence(machine: &Value) -> String {
    let text = |name: &str| match &machine[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    format!(
        "kubectl-multimesh {}, Kubernetes {}, Istio {}, Linux {}, {} cores ({}), {} GiB of memory; \
         medians of {} runs.",
        text("tool"),
        text("kubernetes"),
        text("istio"),
        text("kernel"),
        text("cores"),
        text("processor"),
        text("memory_gib"),
        text("runs"),
    )
}

/// Everything for a program.
pub(super) fn to_json(rows: &[Row], machine: &Value, seconds: &Value) -> Value {
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            let mut value = serde_json::to_value(row).unwrap_or_default();
            value["met"] = match row.aim {
                Some(aim) => (row.figure <= aim).into(),
                None => Value::Null,
            };
            value
        })
        .collect();
    json!({"machine": machine, "rows": rows, "took_seconds": seconds})
}

/// The middle of a series: of the two middle ones the mean.
pub(super) fn median(series: &[f64]) -> f64 {
    let mut sorted = series.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match (sorted.get(half), sorted.len() % 2) {
        (None, _) => f64::NAN,
        (Some(middle), 1) => *middle,
        (Some(upper), _) => f64::midpoint(sorted[half - 1], *upper),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn an_aim_that_is_missed_says_so() {
        let row = Row::ratio("cold", "apply", "the floor", (&[3.0], &[2.0]), 1.0);
        assert_eq!(row.cells()[4..], ["1.50", "<= 1.00", "no"]);
        let row = Row::figure("binary", "size", (9.0, "MB"), 10.0);
        assert_eq!(row.cells()[4..], ["9.0 MB", "<= 10.0 MB", "yes"]);
    }
}
