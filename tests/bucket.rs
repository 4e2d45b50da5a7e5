use shadow_analyzer::verdict::{Decision, DimensionName, Verdict};
use shadow_recorder::config::Document;
use shadow_recorder::store::Store;

use crate::harness::{Scene, now};

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run tests/run, which starts an S3 server, Garage")
    })
}

/// Lets the scene's programs store in the tests' bucket, in a folder of its own there.
fn in_bucket(scene: &Scene) -> String {
    let prefix = format!("{}-{}", now().as_microsecond(), scene.addresses["recorder"].port());
    let (bucket, endpoint, region) = (
        variable("SHADOW_TEST_S3_BUCKET"),
        variable("SHADOW_TEST_S3_ENDPOINT"),
        variable("SHADOW_TEST_S3_REGION"),
    );
    let keys = format!(
        "bucket = \"{bucket}\"\nprefix = \"{prefix}\"\nendpoint = \"{endpoint}\"\nregion = \"{region}\"\npath_style = true"
    );
    scene.edit("directory = \"store\"", &keys);
    format!("s3://{bucket}/{prefix}/")
}

/// Opens the store that the scene's configuration names.
fn store(scene: &Scene) -> Store {
    let text = std::fs::read_to_string(scene.config()).unwrap();
    let path = scene.config();
    let document = Document::parse(&path, &text, |_| None).unwrap();
    shadow_recorder::config::store::store(&document).unwrap()
}

/// Reads the verdict that a command names as the place of its document.
async fn verdict(store: &Store, root: &str, said: &str) -> Verdict {
    let words = said.split_whitespace();
    let at =
        words.filter_map(|word| word.strip_prefix(root)).find(|key| key.ends_with("verdict.json"));
    let at = at.unwrap_or_else(|| panic!("no verdict in {root}: {said}"));
    serde_json::from_slice(&store.get(at).await.unwrap()).unwrap()
}

#[tokio::test]
async fn what_is_recorded_into_a_bucket_is_replayed_and_certified_from_it() {
    let scene = Scene::new();
    let root = in_bucket(&scene);
    let range = scene.record(100).await;
    assert!(!scene.path("store").exists(), "nothing of the store is on the local disk");
    let store = store(&scene);

    let same = scene.service("candidate", "2.0.0");
    let said = scene.certify("2.0.0", range);
    said.expect(0, "CERTIFIED");
    let certified = verdict(&store, &root, &said.out).await;
    assert_eq!((certified.verdict, certified.exchanges.matched), (Decision::Certified, 100));
    drop(same);

    let _flawed = scene.service("candidate", "2.3.0");
    let said = scene.certify("2.3.0", range);
    said.expect(1, "REFUSED");
    let refused = verdict(&store, &root, &said.out).await;
    let accounts = &refused.dimension(DimensionName::GlAccount).unwrap().cells;
    let worst = accounts.iter().find(|cell| cell.value == ["4100 Fees"]).unwrap();
    assert_eq!(worst.net.as_ref().unwrap().difference(), "2000.00");

    // A journal that was changed in the bucket is not judged.
    let revision = format!("journal/entry/revision=1/run_id={}/", refused.run_id);
    let file = &store.list(&revision).await.unwrap()[0];
    store.put(file, "something else").await.unwrap();
    let again = scene.run("shadow-analyzer", &["certify", "--run", &refused.run_id]);
    again.expect(70, "is not what the replay published");
}
