//! The questions of `sql/analysis`, asked of a PostgreSQL that `tests/run` started.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// The journal's columns that the questions name, and one exchange of each kind: equal, reclassified, and not examined.
const JOURNAL: &str = "
create temp table exchange (exchange_id text, outcome text, reason text, blame text, money_known boolean);
insert into exchange values
    ('e1', 'matched', null, null, true),
    ('e2', 'different', null, null, true),
    ('e3', 'unverified', 'a miss', 'harness', true),
    ('e4', 'unverified', 'a miss', 'harness', false);
create temp table entry (exchange_id text, source text, line_of_business text, gl_account text, currency text,
    debit decimal(38, 9), credit decimal(38, 9), kind text);
insert into entry values
    ('e1', 'both', 'Rides', '1100', 'USD', 10.10, 0, null),
    ('e2', 'primary', 'Rides', '1100', 'USD', 100, 0, 'reclassified'),
    ('e2', 'shadow', 'Eats', '1100', 'USD', 100, 0, 'reclassified'),
    ('e2', 'control', 'Freight', '1100', 'USD', 100, 0, null),
    ('e3', 'primary', 'Eats', '1100', 'EUR', 7, 0, 'not_examined');
";

fn answer(question: &str) -> Vec<String> {
    let url = std::env::var("SHADOW_TEST_POSTGRES");
    let url =
        url.expect("SHADOW_TEST_POSTGRES is not set: run tests/run, which starts a PostgreSQL");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sql/analysis").join(question);
    let script = format!("{JOURNAL}{}", std::fs::read_to_string(file).unwrap());
    let mut psql = Command::new("psql")
        .args([
            &url,
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--set=ON_ERROR_STOP=1",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    psql.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = psql.wait_with_output().unwrap();
    assert!(output.status.success(), "{question} failed");
    let text = String::from_utf8(output.stdout).unwrap();
    // The journal's money has nine decimals; two are enough to read here.
    text.lines().map(|line| line.replace("0000000", "")).collect()
}

#[test]
fn each_question_has_its_known_answer() {
    assert_eq!(
        answer("line_of_business.sql"),
        [
            "Eats|EUR|0|0|0|0|7.00",
            "Eats|USD|0|100.00|100.00|0.00|0",
            "Rides|USD|110.10|10.10|-100.00|0.00|0"
        ]
    );
    assert_eq!(
        answer("gl_account.sql"),
        ["Eats|1100|USD|1|100.00|0.00|100.00|0.00", "Rides|1100|USD|1|-100.00|0.00|100.00|0.00"]
    );
    assert_eq!(
        answer("completeness.sql"),
        ["unverified|a miss|harness|2|1|e3", "different|||1|0|e2", "matched|||1|0|e1"]
    );
    assert_eq!(answer("not_examined.sql"), ["Eats|EUR|1|7.00|0.00"]);
}
