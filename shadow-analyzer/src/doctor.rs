//! What stands in the way of certifying, one line per step, each with what to do next: from an empty folder to a gate that holds.
//!
//! `look` asks the world, [`Step`]s are made of the answers by pure functions, and [`Report`] draws them.

use std::fmt::Write;

use serde::Serialize;
use shadow_recorder::table::plain;

pub mod look;
mod step;
#[cfg(test)]
mod tests;

/// How a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing to do.
    Fine,
    /// Something is to be done.
    Act,
    /// It was not asked for.
    NotTried,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What is looked at.
    pub step: &'static str,
    /// How it stands.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do.
    pub next: Option<String>,
}

impl Step {
    fn fine(step: &'static str, found: impl Into<String>) -> Self {
        Self { step, state: State::Fine, found: found.into(), next: None }
    }

    fn act(step: &'static str, found: impl Into<String>, next: impl Into<String>) -> Self {
        Self { step, state: State::Act, found: found.into(), next: Some(next.into()) }
    }

    fn not_tried(step: &'static str, next: impl Into<String>) -> Self {
        Self { step, state: State::NotTried, found: "not tried".into(), next: Some(next.into()) }
    }
}

/// All steps, in the order in which they are taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether no step needs anything.
    pub fine: bool,
    /// The steps.
    pub steps: Vec<Step>,
}

impl Report {
    /// Returns the report of these steps.
    pub fn of(steps: Vec<Step>) -> Self {
        let fine = steps.iter().all(|step| step.state != State::Act);
        Self { fine, steps }
    }

    /// Returns the text. `color`: standard output is a terminal.
    pub fn render(&self, color: bool) -> String {
        let width = self.steps.iter().map(|step| step.step.len()).max().unwrap_or(0);
        let mut text = String::new();
        for Step { step, state, found, next } in &self.steps {
            let (word, code) = match state {
                State::Fine => ("ok ", 32),
                State::Act => ("act", 31),
                State::NotTried => ("-  ", 33),
            };
            let word = if color { format!("\u{1b}[{code}m{word}\u{1b}[0m") } else { word.into() };
            let _ = writeln!(text, "  {word}  {step:width$}  {}", line(found));
            if let Some(next) = next {
                let _ = writeln!(text, "       {:width$}  next: {}", "", line(next));
            }
        }
        let last = match self.steps.iter().filter(|step| step.state == State::Act).count() {
            0 => "nothing stands in the way of certifying".into(),
            1 => "one step needs an action".into(),
            many => format!("{many} steps need an action; begin with the first"),
        };
        let _ = writeln!(text, "\n{last}");
        text
    }
}

/// Keeps a sentence that quotes recordings on one line, and off the terminal's controls.
fn line(text: &str) -> String {
    text.lines().map(str::trim).map(safe).collect::<Vec<_>>().join("; ")
}

fn safe(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Names a few of many.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| plain(name)).collect();
    let more = names.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}
