//! One cell judged: pure, exact, and rounded only where it is shown.

use jiff::ToSpan;
use jiff::civil::{Date, date};
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{ToPrimitive, Zero};
use shadow_recorder::amount::format_units;

use crate::money;
use crate::policy::{Allowed, Policy};
use crate::totals::{ByCurrency, CellTotals, CurrencyTotals, Declared, Overflow};
use crate::verdict::{
    Cell, CellName, CurrencyMoney, ExpectedMoney, Judged, Measure, Observed, Sides,
};

mod measured;

use measured::{Difference, Measured, largest_of, net_difference};

const MEASURES: [Measure; 3] = [Measure::Debit, Measure::Credit, Measure::Balance];

/// A cell with what the rules ask of it.
#[derive(Clone, Debug)]
pub(crate) struct JudgedCell {
    /// Names it.
    pub(crate) name: CellName,
    /// Whether it can refuse a build and lower its score.
    pub(crate) gated: bool,
    /// Whether its money that was not examined is beyond its net threshold.
    pub(crate) not_examined_beyond: bool,
    /// Whether any line of it was compared.
    pub(crate) compared: bool,
    /// The control's difference from production, converted, where it is beyond the net threshold.
    pub(crate) control_beyond: Option<String>,
    /// What it may differ by; absent where it has no threshold.
    pub(crate) allowed: Option<Allowed>,
    /// What a verdict shows of it.
    pub(crate) shown: Cell,
    /// The larger of the net and the gross difference, for the order.
    pub(crate) difference: BigRational,
}

/// The range, or one day of it, under the threshold for it.
struct Span {
    day: Option<i64>,
    measured: Measured,
    allowed: Option<Allowed>,
    /// Whether the threshold is what it is; a share of a total that lacks a currency is too small a threshold to breach.
    known: bool,
}

/// Returns 100 within the threshold, else 100 · threshold / difference, rounded down.
pub(crate) fn confidence(difference: &BigRational, threshold: &BigRational) -> u8 {
    if difference <= threshold {
        return 100;
    }
    // The difference is above the threshold and so above zero; the quotient is below 100.
    let score = (threshold * BigInt::from(100) / difference).floor().to_integer();
    score.to_u8().unwrap_or(0)
}

/// Judges a cell. `sampled`: exchanges of the range stand for others.
pub(crate) fn judge(
    name: &CellName,
    totals: &CellTotals,
    policy: &Policy,
    sampled: bool,
) -> Result<JudgedCell, Overflow> {
    let thresholds = policy.thresholds(name.dimension);
    let new = totals.entries_primary == 0;
    let range = Measured::of(&totals.currencies, &policy.rates)?;
    let difference =
        largest_of(&range.net.projected).sum.max(largest_of(&range.gross.projected).sum);
    let not_examined = range.not_examined.clone();
    let spans = spans(name, totals, policy, new, range)?;
    let compared = totals.is_compared();
    let judged = |of: fn(&Measured) -> &Difference, threshold: fn(&Allowed) -> &BigRational| {
        worst(&spans, of, threshold, compared, sampled)
    };
    let net = judged(|measured| &measured.net, |allowed| &allowed.net);
    let gross = judged(|measured| &measured.gross, |allowed| &allowed.gross);
    let mut currencies = Vec::new();
    for (currency, money) in &totals.currencies {
        currencies.push(currency_money(currency, money)?);
    }
    let beyond = |of: fn(&Measured) -> &BigRational| {
        let beyond = spans.iter().filter(|span| {
            span.allowed.as_ref().is_some_and(|allowed| *of(&span.measured) > allowed.net)
        });
        beyond.map(|span| of(&span.measured)).max()
    };
    let shown = Cell {
        value: name.value.clone(),
        new,
        declared: new && thresholds.declares(&name.value),
        currencies,
        confidence: lower(net.as_ref(), gross.as_ref()),
        net,
        gross,
        not_examined: not_examined.whole.then(|| money::text(&not_examined.sum)),
        exchanges_differing: totals.exchanges_differing,
        entries_primary: totals.entries_primary,
        entries_shadow: totals.entries_shadow,
    };
    Ok(JudgedCell {
        name: name.clone(),
        gated: policy.gates_cell(name),
        not_examined_beyond: beyond(|measured| &measured.not_examined.sum).is_some(),
        compared,
        control_beyond: beyond(|measured| &measured.control.sum).map(money::text),
        allowed: spans.first().and_then(|span| span.allowed.clone()),
        shown,
        difference,
    })
}

/// Returns what is judged: the range, or each of its days.
fn spans(
    name: &CellName,
    totals: &CellTotals,
    policy: &Policy,
    new: bool,
    range: Measured,
) -> Result<Vec<Span>, Overflow> {
    let thresholds = policy.thresholds(name.dimension);
    let span = |day, measured: Measured| {
        let allowed = thresholds.allowed(&name.value, new, &measured.primary.sum);
        let known = measured.primary.whole || new || !thresholds.is_relative(&name.value);
        Span { day, measured, allowed, known }
    };
    if !thresholds.is_daily(&name.value) || totals.days.is_empty() {
        return Ok(vec![span(None, range)]);
    }
    let mut spans = Vec::new();
    for (day, books) in &totals.days {
        spans.push(span(Some(*day), Measured::of(books, &policy.rates)?));
    }
    let undated = undated(totals)?;
    if !undated.is_empty() {
        spans.push(span(None, Measured::of(&undated, &policy.rates)?));
    }
    Ok(spans)
}

/// Returns the money that was not examined of which the day is not known: it may all have been on one.
fn undated(totals: &CellTotals) -> Result<ByCurrency, Overflow> {
    let mut undated = ByCurrency::new();
    for (currency, range) in &totals.currencies {
        let mut not_examined = range.not_examined;
        for of_day in totals.days.values().filter_map(|day| day.get(currency)) {
            not_examined = not_examined.minus(of_day.not_examined)?;
        }
        if !not_examined.is_zero() {
            undated.insert(currency.clone(), CurrencyTotals { not_examined, ..<_>::default() });
        }
    }
    Ok(undated)
}

/// Judges every span and returns the worst. One that cannot be judged leaves nothing but another's breach to say.
fn worst(
    spans: &[Span],
    of: fn(&Measured) -> &Difference,
    threshold: fn(&Allowed) -> &BigRational,
    compared: bool,
    sampled: bool,
) -> Option<Judged> {
    let mut worst: Option<(BigRational, BigRational, Judged)> = None;
    let mut all = true;
    for span in spans {
        let threshold = span.allowed.as_ref().map(threshold);
        let difference = of(&span.measured);
        let found = span.known.then(|| judged(difference, threshold, compared, sampled)).flatten();
        let Some(mut found) = found else {
            all = false;
            continue;
        };
        found.day = span.day.map(civil_day);
        let (size, limit) =
            (decisive(difference), threshold.cloned().unwrap_or_else(BigRational::zero));
        // Farther beyond its threshold, without dividing by one of zero; among equals the larger difference, then the earlier day.
        let is_worse = worst.as_ref().is_none_or(|(other, its_limit, _)| {
            (&size * its_limit, &size) > (other * &limit, other)
        });
        if is_worse {
            worst = Some((size, limit, found));
        }
    }
    worst.map(|(.., judged)| judged).filter(|judged| all || judged.breached)
}

/// Returns the UTC day that begins so many days after 1970 did.
fn civil_day(day: i64) -> Date {
    date(1970, 1, 1).saturating_add(day.days())
}

/// Returns what decides: the largest measure of what was observed and of what that stands for.
fn decisive(difference: &Difference) -> BigRational {
    largest_of(&difference.observed).sum.max(largest_of(&difference.projected).sum)
}

/// Judges a difference. What has no rate could only add to it, so a breach without it is a breach.
fn judged(
    difference: &Difference,
    threshold: Option<&BigRational>,
    compared: bool,
    sampled: bool,
) -> Option<Judged> {
    let largest = largest_of(&difference.projected);
    let size = decisive(difference);
    let is_beyond = |size: &BigRational| threshold.is_some_and(|threshold| size > threshold);
    let breached = is_beyond(&size);
    if !largest.whole && !breached {
        return None;
    }
    let mut measures = MEASURES.into_iter().zip(&difference.projected);
    let worst = measures.find(|(_, measure)| measure.sum == largest.sum);
    let texts = |measures: &measured::Measures| measures.each_ref().map(|of| money::text(&of.sum));
    let [debit, credit, balance] = texts(&difference.projected);
    let observed = || {
        let breached = is_beyond(&largest_of(&difference.observed).sum);
        let [debit, credit, balance] = texts(&difference.observed);
        Observed { debit, credit, balance, breached }
    };
    Some(Judged {
        debit,
        credit,
        balance,
        worst: worst.map_or(Measure::Debit, |(measure, _)| measure),
        threshold: threshold.map(money::text),
        confidence: threshold.filter(|_| compared).map(|threshold| confidence(&size, threshold)),
        breached,
        day: None,
        observed: sampled.then(observed),
    })
}

/// Returns the lower confidence; where one of the two cannot be judged, only a breach of the other says anything.
fn lower(net: Option<&Judged>, gross: Option<&Judged>) -> Option<u8> {
    match (net, gross) {
        (Some(net), Some(gross)) => net.confidence.min(gross.confidence),
        (one, other) => {
            one.or(other).filter(|judged| judged.breached).and_then(|judged| judged.confidence)
        }
    }
}

fn currency_money(currency: &str, money: &CurrencyTotals) -> Result<CurrencyMoney, Overflow> {
    let [debit, credit, balance] = net_difference(money)?;
    let sides = |primary, shadow, difference, gross| Sides {
        primary: format_units(primary),
        shadow: format_units(shadow),
        difference: format_units(difference),
        gross: format_units(gross),
    };
    let (primary, shadow, gross) = (money.primary, money.shadow, money.gross);
    Ok(CurrencyMoney {
        currency: currency.into(),
        debit: sides(primary.debit, shadow.debit, debit, gross.debit),
        credit: sides(primary.credit, shadow.credit, credit, gross.credit),
        balance: sides(primary.balance()?, shadow.balance()?, balance, gross.balance),
        expected: expected(money)?,
        not_examined_debit: format_units(money.not_examined.debit),
        not_examined_credit: format_units(money.not_examined.credit),
    })
}

/// Returns what of a difference was declared; none where nothing was.
fn expected(money: &CurrencyTotals) -> Result<Option<ExpectedMoney>, Overflow> {
    let Declared { net, gross } = money.declared;
    if money.declared == Declared::default() {
        return Ok(None);
    }
    Ok(Some(ExpectedMoney {
        debit: format_units(net.debit),
        credit: format_units(net.credit),
        balance: format_units(net.balance()?),
        gross: [gross.debit, gross.credit, gross.balance].map(format_units),
    }))
}
