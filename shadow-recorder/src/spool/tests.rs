use super::*;

fn spool(folder: &tempfile::TempDir, boot: &str) -> Spool {
    let mut spool = Spool::new(folder.path().join("spool"), boot.into(), format!("boot {boot}"));
    spool.ready().unwrap();
    spool
}

/// The segments that a spool takes over, by name, with their marks.
fn left(spool: &mut Spool) -> Vec<(String, bool)> {
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    spool.leftovers().unwrap().iter().map(|left| (name(&left.path), left.ends_boot)).collect()
}

#[test]
fn a_recorder_leaves_the_files_of_another_that_lives_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = spool(&folder, "a");
    let segment = first.create(1, b"header").unwrap();
    let mut second = spool(&folder, "b");
    let holders = Lock::holders(&folder.path().join("spool")).unwrap();
    assert_eq!(BTreeSet::from_iter(holders), ["boot a".to_owned(), "boot b".to_owned()].into());
    assert_eq!(left(&mut second), []);
    // What is on its way to the store is not left over yet.
    drop(first);
    assert_eq!(left(&mut second), []);
    drop(segment);
    assert_eq!(left(&mut second), [("a-1.ndjson.zst".to_owned(), true)]);
    assert_eq!(left(&mut second), []);
}

#[test]
fn what_is_left_over_is_taken_by_one_recorder() {
    let folder = tempfile::tempdir().unwrap();
    drop(spool(&folder, "a").create(1, b"header").unwrap());
    let (mut second, mut third) = (spool(&folder, "b"), spool(&folder, "c"));
    let taken = second.leftovers().unwrap();
    assert_eq!(taken.len(), 1);
    assert_eq!(left(&mut third), []);
    // It was not stored, and nobody is at it any more.
    drop(taken);
    assert_eq!(left(&mut third).len(), 1);
}

#[test]
fn leftovers_are_ordered_and_the_last_of_each_boot_is_known() {
    let folder = tempfile::tempdir().unwrap();
    for (boot, sequences) in [("b", &[10, 9][..]), ("a", &[3]), ("c", &[])] {
        let mut spool = spool(&folder, boot);
        for sequence in sequences {
            spool.create(*sequence, b"header").unwrap();
        }
    }
    // As after a power cut: a lock that nobody holds, and a segment without its name.
    let path = |name: &str| folder.path().join("spool").join(name);
    for name in ["b.lock", "d.lock", "e.unfinished", "e.lock-unfinished", "lock", "notes.txt"] {
        fs::write(path(name), "").unwrap();
    }
    let mut next = spool(&folder, "f");
    let names = [("a-3", true), ("b-9", false), ("b-10", true)];
    assert_eq!(left(&mut next), names.map(|(name, last)| (format!("{name}{SUFFIX}"), last)));
    let mut kept = next.names().unwrap();
    kept.retain(|name| !name.ends_with(SUFFIX));
    kept.sort();
    assert_eq!(kept, ["e.lock-unfinished", "f.lock", "lock", "notes.txt"]);
}

#[test]
fn a_failed_frame_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = spool(&folder, "b").create(1, b"one").unwrap();
    // As after a write that stopped half-way.
    file.file.write_all(b"garbage").unwrap();
    file.torn = true;
    file.append(b"two").unwrap();
    assert_eq!(fs::read(&file.path).unwrap(), b"onetwo");
}
