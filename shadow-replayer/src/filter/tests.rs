use super::*;
use crate::compare::tests::{booked, mapping, recorded};
use crate::run::{Evidence, RunId, Settings, State};

fn run() -> Run {
    let at = jiff::Timestamp::UNIX_EPOCH;
    Run {
        id: RunId::fresh(),
        service: "books".into(),
        candidate_build: "rc".into(),
        candidate_url: "http://rc".into(),
        from: at,
        to: at,
        state: State::Planned,
        failure: None,
        created_at: at,
        finished_at: None,
        evidence: Evidence::default(),
        settings: Settings::default(),
    }
}

fn filter(change: impl FnOnce(&mut Selection)) -> Filter {
    let mut selection = Selection::default();
    change(&mut selection);
    let settings = Settings { selection, ..Settings::default() };
    let evidence = Evidence { primary_build: Some("1".into()), ..Evidence::default() };
    Filter::of(&Run { evidence, settings, ..run() }).unwrap()
}

fn why(filter: &Filter, exchange: &Exchange) -> String {
    match filter.judge(exchange, &mapping()).1 {
        None => "replayed".into(),
        Some(LeftOut::NotDrawn) => NOT_DRAWN.into(),
        Some(LeftOut::Filtered(why)) => why,
    }
}

#[test]
fn nothing_asked_leaves_nothing_out_but_other_builds() {
    let everything = filter(|_| ());
    assert_eq!(everything.judge(&recorded(200, ""), &mapping()), (PI_ONE, None));
    let other = Exchange { build: "2".into(), ..recorded(200, "") };
    assert_eq!(why(&everything, &other), "recorded from build 2");
}

#[test]
fn routes_strata_and_lines_of_business_choose() {
    let exchange = recorded(200, &booked("Eats"));
    for (routes, expect) in [
        (vec!["GET /**", "POST /trips/*"], "replayed"),
        (vec!["POST /trips/8"], "of no route that was asked for"),
    ] {
        let routes = routes.into_iter().map(Into::into).collect();
        assert_eq!(why(&filter(|asked| asked.routes = routes), &exchange), expect);
    }
    for (stratum, expect) in [("all", "replayed"), ("x", "of no stratum that was asked for")] {
        let filter = filter(|asked| asked.strata = vec![stratum.into()]);
        assert_eq!(why(&filter, &exchange), expect);
    }
    let elsewhere = "booked in no line of business that was asked for";
    for (lob, expect) in [("Eats", "replayed"), ("Rides", "replayed"), ("Freight", elsewhere)] {
        let filter = filter(|asked| asked.lines_of_business = vec![lob.into()]);
        assert_eq!(why(&filter, &exchange), expect);
    }
}

#[test]
fn what_cannot_be_read_may_be_of_every_line_of_business() {
    let freight = filter(|asked| asked.lines_of_business = vec!["Freight".into()]);
    assert_eq!(why(&freight, &recorded(200, "no JSON")), "replayed");
    assert_ne!(why(&freight, &recorded(500, "")), "replayed", "it booked nothing");
}

#[test]
fn upgrades_and_endless_streams_are_left_out() {
    let everything = filter(|_| ());
    let mut stream = recorded(200, "");
    let fields = &mut stream.response.as_mut().unwrap().headers;
    fields.push(("Content-Type".into(), "text/Event-Stream; charset=utf-8".into()));
    assert!(why(&everything, &stream).starts_with("an answer without an end"));
    let mut socket = recorded(101, "");
    assert!(why(&everything, &socket).starts_with("an upgraded connection"));
    socket.response = None;
    socket.request.headers.push(("Sec-WebSocket-Key".into(), "x".into()));
    assert!(why(&everything, &socket).starts_with("an upgraded connection"));
    let mut cut = Exchange { end: End::ClientAborted, ..recorded(200, "") };
    assert_eq!(why(&everything, &cut), "replayed", "what it booked others build on");
    cut.request.method = "GET".into();
    assert!(why(&everything, &cut).starts_with("production's answer was cut"));
}

#[test]
fn a_sub_sample_is_nested_keeps_units_together_and_multiplies_its_share() {
    let share = |share: &str| filter(|asked| asked.sample = Some(share.into()));
    let (tenth, half) = (share("0.1"), share("0.5"));
    let trace = |n: u32| Exchange { trace_id: format!("{n:032x}"), ..recorded(200, "") };
    let drawn =
        |filter: &Filter, exchange: &Exchange| filter.judge(exchange, &mapping()).1.is_none();
    let count = |filter: &Filter| (0..2_000).filter(|n| drawn(filter, &trace(*n))).count();
    assert!((140..260).contains(&count(&tenth)), "{}", count(&tenth));
    assert!((900..1_100).contains(&count(&half)), "{}", count(&half));
    assert!((0..2_000).all(|n| drawn(&half, &trace(n)) || !drawn(&tenth, &trace(n))));
    assert_eq!(half.judge(&trace(drawn_by(&half)), &mapping()), (PI_ONE / 2, None));
    for key in ["a", "b", "c", "d"] {
        let of_key = |n| Exchange { order_key: Some(key.into()), ..trace(n) };
        let first = drawn(&half, &of_key(0));
        assert!((1..50).all(|n| drawn(&half, &of_key(n)) == first), "{key} stays together");
    }
}

fn drawn_by(filter: &Filter) -> u32 {
    let trace = |n: u32| Exchange { trace_id: format!("{n:032x}"), ..recorded(200, "") };
    (0..100).find(|n| filter.judge(&trace(*n), &mapping()).1.is_none()).unwrap()
}

#[test]
fn the_number_of_the_recording_draws_where_there_is_one() {
    let half = filter(|asked| asked.sample = Some("0.5".into()));
    let mut exchange = recorded(200, "");
    exchange.sample.pi = PI_ONE / 4;
    for (draw, expect) in [(1, None), (PI_ONE / 8, Some(LeftOut::NotDrawn))] {
        exchange.sample.draw = draw;
        assert_eq!(half.judge(&exchange, &mapping()), (PI_ONE / 8, expect));
    }
    exchange.sample.pi = 1;
    exchange.sample.draw = 0;
    let tiny = filter(|asked| asked.sample = Some("0.999999999999999".into()));
    assert_eq!(tiny.judge(&exchange, &mapping()).0, 1, "a chance is never zero");
}
