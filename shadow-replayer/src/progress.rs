//! Tells a person on standard error how a run goes: a bar on a terminal, plain lines elsewhere, so that a log of a pipeline stays short.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _, stderr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::Progress;
use crate::run::Tally;

/// Between two lines, at first.
const LINE_PAUSE: Duration = Duration::from_secs(1);
/// Between two lines, once a run is known to be long.
const LONG_LINE_PAUSE: Duration = Duration::from_secs(10);
/// From when on a run is long.
const LONG: Duration = Duration::from_mins(1);

/// Prints progress; give [`Printer::print`] to [`crate::run`].
#[derive(Debug)]
pub struct Printer {
    quiet: bool,
    bar: Option<ProgressBar>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Exchanges in the frozen segments, those outside the range included.
    total: u64,
    begun: Option<Instant>,
    /// When the replay began, and how many exchanges were done by then.
    replaying: Option<(Instant, u64)>,
    /// When a line was printed last, and how many exchanges were done.
    last: Option<(Instant, u64)>,
}

impl Default for Printer {
    fn default() -> Self {
        Self::new(false)
    }
}

impl Printer {
    /// Makes a printer; a quiet one says nothing.
    pub fn new(quiet: bool) -> Self {
        let bar = (!quiet && stderr().is_terminal()).then(bar);
        Self { quiet, bar, state: Mutex::default() }
    }

    /// Prints one message, or lets it pass because another was printed just before.
    pub fn print(&self, progress: &Progress) {
        if self.quiet {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match progress {
            Progress::Planned { run, segments, exchanges, range } => {
                state.total = *exchanges;
                let range = format!("{} to {}", range.from, range.to);
                let exchanges = HumanCount(*exchanges);
                let segments = if *segments == 1 {
                    "1 segment".into()
                } else {
                    format!("{segments} segments")
                };
                self.say(&format!(
                    "run {run}: {range}, at most {exchanges} exchanges in {segments}"
                ));
            }
            Progress::Listening(places) if places.is_empty() => {}
            Progress::Listening(places) => {
                self.say(&format!("the stub answers for {}", places.join(", ")));
            }
            Progress::WaitingForInstances(gaps) => {
                self.tell(&mut state, 0, || {
                    format!("waiting until the range is sealed: {}", gaps.join("; "))
                });
            }
            Progress::Sorting { read, segments } => {
                self.tell(&mut state, 0, || {
                    format!("sorting by order key: {read} of {segments} segments read")
                });
            }
            Progress::Replayed(tally) => self.replayed(&mut state, tally),
        }
    }

    fn replayed(&self, state: &mut State, tally: &Tally) {
        let now = Instant::now();
        let (done, total) = (tally.done(), state.total);
        let (begun, before) = *state.replaying.get_or_insert((now, done));
        let Some(bar) = &self.bar else {
            // The first line comes when there is something to say.
            let (since, before) = *state.last.get_or_insert((now, done));
            let rate = rate(done.saturating_sub(before), now - since);
            return self.tell(state, done, || line(tally, total, rate));
        };
        if bar.length() != Some(total) {
            bar.set_style(style(REPLAYING));
            bar.set_length(total);
        }
        bar.set_position(done);
        let rate = rate(done.saturating_sub(before), now - begun);
        bar.set_message(line(tally, total, rate));
    }

    /// Ends the bar, so that what is printed next stands alone.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| write_line(text)),
            None => write_line(text),
        }
    }

    /// Shows what changes: in the bar's place, or as a line where one is due.
    fn tell(&self, state: &mut State, done: u64, text: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_message(text());
            bar.tick();
            return;
        }
        let now = Instant::now();
        let begun = *state.begun.get_or_insert(now);
        if is_due(now - begun, state.last.map(|(last, _)| now - last)) {
            state.last = Some((now, done));
            write_line(&text());
        }
    }
}

const WAITING: &str = "{spinner} {wide_msg}";
const REPLAYING: &str = "{wide_bar} {percent:>3}%\n{wide_msg}";

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.with_style(style(WAITING))
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─")
}

fn write_line(text: &str) {
    // Progress that nobody can read is not worth failing for.
    let _ = writeln!(stderr(), "{text}");
}

/// Returns whether a line is due, so long after the beginning and after the line before it.
fn is_due(since_begun: Duration, since_last: Option<Duration>) -> bool {
    let pause = if since_begun < LONG { LINE_PAUSE } else { LONG_LINE_PAUSE };
    since_last.is_none_or(|since| since >= pause)
}

/// Returns the exchanges of a second.
fn rate(done: u64, time: Duration) -> Option<u64> {
    let ms = time.as_millis();
    (ms > 0).then(|| u64::try_from(u128::from(done) * 1_000 / ms).unwrap_or(u64::MAX))
}

fn line(tally: &Tally, total: u64, rate: Option<u64>) -> String {
    let done = tally.done();
    let mut text = format!("replayed {} of at most {}", HumanCount(done), HumanCount(total));
    if let Some(rate @ 1..) = rate {
        let left = HumanDuration(Duration::from_secs(total.saturating_sub(done) / rate));
        let _ = write!(text, ", {}/s, {left} left", HumanCount(rate));
    }
    format!("{text}: {}", outcomes(tally))
}

/// Returns the outcomes that there were, and what held the replay up.
fn outcomes(tally: &Tally) -> String {
    let counts = [
        (tally.matched, "matched"),
        (tally.different, "different"),
        (tally.errored, "errored"),
        (tally.unverified, "unverified"),
        (tally.filtered, "filtered"),
        (tally.late, "sent late"),
        (tally.backoffs, "asked to wait"),
    ];
    let named = counts.iter().enumerate().filter(|(n, (count, _))| *n < 2 || *count > 0);
    let named = named.map(|(_, (count, name))| format!("{} {name}", HumanCount(*count)));
    named.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_every_second_and_in_a_long_run_every_ten() {
        let seconds = Duration::from_secs;
        assert!(is_due(seconds(0), None));
        assert!(!is_due(seconds(5), Some(Duration::from_millis(999))));
        assert!(is_due(seconds(5), Some(seconds(1))));
        assert!(!is_due(seconds(61), Some(seconds(9))));
        assert!(is_due(seconds(61), Some(seconds(10))));
    }

    #[test]
    fn a_line_says_how_many_how_fast_and_how_long_still() {
        let tally = Tally { matched: 1_200, unverified: 34, late: 5, ..Tally::default() };
        assert_eq!(
            line(&tally, 2_234, Some(500)),
            "replayed 1,234 of at most 2,234, 500/s, 2 seconds left: 1,200 matched, 0 different, 34 unverified, 5 sent late"
        );
        assert!(line(&tally, 2_234, None).starts_with("replayed 1,234 of at most 2,234: "));
        assert_eq!(rate(1_500, Duration::from_secs(3)), Some(500));
        assert_eq!(rate(1, Duration::ZERO), None);
    }
}
