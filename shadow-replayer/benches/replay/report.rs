//! The figures and the targets.

use crate::contestant::Reached;

/// Exchanges a second without upstream calls.
const PLAIN: f64 = 20_000.0;
/// Exchanges a second with two upstream calls each.
const CALLING: f64 = 8_000.0;
/// Exchanges without upstream calls for one request of oha.
const OF_OHA: f64 = 0.3;
/// Memory, whatever the number of exchanges.
const MEMORY_MIB: f64 = 512.0;
/// How much more the long run may hold than the short one and still count as the same: what an allocator keeps varies.
const SAME: f64 = 1.25;

/// What was reached.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) plain: Vec<Reached>,
    pub(crate) calling: Vec<Reached>,
    pub(crate) oha: Vec<Reached>,
    pub(crate) short: Option<Reached>,
    pub(crate) long: Option<Reached>,
}

fn best(all: &[Reached]) -> f64 {
    all.iter().map(Reached::per_second).fold(0.0, f64::max)
}

#[expect(clippy::cast_precision_loss, reason = "memory in MiB, for people")]
fn mib(reached: &Reached) -> f64 {
    reached.peak_bytes as f64 / f64::from(1 << 20)
}

impl Report {
    pub(crate) fn speed(&self) -> String {
        let line = |name: &str, all: &[Reached]| {
            let rounds: Vec<String> =
                all.iter().map(|reached| format!("{:>8.0}", reached.per_second())).collect();
            format!("{name:<44}{}\n", rounds.concat())
        };
        [
            "exchanges a second, round by round\n".to_owned(),
            line("replayed, compared, written", &self.plain),
            line("the same with two upstream calls each", &self.calling),
            line("oha, which only sends", &self.oha),
        ]
        .concat()
    }

    pub(crate) fn memory(&self) -> String {
        let line = |reached: &Reached| {
            let (exchanges, per_second) = (reached.exchanges, reached.per_second());
            format!("{exchanges:>10} exchanges{:>8.0} MiB{per_second:>10.0}/s\n", mib(reached))
        };
        let lines = self.short.iter().chain(&self.long).map(line);
        format!("memory at its most\n{}", lines.collect::<String>())
    }

    pub(crate) fn targets(&self) -> String {
        let line = |name: &str, reached: f64, target: f64, met: bool| {
            let word = if met { "met" } else { "NOT MET" };
            format!("{name:<56}{reached:>10.2}{target:>10.2}  {word}\n")
        };
        let (plain, calling, oha) = (best(&self.plain), best(&self.calling), best(&self.oha));
        let mut lines = vec![
            format!("{:<56}{:>10}{:>10}\n", "targets", "reached", "target"),
            line("exchanges/s without upstream calls, at least", plain, PLAIN, plain >= PLAIN),
            line(
                "exchanges/s with two upstream calls, at least",
                calling,
                CALLING,
                calling >= CALLING,
            ),
            line(
                "without upstream calls, of oha, at least",
                plain / oha,
                OF_OHA,
                plain / oha >= OF_OHA,
            ),
        ];
        if let (Some(short), Some(long)) = (&self.short, &self.long) {
            let more = mib(long) / mib(short);
            lines.push(line("MiB, at most", mib(long), MEMORY_MIB, mib(long) <= MEMORY_MIB));
            lines.push(line(
                "MiB of the long run to the short one, at most",
                more,
                SAME,
                more <= SAME,
            ));
        }
        lines.concat()
    }
}
