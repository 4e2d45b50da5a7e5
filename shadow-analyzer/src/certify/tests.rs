use std::fmt::Write;
use std::path::Path;

use shadow_recorder::config::Document;
use shadow_replayer::run::State;
use tempfile::TempDir;

use super::*;
use crate::verdict::{Decision, DimensionName, Rule};

const CONFIG: &str = r#"
[service]
name = "books"
[store]
directory = "store"
[supplied]
event_id = "$.event"
occurred_at = "$.at"
transactions = "$"
entries = "$"
line_of_business = "$.lob"
gl_account = "$.account"
currency = { value = "USD" }
amount = "$.amount"
[certify]
reporting_currency = "USD"
min_exchanges = 10
[certify.thresholds.line_of_business]
net = 1000
[certify.thresholds.gl_account]
net = 1000
[certify.thresholds.line_of_business_gl_account]
net = 1000
"#;

/// A folder with a configuration and files.
struct Scene {
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn config(&self, text: &str) -> Config {
        let file = self.folder.path().join("shadow.toml");
        let document = Document::parse(&file, text, |_| None).unwrap();
        let config = Config::take(&document);
        document.finish().unwrap_or_else(|mistakes| panic!("{mistakes}"));
        config.unwrap()
    }

    fn write(&self, name: &str, text: &str) -> Vec<String> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        vec![path.display().to_string()]
    }

    async fn certify(&self, primary: &str, shadow: &str) -> Verdict {
        let is_csv = primary.starts_with("event,") || primary.is_empty();
        let extension = if is_csv { "csv" } else { "jsonl" };
        let request = SuppliedRequest {
            primary: self.write(&format!("p.{extension}"), primary),
            shadow: self.write(&format!("s.{extension}"), shadow),
            format: None,
            build: "rc".into(),
            primary_build: Some("1".into()),
            range: None,
        };
        let subject = Subject::Supplied(Box::new(request));
        certify(&self.config(CONFIG), &subject, &|_| {}).await.unwrap().verdict
    }
}

/// Twenty events of 100 and −100, in rides; what `booked` returns for an event is booked instead of its debit.
fn entries(csv: bool, booked: impl Fn(u32) -> (&'static str, u32)) -> String {
    let mut text = if csv { "event,at,lob,account,amount\n".to_owned() } else { String::new() };
    for event in 0..20 {
        let (lob, amount) = booked(event);
        for (lob, account, amount) in
            [(lob, "1100", amount.to_string()), ("rides", "4000", format!("-{amount}"))]
        {
            let at = format!("2026-11-20T07:{event:02}:00Z");
            let written = if csv {
                writeln!(text, "e{event},{at},{lob},{account},{amount}.00")
            } else {
                writeln!(
                    text,
                    r#"{{"event":"e{event}","at":"{at}","lob":"{lob}","account":"{account}","amount":{amount}}}"#
                )
            };
            written.unwrap();
        }
    }
    text
}

fn money<'v>(verdict: &'v Verdict, lob: &str) -> &'v crate::verdict::CurrencyMoney {
    let dimension = verdict.dimension(DimensionName::LineOfBusiness).unwrap();
    let cell = dimension.cells.iter().find(|cell| cell.value == [lob]).unwrap();
    &cell.currencies[0]
}

#[tokio::test]
async fn supplied_entries_give_the_verdict_report_and_evidence_of_a_run() {
    let scene = Scene::new();
    let moved = |event| if event == 3 { ("eats", 100) } else { ("rides", 100) };
    for csv in [true, false] {
        let (primary, shadow) = (entries(csv, |_| ("rides", 100)), entries(csv, moved));
        let verdict = scene.certify(&primary, &shadow).await;
        // The seed's example: 100 in another line of business, which production never booked, so that it is allowed none.
        assert_eq!(verdict.verdict, Decision::Refused, "{}", verdict.why);
        assert_eq!(verdict.basis.text, "supplied by the user");
        assert_eq!(
            (verdict.exchanges.recorded, verdict.exchanges.matched, verdict.exchanges.different),
            (20, 19, 1)
        );
        assert!(verdict.completeness.complete);
        let rides = &money(&verdict, "rides").debit;
        assert_eq!(
            (&*rides.primary, &*rides.shadow, &*rides.difference),
            ("2000.00", "1900.00", "-100.00")
        );
        assert_eq!(money(&verdict, "eats").debit.shadow, "100.00");
        assert_eq!(verdict.differing.exchanges[0].exchange_id, "e3");
        assert_eq!(verdict.differing.exchanges[0].kinds, ["reclassified"]);
        assert_eq!(
            (verdict.from.to_string(), verdict.replay),
            ("2026-11-20T07:00:00Z".into(), None)
        );
        let supplied = verdict.supplied.unwrap();
        assert_eq!(supplied.files[0].sha256, shadow_recorder::digest::sha256(&primary));
        assert_eq!((supplied.files[1].rows, supplied.files[1].bytes), (40, shadow.len() as u64));
    }
    let within = |event| if event == 3 { ("rides", 101) } else { ("rides", 100) };
    let verdict = scene.certify(&entries(true, |_| ("rides", 100)), &entries(true, within)).await;
    assert_eq!(
        (verdict.verdict, verdict.confidence),
        (Decision::Certified, 100),
        "{}",
        verdict.why
    );
    // The run is one like any other.
    let config = scene.config(CONFIG);
    let subject = Subject::Run(verdict.run_id.parse().unwrap());
    let again = certify(&config, &subject, &|_| {}).await.unwrap();
    assert_eq!(
        (again.verdict.dimensions, again.verdict.supplied),
        (verdict.dimensions, verdict.supplied)
    );
    let report = std::fs::read_to_string(&again.report).unwrap();
    assert!(report.contains("supplied by the user") && report.contains("p.csv"));
    let other = scene.config(&CONFIG.replace("\"$.account\"", "\"$.lob\""));
    let changed = certify(&other, &subject, &|_| {}).await.unwrap().verdict;
    assert_eq!(changed.reasons[0].rule, Rule::MappingChanged, "{}", changed.why);
    assert!(changed.why.contains("mapping") && changed.next.contains("files"), "{}", changed.next);
    let refused =
        shadow_replayer::compare_again(&config.replay, &verdict.run_id.parse().unwrap(), &|_| {})
            .await;
    assert!(refused.unwrap_err().is_usage());
}

#[tokio::test]
async fn what_one_side_lacks_or_nobody_can_read_is_never_certified() {
    let scene = Scene::new();
    let all = entries(true, |_| ("rides", 100));
    let others: Vec<&str> = all.lines().filter(|line| !line.starts_with("e7,")).collect();
    let fewer = others.join("\n");
    let verdict = scene.certify(&all, &fewer).await;
    assert_eq!((verdict.exchanges.different, verdict.supplied.unwrap().only_primary), (1, 1));
    assert_eq!(money(&Verdict { supplied: None, ..verdict }, "rides").debit.difference, "-100.00");
    let verdict = scene.certify(&fewer, &all).await;
    assert_eq!((verdict.exchanges.different, verdict.supplied.unwrap().only_shadow), (1, 1));

    let torn = all.replace("e7,2026", "e7,soon");
    let verdict = scene.certify(&all, &torn).await;
    assert_eq!((verdict.verdict, verdict.exchanges.errored), (Decision::Refused, 1));
    assert!(verdict.reasons.iter().any(|reason| reason.rule == Rule::CandidateErrors));
    let verdict = scene.certify(&torn, &all).await;
    assert_eq!((verdict.verdict, verdict.exchanges.unverified), (Decision::Inconclusive, 1));
    assert!(verdict.reasons.iter().any(|reason| reason.rule == Rule::MoneyUnknown));
    assert_eq!(verdict.basis.text, "supplied by the user, compared in part");

    let head = all.lines().next().unwrap().to_owned() + "\n";
    for (primary, shadow) in [("", ""), (&*head, &*head)] {
        let verdict = scene.certify(primary, shadow).await;
        assert_eq!(verdict.verdict, Decision::Inconclusive);
        assert_eq!(verdict.reasons[0].rule, Rule::RunFailed);
    }
    assert_eq!(scene.certify(&all, &head).await.verdict, Decision::Refused);
    assert_eq!(scene.certify(&head, &all).await.verdict, Decision::Refused);
}

#[tokio::test]
async fn files_that_cannot_be_used_are_a_usage_error_and_leave_no_run() {
    let scene = Scene::new();
    let config = scene.config(CONFIG);
    let name = |name: &str| vec![Path::new(scene.folder.path()).join(name).display().to_string()];
    let request = SuppliedRequest {
        primary: name("nowhere.csv"),
        shadow: name("nowhere.csv"),
        format: None,
        build: "rc".into(),
        primary_build: None,
        range: None,
    };
    let error = certify(&config, &Subject::Supplied(Box::new(request)), &|_| {}).await.unwrap_err();
    assert!(error.is_usage() && error.to_string().contains("nowhere.csv"), "{error}");
    let runs = RunStore::open(&config.replay.replay.database).await.unwrap();
    assert!(runs.runs(None, None).await.unwrap().iter().all(|run| run.state == State::Finished));
}
