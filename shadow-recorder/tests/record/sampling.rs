//! Which exchanges a running recorder keeps, and what it knows of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use http::Request;
use http_body_util::Full;
use shadow_recorder::amount::{Amount, UNITS};
use shadow_recorder::census::{Cell, Census};
use shadow_recorder::exchange::{PI_ONE, Unit, header};

use crate::harness::*;

const EXCHANGES: u64 = 400;
const LEDGER: &str = r#"
[[ledger]]
route = "POST /**"
transactions = "$"
entries = "$.entries[*]"
line_of_business = "$.lob"
gl_account = "$.account"
currency = "$.currency"
debit = { path = "$.debit", optional = true }
credit = { path = "$.credit", optional = true }
"#;
const STRATA: &str = r#"
[[stratum]]
name = "health"
route = "GET /health"
rate = "0.000001"
[[stratum]]
name = "freight"
line_of_business = "Freight"
rate = "1"
[[stratum]]
name = "large"
route = "POST /pay"
rate = "0.05"
interval = 100
"#;

/// What is asked of the service: its line of business, the route and the amount.
fn asked(n: u64) -> (&'static str, &'static str, u64) {
    match n % 20 {
        0 => ("Freight", "/ride", n),
        1..=5 => ("Payments", "/pay", n),
        _ => ("Rides", "/ride", n % 7),
    }
}

/// A service that books what it is asked to.
async fn origin() -> SocketAddr {
    server(async |request| {
        let of = |name: &str| request.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
        let (Some(lob), Some(amount)) = (of("x-lob"), of("x-amount")) else { return text("ok") };
        text(format!(
            r#"{{"entries":[{{"lob":"{lob}","account":"1000","currency":"USD","debit":{amount}.50}},
               {{"lob":"{lob}","account":"4000","currency":"USD","credit":{amount}.50}}]}}"#
        ))
    })
    .await
}

async fn run(sidecar: &Sidecar) {
    for n in 0..EXCHANGES {
        let (lob, target, amount) = asked(n);
        let request = Request::post(format!("{target}?trip={}", n / 4))
            .header("x-lob", lob)
            .header("x-amount", amount.to_string())
            .header("x-number", n.to_string())
            .body(Full::default());
        send(sidecar.clients, request.unwrap()).await;
        if n % 10 == 0 {
            send(sidecar.clients, get("/health")).await;
        }
    }
}

/// The numbers of what was recorded.
fn numbers(stored: &Stored) -> BTreeSet<u64> {
    let number = |headers| header(headers, "x-number").map(|n| n.parse().unwrap());
    stored.exchanges.iter().filter_map(|exchange| number(&exchange.request.headers)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_stratum_has_its_chance_and_the_census_has_all_money() {
    let folder = tempfile::tempdir().unwrap();
    let rules = format!(
        "sampling_rate = \"0.3\"\nsampling_key = \"k\"\ncensus = true\nsize = {{ currency = \"USD\" }}\n\
         segment_bytes_max = 4000\n{STRATA}{LEDGER}"
    );
    let sidecar = Sidecar::start(folder.path(), origin().await, &[], &rules).await;
    run(&sidecar).await;
    let stored = sidecar.stop().await;

    let tally = &stored.tally;
    assert_eq!(tally.observed, EXCHANGES + EXCHANGES / 10);
    assert_eq!(tally.observed, tally.recorded + tally.sampled_out);
    let mut strata: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for manifest in &stored.manifests {
        for (stratum, tally) in &manifest.strata {
            let sums = strata.entry(stratum).or_default();
            (sums.0, sums.1) = (sums.0 + tally.observed, sums.1 + tally.recorded);
        }
    }
    let observed = strata.iter().map(|(name, (observed, _))| (*name, *observed)).collect();
    // What the head decides is of its stratum; nothing is undecided, because a census looks at every answer.
    let expect = [("freight", 20), ("health", 40), ("large", 100), ("rest", 280), ("undecided", 0)];
    assert_eq!(BTreeMap::from(expect), observed);
    assert_eq!((strata["freight"].1, strata["health"].1), (20, 0));
    // Five standard deviations.
    assert!(strata["rest"].1.abs_diff(84) < 39, "{strata:?}");
    for exchange in &stored.exchanges {
        let sample = &exchange.sample;
        assert!(sample.draw < sample.pi && sample.unit == Unit::Trace);
        let number: u64 = header(&exchange.request.headers, "x-number").unwrap().parse().unwrap();
        let (lob, _, amount) = asked(number);
        let pi = match lob {
            "Freight" => PI_ONE,
            "Rides" => PI_ONE / 10 * 3 + 1,
            _ if amount >= 100 => PI_ONE,
            // 5 % at the least, and the share of 100 that its money is.
            _ => (PI_ONE / 20).max((amount * 10 + 5) * (PI_ONE / 1000)),
        };
        assert!(sample.pi.abs_diff(pi) < 4000, "{number}: {} {pi}", sample.pi);
        let size = sample.size.map(Amount::units);
        let money = i128::from(amount) * UNITS + UNITS / 2;
        assert_eq!(size, (lob == "Payments").then_some(money));
    }

    let mut census = Census::default();
    for manifest in &stored.manifests {
        census.add(manifest.census.as_ref().unwrap());
    }
    assert!(stored.manifests.len() > 1, "each segment has its own");
    // /health is no route of the mapping.
    assert_eq!((census.exchanges, census.unread), (440, 40));
    for lob in ["Freight", "Payments", "Rides"] {
        let of: Vec<u64> = (0..EXCHANGES).map(asked).filter(|a| a.0 == lob).map(|a| a.2).collect();
        let (count, sum) = (of.len() as u64, of.iter().sum::<u64>());
        let units = i128::from(sum) * UNITS + i128::from(count) * UNITS / 2;
        let sums = |account: &str| {
            let cell = Cell {
                line_of_business: Some(lob.into()),
                gl_account: Some(account.into()),
                currency: "USD".into(),
            };
            census.cells[&cell]
        };
        let (debits, credits) = (sums("1000"), sums("4000"));
        assert_eq!((debits.debit_entries, debits.debit_units), (count, units), "{lob}");
        assert_eq!((credits.credit_entries, credits.credit_units), (count, units), "{lob}");
        assert_eq!((debits.credit_entries, credits.debit_entries), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_is_not_copied_and_more_is_kept_where_the_rate_is_higher() {
    let kept = async |rules: &str| {
        let folder = tempfile::tempdir().unwrap();
        let rules = format!(
            "sampling_key = \"k\"\nsampling_unit = \"order_key\"\norder_key = {{ query = \"trip\" }}\n{rules}"
        );
        let sidecar = Sidecar::start(folder.path(), origin().await, &[], &rules).await;
        run(&sidecar).await;
        sidecar.stop().await
    };
    let freight =
        "\n[[stratum]]\nname = \"freight\"\nline_of_business = \"Freight\"\nrate = \"0.4\"\n";
    let few = kept(&format!("sampling_rate = \"0.1\"\n{freight}{LEDGER}")).await;
    let more = kept("sampling_rate = \"0.4\"").await;
    let (few_numbers, more_numbers) = (numbers(&few), numbers(&more));
    assert!(few_numbers.is_subset(&more_numbers) && few_numbers.len() < more_numbers.len());
    // Of Freight both keep the same.
    let freights = |numbers: &BTreeSet<u64>| {
        numbers.iter().copied().filter(|n| asked(*n).0 == "Freight").collect::<Vec<_>>()
    };
    assert_eq!(freights(&few_numbers), freights(&more_numbers));
    assert!(!freights(&few_numbers).is_empty());
    // All exchanges of an order key, or none.
    for n in &more_numbers {
        assert!((0..4).all(|place| more_numbers.contains(&(n / 4 * 4 + place))), "{n}");
    }
    for exchange in more.exchanges.iter().filter(|exchange| exchange.order_key.is_some()) {
        let number: u64 = header(&exchange.request.headers, "x-number").unwrap().parse().unwrap();
        assert_eq!(exchange.order_key.as_deref(), Some(&*(number / 4).to_string()));
        assert_eq!(exchange.sample.unit, Unit::OrderKey);
    }
    // The head leaves out what no answer could save; the answer the rest of it.
    let strata = few.manifests.iter().map(|manifest| manifest.strata["undecided"].sampled_out);
    let undecided: u64 = strata.sum();
    let rest: u64 = few.manifests.iter().map(|manifest| manifest.strata["rest"].sampled_out).sum();
    assert!(undecided > 0 && rest > 0, "{undecided} {rest}");
    assert!(few.text.contains(r#""rule":"order_key""#) && !few.text.contains("\"k\""));
}
