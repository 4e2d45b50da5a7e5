//! How fast exchanges are sent: the schedule, which is pure, and the one clock of a worker that keeps it.
//!
//! Paced, the load is an open loop: an exchange is due at its instant whether or not earlier ones have been answered, and the candidate's
//! time counts from that instant. Only the number in flight can make an exchange late, and that is counted. A candidate that asks for
//! patience (429, 503) holds the whole worker back; the schedule moves by as much, so that what was held back does not come at once.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shadow_recorder::amount::Amount;
use tokio::time::Instant;

/// An exchange that is sent so much after its instant is late. Timers tick once in a millisecond.
const LATE_AFTER: Duration = Duration::from_millis(10);
/// The first pause where the candidate does not say how long to wait; it doubles with every further try.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// How fast exchanges are sent. It is kept with the run, so that every worker of it keeps to the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// As fast as the candidate answers, with a number in flight.
    #[default]
    Unpaced,
    /// In the recorded rhythm, so many thousandths as fast.
    Factor {
        /// 2000: in half the time.
        thousandths: u64,
    },
    /// At a fixed rate.
    Rate {
        /// Exchanges in a thousand seconds, by each worker.
        per_1000_s: u64,
    },
    /// Evenly over a duration.
    Over {
        /// Its seconds.
        seconds: u64,
    },
}

impl Pace {
    /// Reads a factor, such as `2` or `0.5`.
    pub fn factor(text: &str) -> Result<Self, String> {
        let thousandths = thousandths(text).ok_or_else(|| {
            format!("`{text}` is not a factor: write 2 for twice as fast as recorded, or 0.5")
        })?;
        Ok(Self::Factor { thousandths })
    }

    /// Reads a rate, such as `500`.
    pub fn rate(text: &str) -> Result<Self, String> {
        let per_1000_s = thousandths(text)
            .ok_or_else(|| format!("`{text}` is not a rate: write exchanges per second"))?;
        Ok(Self::Rate { per_1000_s })
    }

    /// Reads a duration, such as `5h`.
    pub fn over(text: &str) -> Result<Self, String> {
        let duration = shadow_recorder::config::parse_duration(text)?;
        let seconds = duration.as_secs().max(1);
        Ok(Self::Over { seconds })
    }

    /// Returns whether there is a schedule.
    pub fn is_paced(self) -> bool {
        self != Self::Unpaced
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimal = |f: &mut fmt::Formatter<'_>, n: u64| match n % 1000 {
            0 => write!(f, "{}", n / 1000),
            rest => write!(f, "{}.{rest:03}", n / 1000),
        };
        match *self {
            Self::Unpaced => f.write_str("as fast as the candidate answers"),
            Self::Factor { thousandths } => {
                decimal(f, thousandths)?;
                f.write_str(" times as fast as recorded")
            }
            Self::Rate { per_1000_s } => {
                decimal(f, per_1000_s)?;
                f.write_str(" exchanges per second")
            }
            Self::Over { seconds } => write!(f, "spread over {seconds} s"),
        }
    }
}

fn thousandths(text: &str) -> Option<u64> {
    let units = text.parse::<Amount>().ok()?.units();
    let (whole, rest) = (units / 1_000_000, units % 1_000_000);
    u64::try_from(whole).ok().filter(|n| *n > 0 && rest == 0)
}

/// When exchanges are due. Pure: instants are parameters.
#[derive(Debug)]
struct Schedule {
    pace: Pace,
    /// Exchanges of the run, for [`Pace::Over`].
    total: u64,
    /// The instant from which due times count, and the recorded time that it stands for.
    begin: Option<(Instant, Timestamp)>,
    /// Whether the next exchange is the first of a shard.
    first: bool,
    latest: Timestamp,
    sent: u64,
    due: Option<Instant>,
}

impl Schedule {
    fn new(pace: Pace, total: u64) -> Self {
        let (begin, latest, due) = (None, Timestamp::MIN, None);
        Self { pace, total, begin, first: true, latest, sent: 0, due }
    }

    /// Returns when the next exchange is due; without pace at once.
    fn due(&mut self, received_at: Timestamp, now: Instant) -> Instant {
        // A shard that goes back in recorded time has its own rhythm; one that follows goes on in that of the one before.
        let anew = std::mem::take(&mut self.first) && received_at < self.latest;
        let (begin, from) =
            *self.begin.insert(self.begin.filter(|_| !anew).unwrap_or((now, received_at)));
        self.latest = self.latest.max(received_at);
        let part = |number: u64, of: u64| {
            let nanos = u128::from(number) * 1_000_000_000_000 / u128::from(of.max(1));
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        };
        let after = match self.pace {
            Pace::Unpaced => return now,
            Pace::Factor { thousandths } => {
                let us = received_at.as_microsecond().saturating_sub(from.as_microsecond());
                part(u64::try_from(us).unwrap_or(0), thousandths.saturating_mul(1_000_000))
            }
            Pace::Rate { per_1000_s } => part(self.sent, per_1000_s),
            Pace::Over { seconds } => {
                part(self.sent.saturating_mul(seconds), self.total.saturating_mul(1_000))
            }
        };
        self.sent += 1;
        // Exchanges were recorded when they ended, so that one can lie behind others that were received after it.
        let due = (begin + after).max(self.due.filter(|_| !anew).unwrap_or(begin));
        *self.due.insert(due)
    }

    /// Moves everything that is not due yet.
    fn delay(&mut self, by: Duration) {
        if let Some((begin, _)) = &mut self.begin {
            *begin += by;
        }
    }
}

/// When exchanges are sent: when they are due, unless the worker is held back. Pure as the schedule is.
#[derive(Debug)]
struct State {
    schedule: Schedule,
    /// Nothing is sent before.
    resume_at: Option<Instant>,
    /// By how much the schedule was moved in all.
    delayed: Duration,
    /// For how long the candidate may still hold the worker back.
    patience: Duration,
}

/// When an exchange was due as the schedule stood.
#[derive(Clone, Copy, Debug)]
struct Planned {
    due: Instant,
    delayed: Duration,
}

impl State {
    fn new(pace: Pace, total: u64, patience: Duration) -> Self {
        let schedule = Schedule::new(pace, total);
        Self { schedule, resume_at: None, delayed: Duration::ZERO, patience }
    }

    fn plan(&mut self, received_at: Timestamp, now: Instant) -> Planned {
        Planned { due: self.schedule.due(received_at, now), delayed: self.delayed }
    }

    /// Returns when an exchange is due by now, and when it may be sent.
    fn due(&self, planned: Planned) -> (Instant, Instant) {
        let due = planned.due + self.delayed.saturating_sub(planned.delayed);
        (due, self.resume_at.map_or(due, |resume_at| resume_at.max(due)))
    }

    fn hold(&mut self, pause: Duration, now: Instant) -> Option<Instant> {
        let resume_at = now + pause;
        let held_until = self.resume_at.unwrap_or(now).max(now);
        let by = resume_at.saturating_duration_since(held_until);
        self.patience = self.patience.checked_sub(by)?;
        self.resume_at = Some(resume_at.max(held_until));
        self.delayed += by;
        self.schedule.delay(by);
        Some(resume_at)
    }
}

/// Keeps the schedule of a worker.
#[derive(Debug)]
pub(crate) struct Pacer {
    pace: Pace,
    state: Mutex<State>,
}

impl Pacer {
    /// Makes a clock for a run of so many exchanges, on which the candidate may hold the worker back for `patience` in all.
    pub(crate) fn new(pace: Pace, total: u64, patience: Duration) -> Self {
        Self { pace, state: Mutex::new(State::new(pace, total, patience)) }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether there is a schedule.
    pub(crate) fn is_paced(&self) -> bool {
        self.pace.is_paced()
    }

    /// Says that the next exchange is the first of a shard.
    pub(crate) fn begin_shard(&self) {
        self.locked().schedule.first = true;
    }

    /// Waits until the next exchange is due; returns the instant at which it was. One at a time may wait.
    pub(crate) async fn due(&self, received_at: Timestamp) -> Instant {
        let planned = self.locked().plan(received_at, Instant::now());
        loop {
            let (due, until) = self.locked().due(planned);
            if until <= Instant::now() {
                return if self.pace.is_paced() { due } else { until };
            }
            tokio::time::sleep_until(until).await;
        }
    }

    /// Returns whether an exchange that is sent now, and was due then, is late.
    pub(crate) fn is_late(&self, due: Instant) -> bool {
        self.pace.is_paced() && due.elapsed() > LATE_AFTER
    }

    /// Holds the worker back, all of it; returns until when, or `None` where its patience is at an end.
    pub(crate) fn hold(&self, pause: Duration) -> Option<Instant> {
        self.locked().hold(pause, Instant::now())
    }
}

/// Returns how long to wait after the n-th refusal, from 1: as long as the candidate asks, else twice as long as before. A number that
/// is drawn for the exchange spreads the tries of many, so that they do not come back in step.
pub(crate) fn pause(refusal: u32, asked: Option<Duration>, drawn: u8) -> Duration {
    let doubled = PAUSE * 2_u32.saturating_pow(refusal.saturating_sub(1)).min(1 << 10);
    let spread = PAUSE * u32::from(drawn) / 256;
    match asked {
        Some(asked) => asked.min(PAUSE_MAX) + spread,
        None => doubled.min(PAUSE_MAX) / 2 + doubled.min(PAUSE_MAX) * u32::from(drawn) / 512,
    }
}

#[cfg(test)]
mod tests;
