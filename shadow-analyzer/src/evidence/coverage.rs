//! Which of production's scenarios were compared, and how much of its money.

use std::cmp::Reverse;

use num_rational::BigRational;
use num_traits::Zero;

use crate::money::{self, Rates};
use crate::number::share;
use crate::totals::{ScenarioName, ScenarioTotals, Scenarios};
use crate::verdict::{Coverage, SCENARIOS_MAX, Scenario};

/// A scenario with its money, compared and not, as far as it can be converted.
struct Sized<'s> {
    name: &'s ScenarioName,
    totals: &'s ScenarioTotals,
    compared: BigRational,
    all: BigRational,
    whole: bool,
}

/// Returns what was reached of the scenarios.
pub(crate) fn of(scenarios: &Scenarios, rates: &Rates) -> Coverage {
    let mut sized: Vec<Sized<'_>> =
        scenarios.iter().map(|(name, totals)| measured(name, totals, rates)).collect();
    let whole = sized.iter().all(|of| of.whole);
    let compared = sized.iter().fold(BigRational::zero(), |sum, of| sum + &of.compared);
    let all = sized.iter().fold(BigRational::zero(), |sum, of| sum + &of.all);
    // Money that has no rate orders the list by what else there is; among equals the names decide.
    sized.sort_by_cached_key(|of| (Reverse(of.all.clone()), of.name.clone()));
    let (reached, missed): (Vec<_>, Vec<_>) =
        sized.iter().partition(|of| of.totals.exchanges[0] > 0);
    let shown =
        |list: &[&Sized<'_>]| list.iter().take(SCENARIOS_MAX).map(|of| scenario(of)).collect();
    let beyond = |length: usize| length.saturating_sub(SCENARIOS_MAX) as u64;
    let text = |money: &BigRational| whole.then(|| money::text(money));
    Coverage {
        scenarios: sized.len() as u64,
        reached: reached.len() as u64,
        money: text(&all),
        money_compared: text(&compared),
        money_share: share(&compared, &all).filter(|_| whole),
        not_reached: shown(&missed),
        not_reached_left_out: beyond(missed.len()),
        compared: shown(&reached),
        compared_left_out: beyond(reached.len()),
    }
}

fn measured<'s>(name: &'s ScenarioName, totals: &'s ScenarioTotals, rates: &Rates) -> Sized<'s> {
    let mut parts = [BigRational::zero(), BigRational::zero()];
    let mut whole = true;
    for (part, sum) in parts.iter_mut().enumerate() {
        for (currency, money) in &totals.money {
            let sides = [money[part].debit, money[part].credit];
            let converted = rates.convert(sides.map(|units| (&**currency, units)));
            *sum += converted.sum;
            whole &= converted.whole;
        }
    }
    let [compared, other] = parts;
    Sized { name, totals, all: &compared + other, compared, whole }
}

fn scenario(of: &Sized<'_>) -> Scenario {
    let text = |money: &BigRational| of.whole.then(|| money::text(money));
    Scenario {
        line_of_business: of.name.line_of_business.clone(),
        gl_account: of.name.gl_account.clone(),
        route: of.name.route.clone(),
        exchanges: of.totals.exchanges.iter().sum(),
        exchanges_compared: of.totals.exchanges[0],
        money: text(&of.all),
        money_compared: text(&of.compared),
    }
}

#[cfg(test)]
mod tests {
    use shadow_recorder::amount::UNITS;

    use super::*;
    use crate::totals::Money;

    fn rates() -> Rates {
        Rates { reporting_currency: "USD".into(), ..Rates::default() }
    }

    fn add(scenarios: &mut Scenarios, route: &str, currency: &str, compared: bool, units: i128) {
        let name = ScenarioName {
            line_of_business: "rides".into(),
            gl_account: "fares".into(),
            route: route.into(),
        };
        let of = scenarios.entry(name).or_default();
        of.add(currency.into(), compared, Money { debit: units * UNITS, credit: 0 }).unwrap();
        of.exchanges[usize::from(!compared)] += 1;
    }

    #[test]
    fn what_is_not_reached_is_listed_with_its_money_the_largest_first() {
        let mut scenarios = Scenarios::new();
        add(&mut scenarios, "POST /trips", "USD", true, 60);
        add(&mut scenarios, "POST /trips", "USD", false, -15);
        add(&mut scenarios, "POST /tips", "USD", false, 5);
        add(&mut scenarios, "POST /fees", "USD", false, 20);
        let coverage = of(&scenarios, &rates());
        assert_eq!((coverage.scenarios, coverage.reached), (3, 1));
        assert_eq!(coverage.money.as_deref(), Some("100.00"), "money that offsets is money");
        assert_eq!(coverage.money_share.as_deref(), Some("0.60"));
        let missed: Vec<_> = coverage.not_reached.iter().map(|of| &*of.route).collect();
        assert_eq!(missed, ["POST /fees", "POST /tips"]);
        let trips = &coverage.compared[0];
        assert_eq!((trips.exchanges, trips.exchanges_compared), (2, 1));
        assert_eq!(trips.money_compared.as_deref(), Some("60.00"));
    }

    #[test]
    fn without_a_rate_there_is_no_share() {
        let mut scenarios = Scenarios::new();
        add(&mut scenarios, "POST /trips", "USD", true, 60);
        add(&mut scenarios, "POST /tips", "JPY", true, 5);
        let coverage = of(&scenarios, &rates());
        assert_eq!((coverage.money, coverage.money_share), (None, None));
        let of_route = |route| coverage.compared.iter().find(|of| of.route == route).unwrap();
        assert_eq!(of_route("POST /trips").money.as_deref(), Some("60.00"));
        assert_eq!(of_route("POST /tips").money, None);
    }

    #[test]
    fn long_lists_are_cut_and_counted() {
        let mut scenarios = Scenarios::new();
        for number in 0..SCENARIOS_MAX + 7 {
            add(&mut scenarios, &format!("POST /{number}"), "USD", false, 1);
        }
        let coverage = of(&scenarios, &rates());
        assert_eq!((coverage.not_reached.len(), coverage.not_reached_left_out), (SCENARIOS_MAX, 7));
        assert_eq!((coverage.reached, coverage.money_share.as_deref()), (0, Some("0.00")));
    }
}
