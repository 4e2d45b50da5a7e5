use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Lines that a source file may have, tests included: what fits in the head.
const LINES_MAX: usize = 450;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Returns what is under version control, or would be.
fn tracked() -> Vec<String> {
    let arguments = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let output =
        std::process::Command::new("git").args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "git ls-files failed");
    let names = String::from_utf8(output.stdout).unwrap();
    names.lines().filter(|name| root().join(name).exists()).map(str::to_owned).collect()
}

fn has_extension(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|given| given == extension)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

#[test]
fn the_top_level_is_exactly_what_the_design_names() {
    let found: BTreeSet<String> = tracked()
        .iter()
        .map(|name| name.split('/').next().unwrap().to_owned())
        .filter(|name| !name.starts_with('.'))
        .collect();
    let expected = [
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "dashboards",
        "shadow-analyzer",
        "shadow-recorder",
        "shadow-replayer",
        "sql",
        "tests",
    ];
    assert_eq!(found, expected.map(str::to_owned).into());
}

#[test]
fn every_source_file_fits_in_the_head() {
    for name in tracked().iter().filter(|name| has_extension(name, "rs")) {
        let lines = read(name).lines().count();
        assert!(lines <= LINES_MAX, "{name} has {lines} lines: split it, one noun per file");
    }
}

#[test]
fn a_dashboard_names_only_metrics_that_exist() {
    let metrics = read("shadow-recorder/src/metrics.rs");
    for name in tracked()
        .iter()
        .filter(|name| name.starts_with("dashboards/") && has_extension(name, "json"))
    {
        let text = read(name);
        serde_json::from_str::<serde_json::Value>(&text)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let used: BTreeSet<&str> =
            words.filter(|word| word.starts_with("shadow_recorder_")).collect();
        assert!(!used.is_empty(), "{name} shows nothing");
        for metric in used {
            assert!(
                metrics.contains(metric),
                "{name} names {metric}, which shadow-recorder/src/metrics.rs does not"
            );
        }
    }
}

#[test]
fn the_readme_names_only_files_that_exist() {
    let readme = read("README.md");
    let is_path = |word: &&str| {
        word.contains('/')
            && ["shadow-", "sql/", "tests/", "dashboards/"].iter().any(|p| word.starts_with(p))
    };
    let words = readme.split(['`', ' ', '(', ')', '\n', '"']).filter(is_path);
    for word in words.map(|word| word.trim_end_matches(['.', ',', ':', ';'])) {
        assert!(root().join(word).exists(), "README.md names {word}, which does not exist");
    }
    assert!(readme.contains("cargo run --release --example quickstart"), "the first command");
    assert!(readme.contains("tests/run"), "the second command");
}

#[test]
fn the_example_configuration_is_valid_and_shows_the_defaults() {
    use shadow_recorder::config::{Document, recorder};
    let text = read("shadow-analyzer/shadow.example.toml");
    let is_default = |line: &str| {
        line.starts_with('#') && line[1..].starts_with(|c: char| c.is_ascii_lowercase())
    };
    let shown: Vec<&str> =
        text.lines().map(|line| if is_default(line) { &line[1..] } else { line }).collect();
    let parse = |text: &str| {
        let document = Document::parse(Path::new("shadow.toml"), text, |_| None).unwrap();
        let recorder = recorder::recorder(&document, "host");
        let replay = shadow_replayer::config::Config::take(&document);
        let policy = shadow_analyzer::config::take(&document, replay.as_ref());
        document.finish().unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let delimiter = |replay: &shadow_replayer::config::Config| {
            replay.supplied.as_ref().map(|supplied| supplied.delimiter)
        };
        let replay = replay.map(|replay| (delimiter(&replay), replay.replay, replay.upstreams));
        format!("{recorder:#?} {replay:#?} {policy:#?}")
    };
    let left_out = parse(&text);
    // A gross threshold that is written is shown as written; its default is worked out where it is applied.
    let written = parse(&shown.join("\n").replace("gross = 5000", ""));
    assert_eq!(left_out, written);
    assert!(
        shown.iter().filter(|line| text.contains(&format!("#{line}"))).count() > 25,
        "the defaults are found"
    );
}
