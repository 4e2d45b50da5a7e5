use crate::harness::{Range, Said, Scene};

fn map(scene: &Scene, range: Range) -> Said {
    let (from, to) = (range.from.to_string(), range.to.to_string());
    scene.run("shadow-analyzer", &["map", "--from", &from, "--to", &to])
}

#[track_caller]
fn has_line(said: &Said, line: &str) {
    assert!(said.out.lines().any(|shown| shown == line), "`{line}` is not in\n{}", said.out);
}

#[track_caller]
fn next(said: &Said) -> &str {
    said.out.lines().last().unwrap().strip_prefix("next: ").unwrap()
}

/// The key of a stored file, as a person looks for it in the store.
fn key(scene: &Scene, file: &std::path::Path) -> String {
    file.strip_prefix(scene.path("store")).unwrap().to_string_lossy().into_owned()
}

#[tokio::test]
async fn a_range_of_which_nothing_can_be_read_is_damaged_and_not_empty() {
    type Damage = fn(&std::path::Path) -> std::io::Result<()>;
    let damages: [(&str, Damage); 3] = [
        ("torn", |file| std::fs::OpenOptions::new().write(true).open(file)?.set_len(16)),
        ("emptied", |file| std::fs::write(file, "")),
        ("gone", |file| std::fs::remove_file(file)),
    ];
    for (name, damage) in damages {
        let scene = Scene::new();
        let range = scene.record(12).await;
        for segment in scene.stored(".ndjson.zst") {
            damage(&segment).unwrap();
        }
        let said = map(&scene, range);
        said.expect(2, "0 exchanges recorded from ");
        assert!(said.out.contains("\n  not covered: "), "{name}: {said:#?}");
        assert!(next(&said).contains("damaged or missing"), "{name}: {said:#?}");
        assert!(!said.out.contains("send traffic"), "{name}: {said:#?}");
    }
}

#[tokio::test]
async fn a_torn_segment_is_named_whole_beside_what_the_others_hold() {
    let scene = Scene::new();
    let first = scene.record(12).await;
    let torn = scene.stored(".ndjson.zst").remove(0);
    let second = scene.record(6).await;
    std::fs::OpenOptions::new().write(true).open(&torn).unwrap().set_len(16).unwrap();
    let said = map(&scene, Range { from: first.from, to: second.to });
    said.expect(0, "6 exchanges recorded from ");
    let key = key(&scene, &torn);
    let named = |line: &str| line.starts_with("  not covered: ") && line.contains(&key);
    assert!(said.out.lines().any(named), "{key} is not named in\n{}", said.out);
    has_line(&said, "  POST /bookings       6      0       0         0            0           0");
    // The mapping and the policy are in order; what is left to mend is the range.
    assert!(next(&said).contains("a range without what is not covered"), "{said:#?}");
}

#[test]
fn an_empty_range_is_inconclusive_and_asks_for_traffic() {
    let scene = Scene::new();
    let range = Range {
        from: "2026-01-01T00:00:00Z".parse().unwrap(),
        to: "2026-01-02T00:00:00Z".parse().unwrap(),
    };
    let said = map(&scene, range);
    said.expect(2, "0 exchanges recorded from 2026-01-01T00:00:00Z to 2026-01-02T00:00:00Z\n");
    assert!(
        next(&said).starts_with("nothing was recorded in this range; send traffic"),
        "{said:#?}"
    );
    assert!(!said.out.contains("not covered"), "{said:#?}");
}

#[tokio::test]
async fn a_threshold_that_certify_needs_is_missed_here_already() {
    let scene = Scene::new();
    let range = scene.record(12).await;
    scene.edit("[certify.thresholds.gl_account]\nnet = 1000\n", "");
    let said = map(&scene, range);
    said.expect(0, "without a threshold in [certify.thresholds.gl_account]: ");
    assert!(said.out.contains("4000 Revenue"), "{said:#?}");
    has_line(&said, "without a threshold in [certify.thresholds.line_of_business]: none");
    assert!(next(&said).starts_with("set `net` in [certify.thresholds.gl_account]: "), "{said:#?}");
    let _candidate = scene.service("candidate", "2.0.0");
    scene.certify("2.0.0", range).expect(2, "[certify.thresholds.gl_account]");
}
