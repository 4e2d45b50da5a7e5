use shadow_analyzer::verdict::{Decision, DimensionName, Verdict};

use crate::harness::{Range, Said, Scene};

/// Replays against a build of the quickstart's service; returns what was said and the RunID.
fn replay(scene: &Scene, build: &str, range: Range) -> (Said, String) {
    let url = format!("http://{}", scene.addresses["candidate"]);
    let (from, to) = (range.from.to_string(), range.to.to_string());
    let said = scene.run(
        "shadow-replayer",
        &["run", "--candidate", &url, "--build", build, "--from", &from, "--to", &to],
    );
    let run = said.out.trim().to_owned();
    (said, run)
}

fn money(verdict: &Verdict) -> Vec<(String, String, String)> {
    let cells = &verdict.dimension(DimensionName::LineOfBusinessGlAccount).unwrap().cells;
    let lines = cells.iter().flat_map(|cell| {
        cell.currencies.iter().map(move |money| {
            (
                format!("{} {}", cell.value.join(" "), money.currency),
                money.debit.primary.clone(),
                money.credit.primary.clone(),
            )
        })
    });
    let mut lines: Vec<_> = lines.collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn a_run_is_replayed_first_and_certified_later() {
    let scene = Scene::new();
    let range = scene.record(40).await;
    let candidate = scene.service("candidate", "2.0.0");
    let (said, run) = replay(&scene, "2.0.0", range);
    said.expect(0, "40 exchanges: 40 matched, 0 different");
    assert!(run.len() == 36 && !run.contains('\n'), "standard output is the RunID alone: {run}");
    drop(candidate);

    scene.run("shadow-analyzer", &["certify", "--run", &run]).expect(0, "CERTIFIED");
    let verdict = scene.verdict("2.0.0");
    assert_eq!(
        (verdict.run_id.as_str(), verdict.verdict, verdict.confidence),
        (&*run, Decision::Certified, 100)
    );
    assert_eq!(verdict.basis.text, "all traffic of the range");
    assert!(!verdict.basis.sampled && verdict.completeness.complete);
    let [stratum] = &verdict.completeness.strata[..] else { panic!("there is one stratum") };
    assert_eq!((&*stratum.name, stratum.exchanges.recorded, stratum.complete), ("all", 40, true));
    assert_eq!((verdict.time.instances, verdict.time.share.as_deref()), (1, Some("1.00")));
    assert_eq!(verdict.coverage.money_share.as_deref(), Some("1.00"));
    let show = |arguments: &[&str]| {
        scene.run("shadow-analyzer", &[&["show", "--run", &run], arguments].concat())
    };
    show(&["--ledger"]).expect(0, "0 beyond the threshold");
    show(&["--coverage", "--json"]).expect(0, "\"money_share\": \"1.00\"");
    assert_eq!(scene.stored("report.html").len(), 1);
    assert_eq!(
        scene.stored(".parquet").len(),
        5,
        "one shard, five tables, and no attempt left behind"
    );
}

#[tokio::test]
async fn the_latest_hour_is_certified_in_one_step_at_a_pace() {
    let scene = Scene::new();
    scene.record(20).await;
    let _candidate = scene.service("candidate", "2.0.0");
    let url = format!("http://{}", scene.addresses["candidate"]);
    let certify = ["certify", "--candidate", &url, "--build", "2.0.0", "--latest", "1h"];
    let began = std::time::Instant::now();
    scene
        .run("shadow-analyzer", &[&certify[..], &["--rate", "20"]].concat())
        .expect(0, "CERTIFIED");
    assert!(began.elapsed() > std::time::Duration::from_millis(900), "20 at 20 a second");
    assert_eq!(scene.verdict("2.0.0").exchanges.matched, 20);

    let eats = [&certify[..], &["--line-of-business", "Eats"]].concat();
    scene.run("shadow-analyzer", &eats).expect(2, "INCONCLUSIVE");
    assert!(scene.verdict("2.0.0").exchanges.filtered > 0);
}

#[tokio::test]
async fn production_is_booked_exactly_as_it_answered() {
    let scene = Scene::new();
    scene.edit("min_exchanges = 10", "min_exchanges = 5");
    let range = scene.record(5).await;
    let _candidate = scene.service("candidate", "2.0.0");
    scene.certify("2.0.0", range).expect(0, "CERTIFIED");
    // Events 0 to 4 by hand: a cancellation of 100.00 in Eats; sales of 21.10 EUR, 12.35 and 14.35 in Rides and 13.35 in Eats, each
    // with 8 % tax and three quarters for the partner, rounded half to even as the service does.
    let expected = [
        ("Eats 1100 Receivables USD", "114.42", "0.00"),
        ("Eats 2100 Partner payables USD", "0.00", "10.01"),
        ("Eats 2200 Tax payable USD", "0.00", "1.07"),
        ("Eats 4000 Revenue USD", "0.00", "3.34"),
        ("Eats 4100 Fees USD", "0.00", "100.00"),
        ("Rides 1100 Receivables EUR", "22.79", "0.00"),
        ("Rides 1100 Receivables USD", "28.84", "0.00"),
        ("Rides 2100 Partner payables EUR", "0.00", "15.82"),
        ("Rides 2100 Partner payables USD", "0.00", "20.02"),
        ("Rides 2200 Tax payable EUR", "0.00", "1.69"),
        ("Rides 2200 Tax payable USD", "0.00", "2.14"),
        ("Rides 4000 Revenue EUR", "0.00", "5.28"),
        ("Rides 4000 Revenue USD", "0.00", "6.68"),
    ];
    let expected = expected
        .map(|(cell, debit, credit)| (cell.to_owned(), debit.to_owned(), credit.to_owned()));
    assert_eq!(money(&scene.verdict("2.0.0")), expected);
}

#[tokio::test]
async fn a_build_that_books_too_much_is_refused_and_the_cell_is_named() {
    let scene = Scene::new();
    let range = scene.record(100).await;
    let _candidate = scene.service("candidate", "2.3.0");
    // Twenty cancellations of 100 charged twice: 2,000 over both lines of business, 1,300 of it in Rides.
    scene.certify("2.3.0", range).expect(1, "REFUSED");
    let verdict = scene.verdict("2.3.0");
    assert_eq!(
        (verdict.verdict, verdict.confidence, verdict.exchanges.different),
        (Decision::Refused, 50, 20)
    );
    let accounts = &verdict.dimension(DimensionName::GlAccount).unwrap().cells;
    let worst = accounts.iter().find(|cell| cell.value == ["4100 Fees"]).unwrap();
    assert_eq!(worst.net.as_ref().unwrap().difference(), "2000.00");
    assert_eq!(worst.confidence, Some(50));
}

#[tokio::test]
async fn a_changed_mapping_is_compared_again_without_the_candidate() {
    let scene = Scene::new();
    let range = scene.record(20).await;
    let candidate = scene.service("candidate", "2.2.0");
    let (said, run) = replay(&scene, "2.2.0", range);
    said.expect(0, "20 matched");
    drop(candidate);
    scene.run("shadow-analyzer", &["certify", "--run", &run]).expect(0, "CERTIFIED");

    scene.edit(
        "gl_account = \"$.account\"",
        "gl_account = { path = \"$.account\", capture = '^(\\d+) ' }",
    );
    scene.run("shadow-replayer", &["compare", "--run", &run]).expect(0, "journal revision 2");
    scene.run("shadow-analyzer", &["certify", "--run", &run]).expect(0, "CERTIFIED");
    let (first, second) = (&scene.verdicts()[0], &scene.verdicts()[1]);
    assert_eq!((first.revision, second.revision), (1, 2));
    assert_ne!(first.policy.mapping_sha256, second.policy.mapping_sha256);
    let accounts = |verdict: &Verdict| {
        let cells = &verdict.dimension(DimensionName::GlAccount).unwrap().cells;
        let mut names: Vec<String> = cells.iter().map(|cell| cell.value[0].clone()).collect();
        names.sort();
        names
    };
    assert_eq!(accounts(second), ["1100", "2100", "2200", "4000", "4100"]);
    assert!(accounts(first).contains(&"4000 Revenue".to_owned()));
}

#[tokio::test]
async fn the_same_inputs_give_the_same_verdict() {
    let scene = Scene::new();
    let range = scene.record(40).await;
    let _candidate = scene.service("candidate", "2.3.0");
    scene.certify("2.3.0", range);
    scene.certify("2.3.0", range);
    let [a, b] = <[Verdict; 2]>::try_from(scene.verdicts()).unwrap();
    assert_ne!(a.run_id, b.run_id);
    assert_eq!((a.dimensions, a.differing, a.reasons), (b.dimensions, b.differing, b.reasons));
}

#[tokio::test]
async fn a_range_is_half_open_and_leaves_out_what_lies_beside_it() {
    let scene = Scene::new();
    let first = scene.record(12).await;
    let second = scene.record(15).await;
    let _candidate = scene.service("candidate", "2.0.0");
    for (range, count) in
        [(first, 12), (second, 15), (Range { from: first.from, to: second.to }, 27)]
    {
        scene.certify("2.0.0", range).expect(0, "CERTIFIED");
        assert!(
            scene.verdicts().iter().any(|verdict| verdict.exchanges.recorded == count),
            "{count}"
        );
    }
}

#[tokio::test]
async fn exchanges_of_another_production_build_are_filtered_and_their_money_is_not_examined() {
    let scene = Scene::new();
    let first = scene.record(12).await;
    scene.edit("build = \"1.0.0\"", "build = \"1.0.1\"");
    let second = scene.record(15).await;
    let _candidate = scene.service("candidate", "2.0.0");
    scene.certify("2.0.0", Range { from: first.from, to: second.to });
    let verdict = scene.verdict("2.0.0");
    assert_eq!((verdict.exchanges.filtered, verdict.exchanges.matched), (12, 15));
    assert_eq!(verdict.primary_build.as_deref(), Some("1.0.1"));
    let eats = &verdict
        .dimension(DimensionName::LineOfBusiness)
        .unwrap()
        .cells
        .iter()
        .find(|cell| cell.value == ["Eats"]);
    assert_ne!(eats.unwrap().currencies[0].not_examined_debit, "0.00");
}

#[tokio::test]
async fn the_mapping_can_be_looked_at_without_a_candidate() {
    let scene = Scene::new();
    let range = scene.record(20).await;
    scene.edit("EUR = \"1.0825\"\n", "");
    let (from, to) = (range.from.to_string(), range.to.to_string());
    let said = scene.run("shadow-analyzer", &["map", "--from", &from, "--to", &to]);
    said.expect(0, "20 exchanges recorded from ");
    for line in [
        "  ROUTE           MAPPED  EMPTY  FAILED  UNMAPPED  UNPARSEABLE  BROKEN OFF",
        "  POST /bookings      20      0       0         0            0           0",
        "  LINE OF BUSINESS  GL ACCOUNT             CURRENCY  LINES   DEBIT  CREDIT",
        "  Eats              4100 Fees              USD           2    0.00  200.00",
        "unbalanced transactions: 0 of 20",
        "without a threshold in [certify.thresholds.line_of_business]: none",
        "without a threshold in [certify.thresholds.gl_account]: none",
        "without a threshold in [certify.thresholds.line_of_business_gl_account]: none",
        "currencies without a rate: EUR",
        "what was read from it",
        "  e0-1  Eats              1100 Receivables  USD       100.00    0.00",
        "next: set the rate of EUR in [certify.rates]",
    ] {
        assert!(said.out.lines().any(|shown| shown == line), "`{line}` is not in\n{}", said.out);
    }
    let answer = "\n  {\"currency\":\"USD\",\"event\":\"e0\",\"transactions\":[";
    assert!(said.out.contains(answer), "the answer is not in\n{}", said.out);
}

#[tokio::test]
async fn a_sample_of_a_range_is_certified_where_its_projection_is_accepted() {
    let scene = Scene::new();
    let range = scene.record(60).await;
    let _candidate = scene.service("candidate", "2.0.0");
    let url = format!("http://{}", scene.addresses["candidate"]);
    let (from, to) = (range.from.to_string(), range.to.to_string());
    let arguments =
        ["certify", "--candidate", &url, "--build", "2.0.0", "--from", &from, "--to", &to];
    let certify = || scene.run("shadow-analyzer", &[&arguments[..], &["--sample", "0.5"]].concat());
    certify().expect(2, "Set [certify] assurance = \"none\"");
    scene.edit("[certify]\n", "[certify]\nassurance = \"none\"\n");
    let said = certify();
    said.expect(0, "(sample, no assurance)");
    said.expect(0, "not examined: nothing");
    let verdict = scene.verdict("2.0.0");
    assert_eq!((verdict.verdict, verdict.confidence), (Decision::Certified, 100));
    let net = verdict.dimensions[0].cells[0].net.as_ref().unwrap();
    assert_eq!(net.observed.as_ref().unwrap().debit, "0.00");
}
