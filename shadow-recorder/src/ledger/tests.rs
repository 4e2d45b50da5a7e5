use super::*;
use crate::config::Document;
use crate::config::upstream::{Origin, Upstream};

fn sink(name: &str) -> Upstream {
    Upstream {
        name: name.into(),
        listen: None,
        hosts: vec![],
        ca_file: None,
        forward_to: Origin::parse("http://sink").unwrap(),
        sink: true,
        ambient_age_max: None,
        match_headers: vec![],
        volatile: vec![],
        business_key: None,
    }
}

fn mapping(toml: &str) -> Mapping {
    let document = Document::parse(std::path::Path::new("shadow.toml"), toml, |_| None).unwrap();
    let sinks: &[Upstream] = if toml.contains("sink =") { &[sink("gl")] } else { &[] };
    let mapping = config::mapping(&document, sinks);
    document.finish().unwrap();
    mapping
}

fn request(method: &str, target: &str, body: &str) -> Request {
    Request {
        method: method.into(),
        target: target.into(),
        version: "HTTP/1.1".into(),
        headers: vec![],
        body: Body::of_text(body),
        trailers: vec![],
        principal: None,
    }
}

fn read(mapping: &Mapping, status: u16, answer: &str) -> Reading {
    let body = Body::of_text(answer);
    mapping.read(&Answered {
        request: &request("POST", "/trips", ""),
        status,
        body: &body,
        calls: &[],
    })
}

fn entries(reading: Reading) -> Vec<String> {
    let Reading::Booked(transactions) = reading else { panic!("{reading:?}") };
    let show = |e: Entry| {
        format!("{} {} {} {} {}", e.line_of_business, e.gl_account, e.currency, e.debit, e.credit)
    };
    transactions.into_iter().flat_map(|t| t.entries).map(show).collect()
}

fn reason(reading: Reading) -> String {
    match reading {
        Reading::Unparseable(what) | Reading::Unmapped(what) => what,
        other => panic!("{other:?}"),
    }
}

const APART: &str = r#"
[[ledger]]
route = "POST /trips"
transactions = "$.transactions[*]"
entries = "$.lines[*]"
line_of_business = { path = "$.lob", from = "transaction" }
gl_account = "$.account"
currency = { path = "$.currency", from = "answer" }
debit = "$.debit"
credit = { path = "$.credit", optional = true }
"#;

#[test]
fn fields_of_answer_and_transaction_are_inherited() {
    let answer = r#"{"currency":"USD","transactions":[{"lob":"Rides","lines":[
        {"account":"1000","debit":9007199254740993.01},{"account":4000,"debit":"0","credit":1E2}]}]}"#;
    assert_eq!(
        entries(read(&mapping(APART), 201, answer)),
        ["Rides 1000 USD 9007199254740993.01 0.00", "Rides 4000 USD 0.00 100.00"]
    );
}

#[test]
fn absent_is_unparseable_and_empty_is_zero_entries() {
    let mapping = mapping(APART);
    assert_eq!(
        entries(read(&mapping, 200, r#"{"currency":"USD","transactions":[]}"#)),
        Vec::<String>::new()
    );
    assert_eq!(
        reason(read(&mapping, 200, r#"{"currency":"USD"}"#)),
        "answer: transactions: `$.transactions[*]` is absent"
    );
    let no_lines = r#"{"currency":"USD","transactions":[{"lob":"Rides"}]}"#;
    assert_eq!(
        reason(read(&mapping, 200, no_lines)),
        "answer: transaction 1: entries: `$.lines[*]` is absent"
    );
    let null = r#"{"currency":"USD","transactions":[{"lob":"Rides","lines":[{"account":"1","debit":null}]}]}"#;
    assert_eq!(
        reason(read(&mapping, 200, null)),
        "answer: transaction 1: entry 1: debit: `$.debit` is null"
    );
}

#[test]
fn what_is_not_exact_is_unparseable() {
    for (debit, currency, expect) in [
        ("1e400", "USD", "more than 18 integer digits"),
        ("0.0000000001", "USD", "more than 9 decimals"),
        ("\"1,000\"", "USD", "not a decimal number"),
        ("true", "USD", "neither a text nor a number"),
        ("1", "XXQ", "not an ISO 4217 code"),
    ] {
        let answer = format!(
            r#"{{"currency":"{currency}","transactions":[{{"lob":"R","lines":[{{"account":"1","debit":{debit}}}]}}]}}"#
        );
        let reason = reason(read(&mapping(APART), 200, &answer));
        assert!(reason.contains(expect), "{reason}");
    }
}

#[test]
fn an_answer_that_is_not_json_says_so() {
    let reason = reason(read(&mapping(APART), 200, "<html>"));
    assert!(reason.starts_with("answer: the body is not JSON"), "{reason}");
}

#[test]
fn a_failed_answer_books_nothing_and_an_unknown_route_is_unmapped() {
    let mapping = mapping(APART);
    assert_eq!(read(&mapping, 422, "{}"), Reading::Failed);
    assert_eq!(reason(read(&mapping, 302, "")), "no [[ledger]] for POST /trips with status 302");
    let other = request("GET", "/other?x=1", "");
    let answered = Answered { request: &other, status: 404, body: &Body::default(), calls: &[] };
    assert_eq!(reason(mapping.read(&answered)), "no [[ledger]] for GET /other with status 404");
}

#[test]
fn money_comes_in_every_form() {
    let with = |money: &str| {
        mapping(&format!(
            "[[ledger]]\nroute = \"POST /trips\"\ntransactions = \"$[*]\"\nentries = \"$.lines[*]\"\n\
             line_of_business = {{ path = \"$.account\", capture = \"^[^:]+:([^:]+)\" }}\ngl_account = \"$.account\"\n\
             currency = {{ value = \"EUR\" }}\n{money}"
        ))
    };
    for (money, line, expect) in [
        ("amount = { path = \"$.cents\", minor_units = true }", r#""cents":-1050"#, "0.00 10.50"),
        ("amount = \"$.amount\"\npositive = \"credit\"", r#""amount":"10.5""#, "0.00 10.50"),
        (
            "amount = { mantissa = \"$.q.m\", places = \"$.q.p\" }",
            r#""q":{"m":10000,"p":2}"#,
            "100.00 0.00",
        ),
        (
            "amount = \"$.amount\"\nside = { path = \"$.s\", debit = \"D\", credit = \"C\" }",
            r#""amount":-3,"s":"C""#,
            "0.00 -3.00",
        ),
    ] {
        let answer = format!(r#"[{{"lines":[{{"account":"income:rides:fares",{line}}}]}}]"#);
        let expect = format!("rides income:rides:fares EUR {expect}");
        assert_eq!(entries(read(&with(money), 200, &answer)), [expect], "{money}");
    }
}

#[test]
fn entries_are_read_from_what_a_sink_was_sent() {
    let mapping = mapping(&APART.replace("transactions =", "sink = \"gl\"\ntransactions ="));
    let sent = request(
        "POST",
        "/journal",
        r#"{"currency":"USD","transactions":[{"lob":"Eats","lines":[{"account":"1","debit":1}]}]}"#,
    );
    let trip = request("POST", "/trips", "");
    let calls = [("fx", &trip), ("gl", &sent), ("gl", &sent)];
    let answered = Answered { request: &trip, status: 202, body: &Body::default(), calls: &calls };
    assert_eq!(entries(mapping.read(&answered)), ["Eats 1 USD 1.00 0.00"; 2]);
}

#[test]
fn a_route_without_entries_is_declared_as_such() {
    let mapping = mapping("[[ledger]]\nroute = \"POST /trips\"\nno_entries = true");
    assert_eq!(read(&mapping, 200, "not json"), Reading::Booked(vec![]));
}

#[test]
fn a_wrong_mapping_is_reported_with_every_mistake() {
    let toml = "[[ledger]]\nroute = \"trips\"\ntransactions = \"transactions\"\nentrees = \"$.x\"\n\
                line_of_business = { path = \"$.a\", capture = \"no group\" }\n";
    let document = Document::parse(std::path::Path::new("shadow.toml"), toml, |_| None).unwrap();
    config::mapping(&document, &[]);
    let message = document.finish().unwrap_err().to_string();
    for expect in [
        "shadow.toml:2: [ledger]: `route` `trips` is not a route",
        "shadow.toml:3: [ledger]: `transactions` `transactions` is not a JSONPath",
        "unknown key `entrees`; did you mean `entries`?",
        "has no group",
        "`gl_account` is missing",
        "`debit` and `credit`, or `amount`, are missing",
    ] {
        assert!(message.contains(expect), "{expect}\n--- in\n{message}");
    }
}

#[test]
fn balance_is_per_currency() {
    let entry = |currency: &str, debit: &str, credit: &str| Entry {
        line_of_business: "Rides".into(),
        gl_account: "1000".into(),
        currency: currency.into(),
        debit: debit.parse().unwrap(),
        credit: credit.parse().unwrap(),
        ..Entry::default()
    };
    let balanced =
        Transaction { key: None, entries: vec![entry("USD", "5", "0"), entry("USD", "0", "5")] };
    assert!(balanced.balances());
    let mixed =
        Transaction { key: None, entries: vec![entry("USD", "5", "0"), entry("EUR", "0", "5")] };
    assert!(!mixed.balances());
}

#[test]
fn a_sink_that_nobody_reads_is_a_mistake_and_what_is_posted_to_it_is_unmapped() {
    let text = APART.replace("transactions =", "sink = \"lg\"\ntransactions =");
    let document = Document::parse(std::path::Path::new("shadow.toml"), &text, |_| None).unwrap();
    config::mapping(&document, &[sink("gl")]);
    let message = document.finish().unwrap_err().to_string();
    for expect in [
        "`lg` is not an [[upstream]] with `sink = true`",
        "upstream gl is a sink, and no [[ledger]] reads",
    ] {
        assert!(message.contains(expect), "{message}");
    }
    let of_sink = mapping(&APART.replace("transactions =", "sink = \"gl\"\ntransactions ="));
    let (trip, posted) = (request("POST", "/other", ""), request("POST", "/journal", "{}"));
    let failed = Answered {
        request: &request("POST", "/trips", ""),
        status: 409,
        body: &Body::default(),
        calls: &[("gl", &posted)],
    };
    assert!(reason(of_sink.read(&failed)).contains("posts to sink gl with status 409"));
    let elsewhere = Answered { request: &trip, status: 200, ..failed };
    assert!(reason(of_sink.read(&elsewhere)).contains("posts to sink gl"));
}

#[test]
fn a_line_without_any_money_is_unparseable() {
    let optional =
        APART.replace("debit = \"$.debit\"", "debit = { path = \"$.debit\", optional = true }");
    let answer = |line: &str| {
        format!(
            r#"{{"currency":"USD","transactions":[{{"lob":"R","lines":[{{"account":"1"{line}}}]}}]}}"#
        )
    };
    let what = reason(read(&mapping(&optional), 200, &answer("")));
    assert!(what.contains("neither debit nor credit is there"), "{what}");
    assert_eq!(
        entries(read(&mapping(&optional), 200, &answer(r#","credit":3"#))),
        ["R 1 USD 0.00 3.00"]
    );
    let mantissa = "amount = { mantissa = \"$.m\", places = \"$.p\", optional = true }";
    let start = APART.find("debit =").unwrap();
    let mantissa = mapping(&format!("{}{mantissa}", &APART[..start]));
    assert!(reason(read(&mantissa, 200, &answer(r#","m":100"#))).contains("one is absent"));
    assert!(reason(read(&mantissa, 200, &answer(""))).contains("optional and absent"));
}

#[test]
fn a_part_of_an_answer_says_nothing_about_money() {
    use crate::exchange::{End, tests::exchange};
    let mapping = Mapping { rules: Vec::new(), sinks: BTreeSet::new() };
    let complete = exchange(1);
    assert!(mapping.read_exchange(&complete).is_some());
    for end in [End::ClientAborted, End::UpstreamFailed, End::Truncated] {
        assert_eq!(mapping.read_exchange(&Exchange { end, ..complete.clone() }), None);
    }
    assert_eq!(mapping.read_exchange(&Exchange { response: None, ..complete }), None);
}

#[test]
fn further_dimensions_and_fields_are_read_by_their_names() {
    let further = "dimensions = { country = \"$.country\", product = { path = \"$.p\", optional = true } }\n\
                   fields = { memo = \"$.memo\" }\n";
    let mapping = mapping(&format!("{APART}{further}"));
    assert_eq!(mapping.dimensions(), ["country".to_owned(), "product".to_owned()].into());
    let answer = |line: &str| {
        format!(
            r#"{{"currency":"USD","transactions":[{{"lob":"R","lines":[{{"account":"1","debit":1,{line}}}]}}]}}"#
        )
    };
    let reading = read(&mapping, 200, &answer(r#""country":"NL","memo":"m""#));
    let Reading::Booked(transactions) = reading else { panic!("{reading:?}") };
    let entry = &transactions[0].entries[0];
    assert_eq!(entry.dimensions, [("country".to_owned(), "NL".to_owned())].into());
    assert_eq!(entry.fields, [("memo".to_owned(), "m".to_owned())].into());
    let what = reason(read(&mapping, 200, &answer(r#""country":"NL""#)));
    assert!(what.ends_with("entry 1: memo: `$.memo` is absent"), "{what}");
}

#[test]
fn a_name_that_is_no_column_is_a_mistake() {
    let further = "dimensions = { Country = \"$.a\", kind = \"$.b\", memo = \"c\" }\n\
                   fields = { memo = \"$.memo\" }\n";
    let text = format!("{APART}{further}");
    let document = Document::parse(std::path::Path::new("shadow.toml"), &text, |_| None).unwrap();
    config::mapping(&document, &[]);
    let message = document.finish().unwrap_err().to_string();
    for expect in [
        "shadow.toml:11: [ledger.dimensions]: `Country` is not a name",
        "`kind` is taken by a column of the journal",
        "[ledger.dimensions]: `memo` `c` is not a JSONPath",
    ] {
        assert!(message.contains(expect), "{expect}\n--- in\n{message}");
    }
    let twice = text.replace("memo = \"c\"", "memo = \"$.c\"");
    let document = Document::parse(std::path::Path::new("shadow.toml"), &twice, |_| None).unwrap();
    config::mapping(&document, &[]);
    let message = document.finish().unwrap_err().to_string();
    assert!(message.contains("`memo` is in `dimensions` and in `fields`"), "{message}");
}

#[test]
fn a_name_that_is_there_twice_in_the_ledger_part_is_unparseable() {
    let answer = |before: &str, line: &str| {
        format!(
            r#"{{{before}"currency":"USD","transactions":[{{"lob":"R","lines":[{{"account":"1",{line}}}]}}]}}"#
        )
    };
    let mapping_of_answer = mapping(APART);
    let what = reason(read(&mapping_of_answer, 200, &answer("", r#""debit":1,"debit":2"#)));
    let expect = "`$.transactions[0].lines[0].debit` is there more than once in its object";
    assert_eq!(what, format!("answer: {expect}"));
    let hidden = answer(r#""transactions":[],"#, r#""debit":1"#);
    let what = reason(read(&mapping_of_answer, 200, &hidden));
    assert!(what.contains("`$.transactions` is there more than once"), "{what}");
    // Elsewhere it is none of the mapping's business.
    let elsewhere = answer(r#""links":{"a":1,"a":2},"note":1,"note":2,"#, r#""debit":1"#);
    assert_eq!(entries(read(&mapping_of_answer, 200, &elsewhere)), ["R 1 USD 1.00 0.00"]);

    let mapping_of_sink =
        mapping(&APART.replace("transactions =", "sink = \"gl\"\ntransactions ="));
    let posted = request("POST", "/journal", &answer("", r#""debit":1,"debit":2"#));
    let answered = Answered {
        request: &request("POST", "/trips", ""),
        status: 200,
        body: &Body::default(),
        calls: &[("gl", &posted)],
    };
    let what = reason(mapping_of_sink.read(&answered));
    assert_eq!(what, format!("call 1 to sink gl: {expect}"));
}
