//! One cell judged: pure, exact, and rounded only where it is shown.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::ToPrimitive;
use shadow_recorder::amount::format_units;

use crate::money::{self, Converted, Rates};
use crate::policy::{Allowed, Thresholds};
use crate::totals::{CellTotals, CurrencyTotals, Overflow};
use crate::verdict::{Cell, CellName, CurrencyMoney, Judged, Measure, Sides};

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

/// Returns 100 within the threshold, else 100 · threshold / difference, rounded down.
pub(crate) fn confidence(difference: &BigRational, threshold: &BigRational) -> u8 {
    if difference <= threshold {
        return 100;
    }
    // The difference is above the threshold and so above zero; the quotient is below 100.
    let score = (threshold * BigInt::from(100) / difference).floor().to_integer();
    score.to_u8().unwrap_or(0)
}

/// Judges a cell.
pub(crate) fn judge(
    name: &CellName,
    totals: &CellTotals,
    thresholds: &Thresholds,
    rates: &Rates,
) -> Result<JudgedCell, Overflow> {
    let new = totals.entries_primary == 0;
    let primary = largest_of(&converted(totals, rates, |money| {
        Ok([money.primary.debit, money.primary.credit, 0])
    })?);
    let allowed = thresholds.allowed(&name.value, new, &primary.sum);
    let net = converted(totals, rates, net_difference)?;
    let gross = converted(totals, rates, |money| {
        Ok([money.gross.debit, money.gross.credit, money.gross.balance])
    })?;
    let not_examined = largest_of(&converted(totals, rates, |money| {
        Ok([money.not_examined.debit, money.not_examined.credit, 0])
    })?);
    let control = largest_of(&converted(totals, rates, |money| {
        Ok([money.control.debit, money.control.credit, money.control.balance()?])
    })?);
    let compared = totals.is_compared();
    // A share of a total that lacks a currency is too small a threshold to breach.
    let known = primary.whole || new || !thresholds.is_relative(&name.value);
    let judged = |measures, threshold: fn(&Allowed) -> &BigRational| {
        known.then(|| judged(measures, allowed.as_ref().map(threshold), compared)).flatten()
    };
    let (net_judged, gross_judged) = (judged(&net, |a| &a.net), judged(&gross, |a| &a.gross));
    let mut currencies = Vec::new();
    for (currency, money) in &totals.currencies {
        currencies.push(currency_money(currency, money)?);
    }
    let shown = Cell {
        value: name.value.clone(),
        new,
        declared: new && thresholds.declares(&name.value),
        currencies,
        confidence: lower(net_judged.as_ref(), gross_judged.as_ref()),
        net: net_judged,
        gross: gross_judged,
        not_examined: not_examined.whole.then(|| money::text(&not_examined.sum)),
        exchanges_differing: totals.exchanges_differing,
        entries_primary: totals.entries_primary,
        entries_shadow: totals.entries_shadow,
    };
    Ok(JudgedCell {
        name: name.clone(),
        gated: thresholds.gate,
        not_examined_beyond: allowed.as_ref().is_some_and(|allowed| not_examined.sum > allowed.net),
        compared,
        control_beyond: allowed
            .as_ref()
            .is_some_and(|allowed| control.sum > allowed.net)
            .then(|| money::text(&control.sum)),
        allowed,
        shown,
        difference: largest_of(&net).sum.max(largest_of(&gross).sum),
    })
}

fn net_difference(money: &CurrencyTotals) -> Result<[i128; 3], Overflow> {
    let difference = money.shadow.minus(money.primary)?;
    Ok([difference.debit, difference.credit, difference.balance()?])
}

/// Converts the three measures, each over all currencies.
fn converted(
    totals: &CellTotals,
    rates: &Rates,
    measures: impl Fn(&CurrencyTotals) -> Result<[i128; 3], Overflow>,
) -> Result<[Converted; 3], Overflow> {
    let mut per_currency = Vec::new();
    for (currency, money) in &totals.currencies {
        per_currency.push((&**currency, measures(money)?));
    }
    Ok([0, 1, 2].map(|measure| {
        rates.convert(per_currency.iter().map(|(currency, units)| (*currency, units[measure])))
    }))
}

/// Returns the largest measure; it is whole where all are.
fn largest_of(measures: &[Converted; 3]) -> Converted {
    let sum = measures.iter().map(|measure| &measure.sum).max().expect("there are three").clone();
    Converted { sum, whole: measures.iter().all(|measure| measure.whole) }
}

/// Judges converted measures. What has no rate could only add to a difference, so a breach without it is a breach.
fn judged(
    measures: &[Converted; 3],
    threshold: Option<&BigRational>,
    compared: bool,
) -> Option<Judged> {
    let largest = largest_of(measures);
    let breached = threshold.is_some_and(|threshold| largest.sum > *threshold);
    if !largest.whole && !breached {
        return None;
    }
    let worst = MEASURES.into_iter().zip(measures).find(|(_, measure)| measure.sum == largest.sum);
    let [debit, credit, balance] = measures.each_ref().map(|measure| money::text(&measure.sum));
    Some(Judged {
        debit,
        credit,
        balance,
        worst: worst.map_or(Measure::Debit, |(measure, _)| measure),
        threshold: threshold.map(money::text),
        confidence: threshold
            .filter(|_| compared)
            .map(|threshold| confidence(&largest.sum, threshold)),
        breached,
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
        not_examined_debit: format_units(money.not_examined.debit),
        not_examined_credit: format_units(money.not_examined.credit),
    })
}
