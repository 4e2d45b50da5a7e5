use super::*;
use shadow_recorder::config::Document;
use shadow_recorder::exchange::{Body, ExchangeId, Response, Sample};

use crate::matching::Miss;

pub(crate) fn mapping() -> Mapping {
    mapping_with("")
}

fn mapping_with(further: &str) -> Mapping {
    let toml = "[[ledger]]\nroute = \"POST /trips/*\"\ntransactions = \"$.t[*]\"\nentries = \"$.e[*]\"\n\
                line_of_business = \"$.lob\"\ngl_account = \"$.gl\"\ncurrency = { value = \"USD\" }\n\
                debit = \"$.d\"\ncredit = \"$.c\"\n";
    let toml = format!("{toml}{further}");
    let document = Document::parse(std::path::Path::new("shadow.toml"), &toml, |_| None).unwrap();
    let mapping = shadow_recorder::ledger::config::mapping(&document, &[]);
    document.finish().unwrap();
    mapping
}

fn response(status: u16, body: &str) -> Response {
    Response { status, headers: vec![], body: Body::of_text(body), trailers: vec![] }
}

pub(crate) fn booked(lob: &str) -> String {
    format!(
        r#"{{"t":[{{"e":[{{"lob":"{lob}","gl":"1","d":5,"c":0}},{{"lob":"Rides","gl":"2","d":0,"c":5}}]}}]}}"#
    )
}

fn call() -> UpstreamCall {
    let request = recorded(200, "").request;
    UpstreamCall {
        name: "fx".into(),
        offset_us: 1,
        duration_us: 1,
        request,
        response: None,
        end: End::Complete,
    }
}

pub(crate) fn recorded(status: u16, body: &str) -> Exchange {
    Exchange {
        id: ExchangeId("x".into()),
        trace_id: String::new(),
        received_at: jiff::Timestamp::UNIX_EPOCH,
        sequence: 1,
        duration_us: 10,
        service: "ledger".into(),
        build: "1".into(),
        order_key: None,
        request: Request {
            method: "POST".into(),
            target: "/trips/7".into(),
            version: "HTTP/1.1".into(),
            headers: vec![],
            body: Body::default(),
            trailers: vec![],
            principal: None,
        },
        response: Some(response(status, body)),
        end: End::Complete,
        upstream: vec![],
        sample: Sample::everything(),
    }
}

fn answered(status: u16, body: &str) -> Answer {
    Answer {
        id: ExchangeId("x".into()),
        duration_us: 20,
        response: Some(response(status, body)),
        failure: None,
        calls: vec![],
        misses: vec![],
        hits: 0,
        unused: 0,
        not_made: vec![],
        assumed: 0,
        own_upstreams: false,
    }
}

fn check(recorded: &Exchange, answer: &Answer, outcome: Outcome, reason: &str) -> ExchangeRow {
    let row = compare(recorded, answer, &mapping(), &structure::Rules::default());
    assert_eq!(row.outcome, outcome, "{:?}", row.reason);
    let given =
        format!("{} {}", row.reason.as_deref().unwrap_or(""), row.detail.as_deref().unwrap_or(""));
    let given = given.trim();
    assert!(given.contains(reason) && reason.is_empty() == given.is_empty(), "{given}");
    row
}

fn kinds(row: &ExchangeRow) -> Vec<Option<Kind>> {
    row.entries.iter().map(|entry| entry.kind).collect()
}

#[test]
fn the_same_booking_matches_and_another_differs() {
    let production = recorded(200, &booked("Rides"));
    let row = check(&production, &answered(201, &booked("Rides")), Outcome::Matched, "");
    assert_eq!((kinds(&row), &*row.route), (vec![None, None], "POST /trips/*"));
    let row = check(&production, &answered(200, &booked("Eats")), Outcome::Different, "");
    assert!(row.transactions.unwrap().1.contains("Eats"));
}

#[test]
fn a_candidate_that_fails_where_production_succeeded_has_booked_nothing() {
    let production = recorded(200, &booked("Rides"));
    let no_answer = Answer {
        failure: Some(Failure::Candidate("timed out".into())),
        response: None,
        ..answered(0, "")
    };
    for (answer, why) in [
        (answered(500, "oops"), "status 500"),
        (answered(200, "<html>"), "not JSON"),
        (answered(302, ""), "not mapped"),
        (no_answer, "timed out"),
    ] {
        let row = check(&production, &answer, Outcome::Errored, why);
        assert_eq!(
            (kinds(&row), row.blame),
            (vec![Some(Kind::Missing); 2], Some(Blame::Candidate))
        );
    }
}

#[test]
fn both_failing_is_the_same() {
    let production = recorded(422, "{}");
    check(&production, &answered(422, "{}"), Outcome::Matched, "");
    check(&production, &answered(500, ""), Outcome::Matched, "");
    let row = check(&production, &answered(200, &booked("Rides")), Outcome::Different, "");
    assert_eq!(kinds(&row), [Some(Kind::Extra); 2]);
    // It may have booked anything.
    check(&production, &answered(201, "<html>"), Outcome::Errored, "cannot be read");
}

#[test]
fn what_may_not_be_the_candidates_doing_is_unverified_and_its_money_not_examined() {
    let production = recorded(200, &booked("Rides"));
    let miss = Miss {
        upstream: "fx".into(),
        call: "GET /r".into(),
        differs: "d".into(),
        ..Miss::default()
    };
    let missed = Answer { misses: vec![miss], ..answered(500, "") };
    let not_sent = Answer::not_sent(ExchangeId("x".into()), 0, "the body was not recorded".into());
    let with_call = Exchange { upstream: vec![call()], ..production.clone() };
    for (production, answer, why) in [
        (&production, missed, "upstream fx that was not recorded GET /r: d"),
        (&production, not_sent, "the body was not recorded"),
        (&production, answered(401, ""), "refused the credentials"),
        (&with_call, answered(200, &booked("Rides")), "not recomputed"),
    ] {
        let row = check(production, &answer, Outcome::Unverified, why);
        assert_eq!((kinds(&row), row.money_known), (vec![Some(Kind::NotExamined); 2], true));
    }
}

#[test]
fn production_that_cannot_be_read_is_unknown_money() {
    let unmapped = Exchange {
        request: Request { method: "GET".into(), ..recorded(200, "").request },
        ..recorded(200, "{}")
    };
    let aborted = Exchange { end: End::ClientAborted, ..recorded(200, &booked("Rides")) };
    let unanswered = Exchange { response: None, ..recorded(200, "") };
    for (production, why) in [
        (unmapped, "no [[ledger]] for GET /trips/7"),
        (recorded(200, "text"), "answer: the body is not JSON"),
        (aborted, "the client went away"),
        (unanswered, "was not recorded"),
    ] {
        let row = check(&production, &answered(200, &booked("Rides")), Outcome::Unverified, why);
        assert!(!row.money_known && row.entries.is_empty());
    }
}

#[test]
fn a_filtered_exchange_shows_its_money() {
    let row = filtered(&recorded(200, &booked("Rides")), &mapping(), "build 0".into());
    assert_eq!((row.outcome, kinds(&row)), (Outcome::Filtered, vec![Some(Kind::NotExamined); 2]));
}

#[test]
fn a_mapped_field_of_another_type_is_named_though_it_reads_the_same() {
    let production = recorded(200, &booked("Rides"));
    let texts = booked("Rides").replace(r#""d":5"#, r#""d":"5""#);
    let rules = structure::Rules::new(vec![], vec![], vec![], &mapping());
    let row = compare(&production, &answered(200, &texts), &mapping(), &rules);
    assert_eq!(row.outcome, Outcome::Matched);
    let [found] = &*row.structure else { panic!("{:?}", row.structure) };
    assert_eq!(
        (found.place.word(), &*found.path, found.change.word()),
        ("ledger", "$.t[*].e[*].d", "type")
    );
    let types = (found.primary.as_deref(), found.shadow.as_deref());
    assert_eq!(types, (Some("number"), Some("number, text")));
}

#[test]
fn transactions_that_do_not_balance_are_counted_on_either_side() {
    let lame = booked("Rides").replace(r#""d":5"#, r#""d":4"#);
    let counts = |production: &str, shadow: Answer| {
        let row =
            compare(&recorded(200, production), &shadow, &mapping(), &structure::Rules::default());
        (row.primary_unbalanced, row.shadow_unbalanced, row.newly_unbalanced)
    };
    let balanced = booked("Rides");
    assert_eq!(counts(&balanced, answered(200, &balanced)), (0, 0, 0));
    assert_eq!(counts(&balanced, answered(200, &lame)), (0, 1, 1));
    assert_eq!(counts(&lame, answered(200, &balanced)), (1, 0, 0));
    assert_eq!(counts(&lame, answered(200, &lame)), (1, 1, 0));
    assert_eq!(counts(&lame, answered(500, "")), (1, 0, 0));
}

#[test]
fn a_name_that_is_there_twice_is_counted_under_the_words_of_the_unparseable() {
    let twice = booked("Rides").replace(r#""d":5"#, r#""d":5,"d":6"#);
    let production = recorded(200, &booked("Rides"));
    check(
        &production,
        &answered(200, &twice),
        Outcome::Errored,
        "cannot be read answer: `$.t[0].e[0].d`",
    );
    let row = check(
        &recorded(200, &twice),
        &answered(200, &twice),
        Outcome::Unverified,
        "production's answer cannot be read",
    );
    assert!(!row.money_known);
}

#[test]
fn a_field_beside_money_is_a_difference_and_no_other_money() {
    let mapping = mapping_with("fields = { memo = \"$.memo\" }\n");
    let with = |memo: &str| booked("Rides").replace(r#""gl""#, &format!(r#""memo":"{memo}","gl""#));
    let production = recorded(200, &with("a"));
    let (same, other) = (answered(200, &with("a")), answered(200, &with("b")));
    let row = compare(&production, &other, &mapping, &structure::Rules::default());
    assert_eq!(
        (row.outcome, &*kinds(&row)),
        (Outcome::Different, &[Some(Kind::FieldChanged); 4][..])
    );
    // What a candidate is asked twice for, or with a raised amount, is its money.
    assert_eq!(
        super::booked(&production, &same, &mapping),
        super::booked(&production, &other, &mapping)
    );
}
