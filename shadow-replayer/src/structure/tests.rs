use super::*;
use shadow_recorder::config::Document;
use shadow_recorder::exchange::{End, ExchangeId, Omission, Request, Sample};
use shadow_recorder::ledger::{Mapping, config};

fn mapping() -> Mapping {
    let toml = "[[ledger]]\nroute = \"POST /trips/*\"\ntransactions = \"$.t[*]\"\nentries = \"$.e[*]\"\n\
                line_of_business = { path = \"$.lob\", from = \"transaction\" }\ngl_account = \"$.gl\"\n\
                currency = { value = \"USD\" }\ndebit = \"$.d\"\ncredit = \"$.c\"\n";
    let document = Document::parse(std::path::Path::new("shadow.toml"), toml, |_| None).unwrap();
    let mapping = config::mapping(&document, &[]);
    document.finish().unwrap();
    mapping
}

fn rules(ignored: &[&str], unordered: &[&str]) -> Rules {
    let selection = |path: &&str| Selection::new(None, path).unwrap();
    let ignored = ignored
        .iter()
        .map(|path| Ignored { selection: selection(path), reason: "it varies".into() });
    let unordered = unordered.iter().map(selection).collect();
    Rules::new(vec!["etag".into()], ignored.collect(), unordered, &mapping())
}

fn response(status: u16, etag: Option<&str>, body: &str) -> Response {
    let headers = etag.map(|etag| ("ETag".to_owned(), etag.to_owned()));
    Response {
        status,
        headers: headers.into_iter().collect(),
        body: Body::of_text(body),
        trailers: vec![],
    }
}

fn recorded(response: Response) -> Exchange {
    let request = Request {
        method: "POST".into(),
        target: "/trips/7?x=1".into(),
        version: "HTTP/1.1".into(),
        headers: vec![],
        body: Body::default(),
        trailers: vec![],
        principal: None,
    };
    Exchange {
        id: ExchangeId("x".into()),
        trace_id: String::new(),
        received_at: jiff::Timestamp::UNIX_EPOCH,
        sequence: 1,
        duration_us: 10,
        service: "ledger".into(),
        build: "1".into(),
        order_key: None,
        request,
        response: Some(response),
        end: End::Complete,
        upstream: vec![],
        sample: Sample::everything(),
    }
}

fn shown(differences: &[Difference]) -> Vec<String> {
    let side = |value: &Option<String>| value.clone().unwrap_or("-".into());
    let one = |d: &Difference| {
        format!(
            "{} {} {} {} {}",
            d.place.word(),
            d.path,
            d.change.word(),
            side(&d.primary),
            side(&d.shadow)
        )
    };
    differences.iter().map(one).collect()
}

fn bodies(before: &str, after: &str, rules: &Rules) -> Vec<String> {
    shown(&compare(
        &recorded(response(200, None, before)),
        &response(200, None, after),
        false,
        rules,
    ))
}

#[test]
fn differences_are_named_by_their_path_and_kind() {
    let before = r#"{"a":1,"b":{"c":"x"},"list":[{"n":1},{"n":2},{"n":3}],"gone":[1,2]}"#;
    let after = r#"{"a":"1","b":{"c":"y"},"list":[{"n":5},{"n":6}],"new":{"z":0}}"#;
    assert_eq!(
        bodies(before, after, &rules(&[], &[])),
        [
            r#"body $.a type 1 "1""#,
            r#"body $.b.c value "x" "y""#,
            "body $.gone missing an array of 2 -",
            "body $.list[*] missing an object of 1 -",
            "body $.list[*].n value 1 5",
            "body $.new extra - an object of 1",
        ]
    );
}

#[test]
fn what_is_declared_is_left_out_and_unordered() {
    let (before, after) = (
        r#"{"at":1,"in":{"at":1},"tags":["a","b","b"]}"#,
        r#"{"at":2,"in":{"at":2},"tags":["b","c","a"]}"#,
    );
    assert_eq!(bodies(before, after, &rules(&["$..at", "$.tags"], &[])), [""; 0]);
    assert_eq!(
        bodies(before, after, &rules(&["$..at"], &["$.tags"])),
        [r#"body $.tags[*] value "b" "c""#]
    );
}

#[test]
fn what_the_ledger_reads_is_left_out() {
    let before =
        r#"{"t":[{"lob":"Rides","e":[{"gl":"1","d":5,"c":0,"memo":"m"},{"gl":"2","d":0,"c":5}]}]}"#;
    let after = r#"{"t":[{"lob":"Eats","e":[{"gl":"1","d":6,"c":0,"memo":"n"}]}]}"#;
    assert_eq!(bodies(before, after, &rules(&[], &[])), [r#"body $.t[*].e[*].memo value "m" "n""#]);
}

#[test]
fn status_and_chosen_fields_are_compared_too() {
    let production = recorded(response(200, Some("a"), "{}"));
    let found = |shadow, failed| shown(&compare(&production, &shadow, failed, &rules(&[], &[])));
    assert_eq!(
        found(response(201, Some("b"), "{}"), false),
        ["status  value 200 201", "header etag value a b"]
    );
    assert_eq!(found(response(200, None, "{}"), false), ["header etag missing a -"]);
    assert_eq!(found(response(500, None, "oops"), true), ["status  value 200 500"]);
}

#[test]
fn bodies_that_are_not_json_are_equal_or_not() {
    let rules = rules(&[], &[]);
    assert_eq!(bodies("<p>a", "<p>a", &rules), [""; 0]);
    assert_eq!(bodies("<p>a", "<p>b", &rules), ["body $ value <p>a <p>b"]);
    assert_eq!(bodies("{}", "<p>", &rules), ["body $ type {} <p>"]);
    let mut over = response(200, None, "");
    over.body.omitted = Some(Omission::OverLimit);
    assert_eq!(
        shown(&compare(&recorded(over), &response(200, None, "{}"), false, &rules)),
        ["body $ not_compared - -"]
    );
}

#[test]
fn memory_is_bounded_by_paths_and_values() {
    let members = |n: usize| {
        (0..n).map(|n| format!("\"k{n:04}\":\"{}\"", "v".repeat(200))).collect::<Vec<_>>().join(",")
    };
    let production = recorded(response(200, None, &format!("{{{}}}", members(PATHS_MAX + 50))));
    let found = compare(&production, &response(200, None, "{}"), false, &rules(&[], &[]));
    assert_eq!((found.len(), &*found.last().unwrap().path), (PATHS_MAX + 1, FURTHER_PATHS));
    assert!(
        found
            .iter()
            .all(|one| one.primary.as_ref().unwrap().chars().count() <= VALUE_CHARS_MAX + 1)
    );
    let mut aggregate = Aggregate::default();
    for n in 0..PATHS_MAX + 50 {
        let path = format!("$.k{n}");
        let one = Difference {
            place: Place::Body,
            path,
            change: Change::Extra,
            primary: None,
            shadow: None,
        };
        aggregate.add("GET /a", &format!("x{n}"), std::slice::from_ref(&one));
        aggregate.add("GET /b", &format!("x{n}"), &[Difference { path: "$.k".into(), ..one }]);
    }
    let exchanges = |route: &str, path: &str| {
        aggregate
            .found()
            .find(|(at, _)| at.route == route && at.path == path)
            .map(|(_, found)| found.exchanges)
    };
    assert_eq!(aggregate.found().count(), PATHS_MAX + 2);
    assert_eq!(exchanges("GET /a", FURTHER_PATHS), Some(50));
    assert_eq!(exchanges("GET /b", "$.k"), Some(PATHS_MAX as u64 + 50));
    assert!(aggregate.found().all(|(_, found)| found.examples.len() <= 3));
}
