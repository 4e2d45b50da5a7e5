use std::process::Command;

use shadow_analyzer::verdict::{Decision, DimensionName, Rule, Verdict};

use crate::harness::{files, quickstart};
use crate::supplied::agrees_with_the_replay;

/// What each candidate must come to: verdict and score.
const EXPECTED: [(&str, Decision, Option<u8>); 5] = [
    ("2.0.0", Decision::Certified, Some(100)),
    ("2.1.0", Decision::Certified, Some(100)),
    ("2.2.0", Decision::Certified, Some(100)),
    ("2.3.0", Decision::Refused, Some(50)),
    ("2.4.0", Decision::Inconclusive, None),
];

#[test]
fn the_quickstart_certifies_five_candidates_as_the_readme_shows() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(quickstart()).arg("--folder").arg(folder.path()).output().unwrap();
    let (out, err) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{out}{err}");

    let stored = files(&folder.path().join("store/reports"));
    let verdicts: Vec<Verdict> = stored
        .iter()
        .filter(|file| file.ends_with("verdict.json"))
        .map(|file| serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap())
        .collect();
    assert_eq!(verdicts.len(), EXPECTED.len());
    for (build, decision, score) in EXPECTED {
        let verdict = verdicts.iter().find(|verdict| verdict.candidate.build == build).unwrap();
        assert_eq!(verdict.verdict, decision, "{build}: {}", verdict.why);
        assert_eq!(verdict.decided.then_some(verdict.confidence), score, "{build}");
        assert_eq!(verdict.exchanges.recorded, 3_000, "{build}");
        assert!(out.contains(&verdict.why), "`{}` is not in\n{out}", verdict.why);
        let report = stored.iter().find(|file| {
            file.ends_with("report.html") && file.to_string_lossy().contains(&verdict.run_id)
        });
        let report = report.expect("each verdict has a report");
        assert!(out.contains(&report.display().to_string()), "the report's path is not in\n{out}");
    }
    let of =
        |build: &str| verdicts.iter().find(|verdict| verdict.candidate.build == build).unwrap();
    the_moved_100_is_shown(of("2.2.0"));
    assert_eq!((of("2.2.0").differing.total, of("2.3.0").differing.total), (1, 20));
    assert!(of("2.3.0").reasons.iter().any(|reason| reason.rule == Rule::NetBeyondThreshold));
    assert_eq!(of("2.4.0").exchanges.unverified, 3_000);
    assert_eq!((of("2.1.0").exchanges.matched, of("2.1.0").differing.total), (3_000, 0));
    for build in ["2.1.0", "2.2.0", "2.3.0"] {
        agrees_with_the_replay(folder.path(), of(build));
    }
}

fn the_moved_100_is_shown(verdict: &Verdict) {
    let dimension = verdict.dimension(DimensionName::LineOfBusiness).unwrap();
    let differences: Vec<(&str, &str)> = dimension
        .cells
        .iter()
        .flat_map(|cell| cell.currencies.iter().map(|money| (&*cell.value[0], money)))
        .filter(|(_, money)| money.debit.difference != "0.00")
        .map(|(lob, money)| (lob, &*money.debit.difference))
        .collect();
    assert_eq!(differences, [("Eats", "100.00"), ("Rides", "-100.00")]);
    assert_eq!(verdict.differing.exchanges[0].kinds, ["reclassified"]);
}
