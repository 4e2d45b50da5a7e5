//! What was measured, as tables, and the targets, each met or not.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::contestant::Kind;
use crate::measure::{AtRate, Bodies, Held, Measured, Saturation};

/// A proxy at saturation has its core for itself; below this share something else was the limit.
const CORE_SHARE_MIN: f64 = 0.85;

/// All that one run of the benchmark measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) measured: BTreeMap<Kind, Measured>,
    pub(crate) rate: Option<u64>,
    pub(crate) held: Option<Held>,
    pub(crate) bodies: Vec<Bodies>,
}

/// The median of several rounds, with the extremes.
#[derive(Clone, Copy, Debug)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.retain(|value| value.is_finite());
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let upper = values[values.len() / 2];
        let lower = values[(values.len() - 1) / 2];
        Some(Self { median: f64::midpoint(lower, upper), min, max })
    }
}

/// One side of a ratio: a figure of each round.
type Figure<'a> = &'a dyn Fn(&Measured) -> Vec<f64>;

fn processor_us(measured: &Measured) -> Vec<f64> {
    measured.saturation.iter().map(|round| round.processor_us).collect()
}

fn per_second(measured: &Measured) -> Vec<f64> {
    measured.saturation.iter().map(|round| f64::from(round.per_second)).collect()
}

/// Where a proxy does not keep the rate, its times say only for how long it was asked.
fn p99_us(measured: &Measured) -> Vec<f64> {
    let kept = |round: &AtRate| if round.kept() { round.paced.p99_us } else { f64::INFINITY };
    measured.at_rate.iter().map(kept).collect()
}

impl Report {
    /// Returns how a figure of `of` relates to that of `to` within each round: noise of the machine meets both.
    fn ratio(&self, figure: Figure<'_>, of: Kind, to: Kind) -> Option<Spread> {
        let (of, to) = (figure(self.measured.get(&of)?), figure(self.measured.get(&to)?));
        Spread::of(of.iter().zip(&to).map(|(of, to)| of / to).collect())
    }

    /// Returns how many requests per second a contestant answered at saturation.
    pub(crate) fn median_per_second(&self, kind: Kind) -> Option<u32> {
        let rounds = &self.measured.get(&kind)?.saturation;
        let mut rates: Vec<u32> = rounds.iter().map(|round| round.per_second).collect();
        rates.sort_unstable();
        rates.get(rates.len() / 2).copied()
    }

    fn rows(&self) -> impl Iterator<Item = (Kind, &Measured)> {
        Kind::ALL.into_iter().filter_map(|kind| Some((kind, self.measured.get(&kind)?)))
    }

    /// Draws the figures at saturation.
    pub(crate) fn saturation(&self) -> String {
        let mut text = String::from(
            "At saturation (medians over rounds, ratios within a round, [least, most])\n\
             proxy           CPU us/req  / nginx               / bare hyper          req/s    / nginx               core\n",
        );
        for (kind, measured) in self.rows() {
            let median = |figure: Figure<'_>| Spread::of(figure(measured)).map(|s| s.median);
            let core = median(&|m| m.saturation.iter().map(|round| round.core_share).collect());
            let is_proxy = kind != Kind::Direct;
            let cost = |to| self.ratio(&processor_us, kind, to).filter(|_| is_proxy);
            let _ = writeln!(
                text,
                "{:<15} {:>10}  {:<20}  {:<20}  {:>7}  {:<20}  {}",
                kind.name(),
                number(median(&processor_us).filter(|_| is_proxy), 1),
                spread(cost(Kind::Nginx)),
                spread(cost(Kind::BareHyper)),
                number(median(&per_second), 0),
                spread(self.ratio(&per_second, kind, Kind::Nginx)),
                number(core.filter(|_| is_proxy), 2),
            );
        }
        if self.is_busy() {
            text.push_str("The machine is busy: not every proxy had its core, and req/s and times are the machine's.\n");
        }
        text
    }

    /// Returns whether some proxy at saturation had less of its core than it wanted.
    fn is_busy(&self) -> bool {
        let lacks = |measured: &Measured| {
            let shares = measured.saturation.iter().map(|round| round.core_share).collect();
            Spread::of(shares).is_some_and(|shares| shares.median < CORE_SHARE_MIN)
        };
        self.rows().any(|(kind, measured)| kind != Kind::Direct && lacks(measured))
    }

    /// Draws the figures at the constant rate.
    pub(crate) fn at_rate(&self) -> String {
        let Some(rate) = self.rate else { return String::new() };
        let mut text = format!(
            "At {rate} requests/s (times from the instant at which a request was due)\n\
             proxy           CPU us/req  / nginx               p50 us   p99 us  p99 / nginx           p99.9 us  kept the rate\n"
        );
        for (kind, measured) in self.rows() {
            let rounds = &measured.at_rate;
            let each = |of: &dyn Fn(&AtRate) -> f64| rounds.iter().map(of).collect::<Vec<f64>>();
            let median = |of: &dyn Fn(&AtRate) -> f64| Spread::of(each(of)).map(|s| s.median);
            let is_proxy = kind != Kind::Direct;
            let cost = |m: &Measured| m.at_rate.iter().map(|round| round.processor_us).collect();
            let kept = rounds.iter().filter(|round| round.kept()).count();
            let _ = writeln!(
                text,
                "{:<15} {:>10}  {:<20}  {:>6}  {:>7}  {:<20}  {:>8}  {kept} of {} rounds",
                kind.name(),
                number(median(&|round| round.processor_us).filter(|_| is_proxy), 1),
                spread(self.ratio(&cost, kind, Kind::Nginx).filter(|_| is_proxy)),
                number(median(&|round| round.paced.p50_us), 0),
                number(median(&|round| round.paced.p99_us), 0),
                spread(self.ratio(&p99_us, kind, Kind::Nginx)),
                number(median(&|round| round.paced.p999_us), 0),
                rounds.len(),
            );
        }
        text
    }

    /// Draws what the recorders' threads cost, and where their exchanges went.
    pub(crate) fn recorders(&self) -> String {
        let mut text = String::new();
        for (kind, measured) in self.rows().filter(|(_, measured)| measured.kept.is_some()) {
            let _ = writeln!(text, "{}", kind.name());
            let _ = writeln!(text, "  CPU us/req by thread: {}", threads(&measured.saturation));
            if let Some(kept) = &measured.kept {
                let _ = writeln!(text, "  {kept}");
            }
        }
        text
    }

    /// Draws the memory figures.
    pub(crate) fn memory(&self) -> String {
        let mut text = String::new();
        if let Some(held) = &self.held {
            let _ = writeln!(text, "{held}");
        }
        for body in &self.bodies {
            let _ = writeln!(text, "{body}");
        }
        text
    }

    /// Draws the targets.
    pub(crate) fn targets(&self) -> String {
        use Kind::{BareHyper, Nginx, RecorderAll, RecorderTenth};
        use Limit::{AtLeast, AtMost};
        let share_off = |kind| Some(self.measured.get(&kind)?.kept.as_ref()?.share_off());
        // A recorder that does not record what it should has no business to be fast.
        let dishonest = |kind, off_max: f64| {
            let off = share_off(kind).filter(|off| *off > off_max);
            off.map(|_| "VOID: not all was recorded that should be")
        };
        let (tenth, all) = (dishonest(RecorderTenth, 5.0), dishonest(RecorderAll, 1.0));
        let alone = tenth.or(self.is_busy().then_some("VOID: the machine was busy"));
        let median = |figure, of, to| self.ratio(figure, of, to).map(|spread| spread.median);
        let mib = |bytes: u64| f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX)) / 1024.0;
        let grown = self.bodies.iter().map(|body| mib(body.grown_bytes())).reduce(f64::max);
        let held = self.held.as_ref().filter(|held| held.kind == RecorderTenth);
        let held = held.map(|held| mib(held.memory.peak_bytes));
        let (processor, rate, p99) = (&processor_us, &per_second, &p99_us);
        #[rustfmt::skip]
        let targets = [
            target("10 %: CPU / nginx", median(processor, RecorderTenth, Nginx), AtMost(1.4), tenth),
            target("10 %: CPU / bare hyper", median(processor, RecorderTenth, BareHyper), AtMost(1.15), tenth),
            target("10 %: req/s / nginx", median(rate, RecorderTenth, Nginx), AtLeast(0.7), alone),
            target("10 %: p99 at half of nginx's rate / nginx", median(p99, RecorderTenth, Nginx), AtMost(1.5), alone),
            target("100 %: CPU / nginx", median(processor, RecorderAll, Nginx), AtMost(2.0), all),
            target("10 %: memory with 256 connections, MiB", held, AtMost(64.0), tenth),
            target("large body: memory more than before, MiB", grown, AtMost(16.0), None),
            target("10 %: recorded share off by, standard errors", share_off(RecorderTenth), AtMost(5.0), None),
            target("100 %: recorded share, missing %", share_off(RecorderAll), AtMost(0.0), None),
        ];
        targets.concat()
    }
}

#[derive(Clone, Copy)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

fn target(name: &str, value: Option<f64>, limit: Limit, doubt: Option<&str>) -> String {
    let (sign, bound) = match limit {
        Limit::AtMost(bound) => ("<=", bound),
        Limit::AtLeast(bound) => (">=", bound),
    };
    let verdict = match value {
        None => "not measured",
        Some(_) if let Some(doubt) = doubt => doubt,
        Some(value) if sign == "<=" && value <= bound || sign == ">=" && value >= bound => "met",
        Some(_) => "NOT MET",
    };
    format!("{name:<48} {sign} {bound:<5} {:>8}  {verdict}\n", number(value, 2))
}

fn threads(rounds: &[Saturation]) -> String {
    let mut by_name: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for round in rounds {
        for (name, us) in &round.threads_us {
            by_name.entry(name).or_default().push(*us);
        }
    }
    let mut costs: Vec<(f64, &str)> = by_name
        .into_iter()
        .filter_map(|(name, values)| Some((Spread::of(values)?.median, name)))
        .filter(|(us, _)| *us >= 0.005)
        .collect();
    costs.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let costs: Vec<String> = costs.iter().map(|(us, name)| format!("{name} {us:.2}")).collect();
    costs.join(", ")
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or("-".into(), |value| format!("{value:.digits$}"))
}

fn spread(spread: Option<Spread>) -> String {
    spread.map_or("-".into(), |Spread { median, min, max }| {
        format!("{median:.2} [{min:.2}, {max:.2}]")
    })
}
