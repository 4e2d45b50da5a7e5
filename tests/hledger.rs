//! `hledger-web` is an accounting server (Debian package of the same name). Two instances play production and candidate; the
//! mapping in the README's configuration is all that is adapted.

use std::net::SocketAddr;
use std::path::Path;

use shadow_analyzer::verdict::{Decision, DimensionName};

use crate::harness::{Process, Range, Scene, now, wait_for};
use crate::http::{Context, ask, client};

/// Returns the configuration that the README shows for it, at the scene's addresses and with less evidence demanded.
fn configuration() -> String {
    let readme = include_str!("../README.md");
    let block = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let mut text = block.expect("the README has a configuration").to_owned();
    for (from, to) in [
        ("127.0.0.1:8080", "@recorder@"),
        ("127.0.0.1:5000", "@service@"),
        ("reporting_currency = \"USD\"", "reporting_currency = \"USD\"\nmin_exchanges = 5"),
    ] {
        assert!(text.contains(from), "the README's configuration has no `{from}`");
        text = text.replace(from, to);
    }
    text
}

const JOURNAL: &str = "
2026-01-05 * Ride
    assets:rides:receivable     119.00 USD
    income:rides:fares         -100.00 USD
    liabilities:rides:tax       -19.00 USD

2026-01-06 * Order
    assets:eats:receivable       25.505 EUR
    income:eats:fees            -25.505 EUR
";

fn serve(scene: &Scene, role: &str, journal: &str) -> Process {
    let (file, address) = (format!("{role}.journal"), scene.addresses[role]);
    std::fs::write(scene.path(&file), journal).unwrap();
    let port = address.port().to_string();
    let arguments = [
        "-f",
        &file,
        "--serve-api",
        "--host",
        "127.0.0.1",
        "--port",
        &port,
        "--capabilities=view,add",
    ];
    // The program reads its journal by the locale's encoding.
    let arguments = [&["LC_ALL=C.UTF-8", "hledger-web"], &arguments[..]].concat();
    let server = scene.start(Path::new("/usr/bin/env"), &arguments);
    wait_for(address);
    server
}

async fn record(scene: &Scene) -> Range {
    let _production = serve(scene, "service", JOURNAL);
    let recorder = scene.recorder();
    let from = now();
    let to: SocketAddr = scene.addresses["recorder"];
    for _ in 0..8 {
        let url = format!("http://{to}/transactions");
        let answer = ask(&client(), "GET", &url, &Context::default(), None).await.unwrap();
        assert_eq!(
            answer.as_array().map(Vec::len),
            Some(2),
            "hledger-web answers both transactions"
        );
    }
    recorder.stop();
    Range { from, to: now() }
}

#[tokio::test]
async fn the_same_journal_is_certified_and_a_changed_posting_is_found_to_the_cent() {
    let scene = Scene::new();
    scene.configure(&configuration());
    let range = record(&scene).await;

    let same = serve(&scene, "candidate", JOURNAL);
    scene.certify("same", range).expect(0, "CERTIFIED");
    let verdict = scene.verdict("same");
    assert_eq!(
        (verdict.verdict, verdict.confidence, verdict.exchanges.matched),
        (Decision::Certified, 100, 8)
    );
    drop(same);

    // 12.34 in each of 8 answers: 98.72, within the threshold of 1,000.
    let little = JOURNAL.replace("-100.00", "-112.34").replace("119.00", "131.34");
    let changed = serve(&scene, "candidate", &little);
    scene.certify("little", range).expect(0, "98.72");
    assert_eq!(
        differences(&scene, "little"),
        [
            ("rides", "assets:rides:receivable", "98.72", "0.00"),
            ("rides", "income:rides:fares", "0.00", "98.72")
        ]
        .map(owned)
    );
    drop(changed);

    // 250.25 in each of 8 answers: 2,002.00, beyond it.
    let much = JOURNAL.replace("-100.00", "-350.25").replace("119.00", "369.25");
    let _changed = serve(&scene, "candidate", &much);
    scene.certify("much", range).expect(1, "REFUSED");
    assert_eq!(
        differences(&scene, "much"),
        [
            ("rides", "assets:rides:receivable", "2002.00", "0.00"),
            ("rides", "income:rides:fares", "0.00", "2002.00")
        ]
        .map(owned)
    );
    let verdict = scene.verdict("much");
    assert_eq!(
        (verdict.verdict, verdict.confidence),
        (Decision::Refused, 49),
        "1,000 of 2,002 is 49.95, rounded down"
    );
}

type Difference = (String, String, String, String);

fn owned((lob, account, debit, credit): (&str, &str, &str, &str)) -> Difference {
    (lob.into(), account.into(), debit.into(), credit.into())
}

/// Returns the cells that differ: line of business, account, difference on debit and on credit.
fn differences(scene: &Scene, build: &str) -> Vec<Difference> {
    let verdict = scene.verdict(build);
    let cells = &verdict.dimension(DimensionName::LineOfBusinessGlAccount).unwrap().cells;
    let mut found = Vec::new();
    for cell in cells {
        for money in &cell.currencies {
            if money.debit.difference != "0.00" || money.credit.difference != "0.00" {
                let (debit, credit) =
                    (money.debit.difference.clone(), money.credit.difference.clone());
                found.push((cell.value[0].clone(), cell.value[1].clone(), debit, credit));
            }
        }
    }
    found.sort();
    found
}
