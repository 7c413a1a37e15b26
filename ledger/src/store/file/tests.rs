//! What only a directory can do wrong; the laws of all stores are in `tests/laws.rs`.

use std::os::unix::ffi::OsStrExt;

use super::*;

fn store() -> (tempfile::TempDir, FileStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::create(directory.path()).unwrap();
    (directory, store)
}

fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn create_makes_the_root_and_open_wants_it() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("a/b");
    assert!(matches!(FileStore::open(&root), Err(FileError::RootMissing(_))));
    assert_eq!(FileStore::create(&root).unwrap().list("", None, 10).await.unwrap(), []);
    assert!(FileStore::open(&root).is_ok());
    std::fs::write(directory.path().join("file"), "").unwrap();
    assert!(matches!(
        FileStore::open(&directory.path().join("file")),
        Err(FileError::RootNotDirectory(_) | FileError::RootMissing(_))
    ));
}

#[tokio::test]
async fn a_root_that_goes_away_is_no_such_bucket_for_every_call() {
    let (directory, store) = store();
    let id = store.begin_upload("data/a").await.unwrap();
    directory.close().unwrap();
    let faults = [
        store.put_if_absent("a", Bytes::new()).await.unwrap_err(),
        store.get("a").await.unwrap_err(),
        store.get_tagged("a").await.unwrap_err(),
        store.put_if_match("a", Bytes::new(), &ObjectTag(String::new())).await.unwrap_err(),
        store.head("a").await.unwrap_err(),
        store.list("", None, 1).await.unwrap_err(),
        store.copy("a", "b").await.unwrap_err(),
        store.delete("a").await.unwrap_err(),
        store.begin_upload("a").await.unwrap_err(),
        store.upload_part("data/a", &id, 1, Bytes::new()).await.unwrap_err(),
        store.complete_upload("data/a", &id, &[]).await.unwrap_err(),
        store.abort_upload("data/a", &id).await.unwrap_err(),
        store.list_uploads("").await.unwrap_err(),
    ];
    for error in faults {
        assert_eq!(error.fault, Fault::NoSuchBucket, "{error}: {}", error.source);
    }
}

#[tokio::test]
async fn the_workshop_is_no_place_for_keys() {
    let (_directory, store) = store();
    let error = store.put_if_absent("_landfall/uploads/x", Bytes::new()).await.unwrap_err();
    assert_eq!(error.fault, Fault::Refused);
    store.put_if_absent("_landfall/uploads-of-mine/x", Bytes::new()).await.unwrap();
}

#[tokio::test]
async fn an_upload_id_from_elsewhere_reaches_nothing() {
    let (directory, store) = store();
    std::fs::create_dir(directory.path().join("victim")).unwrap();
    std::fs::write(directory.path().join("victim/key"), "a").unwrap();
    let forged = UploadId("../../victim".to_owned());
    store.abort_upload("a", &forged).await.unwrap();
    assert_eq!(store.complete_upload("a", &forged, &[]).await.unwrap(), CompleteOutcome::NoSuchUpload);
    assert!(directory.path().join("victim/key").exists());
}

#[tokio::test]
async fn nothing_is_left_in_the_workshop_when_all_is_done() {
    let (directory, store) = store();
    store.put_if_absent("data/a", Bytes::from_static(b"1")).await.unwrap();
    store.put_if_absent("data/a", Bytes::from_static(b"2")).await.unwrap();
    store.copy("data/a", "data/b").await.unwrap();
    let (_, tag) = store.get_tagged("data/a").await.unwrap().unwrap();
    for outcome in [ReplaceOutcome::Replaced, ReplaceOutcome::Changed] {
        assert_eq!(store.put_if_match("data/a", Bytes::new(), &tag).await.unwrap(), outcome);
    }
    let id = store.begin_upload("data/c").await.unwrap();
    let tag = store.upload_part("data/c", &id, 1, Bytes::from_static(b"3")).await.unwrap();
    store.complete_upload("data/c", &id, &[tag]).await.unwrap();
    let id = store.begin_upload("data/d").await.unwrap();
    store.abort_upload("data/d", &id).await.unwrap();
    assert_eq!(names_in(&directory.path().join(WORKSHOP)), [""; 0]);
    assert_eq!(names_in(&directory.path().join("data")), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_new_process_removes_what_a_killed_one_left() {
    let (directory, store) = store();
    store.begin_upload("data/open").await.unwrap();
    let workshop = directory.path().join(WORKSHOP);
    std::fs::create_dir(workshop.join("gone-1")).unwrap();
    std::fs::write(workshop.join("draft-young"), "").unwrap();
    let old = std::fs::File::create(workshop.join("draft-old")).unwrap();
    old.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let next = FileStore::open(directory.path()).unwrap();
    next.begin_upload("data/next").await.unwrap();
    let names = names_in(&workshop);
    assert!(names.contains(&"draft-young".to_owned()), "{names:?}");
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!(next.list_uploads("").await.unwrap().len(), 2);
}

async fn replace(store: &FileStore, key: &str, body: &'static str) -> ReplaceOutcome {
    let (_, tag) = store.get_tagged(key).await.unwrap().unwrap();
    store.put_if_match(key, Bytes::from_static(body.as_bytes()), &tag).await.unwrap()
}

#[tokio::test]
async fn a_replacement_is_later_than_what_it_replaces_though_the_clock_went_back() {
    let (directory, store) = store();
    store.put_if_absent("journal", Bytes::from_static(b"A")).await.unwrap();
    let path = directory.path().join("journal");
    let modified = || std::fs::metadata(&path).unwrap().modified().unwrap();
    // Made by a process whose clock was ten years ahead.
    let ahead = modified() + std::time::Duration::from_secs(10 * 365 * 86_400);
    std::fs::File::open(&path).unwrap().set_modified(ahead).unwrap();
    let mut before = modified();
    for _ in 0..3 {
        assert_eq!(replace(&store, "journal", "A").await, ReplaceOutcome::Replaced);
        assert!(modified() > before, "{before:?} {:?}", modified());
        before = modified();
    }
}

#[tokio::test]
async fn a_file_that_someone_edited_is_another_object() {
    let (directory, store) = store();
    store.put_if_absent("journal", Bytes::from_static(b"A")).await.unwrap();
    let (_, tag) = store.get_tagged("journal").await.unwrap().unwrap();
    let path = directory.path().join("journal");
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    std::fs::write(&path, "B").unwrap();
    // Within one tick of the clock.
    std::fs::File::open(&path).unwrap().set_modified(modified).unwrap();
    assert_eq!(store.put_if_match("journal", Bytes::new(), &tag).await.unwrap(), ReplaceOutcome::Changed);
    assert_eq!(store.get("journal").await.unwrap().unwrap(), Bytes::from_static(b"B"));
}

#[tokio::test]
async fn a_holder_that_goes_away_does_not_block_and_one_that_stays_is_waited_for() {
    let (directory, store) = store();
    store.put_if_absent("journal", Bytes::from_static(b"A")).await.unwrap();
    let holder = std::fs::File::open(directory.path().join("journal")).unwrap();
    holder.lock().unwrap();
    let waiter = store.clone();
    let waiting = tokio::spawn(async move { replace(&waiter, "journal", "B").await });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    // Reading waits for nobody.
    assert_eq!(store.get_tagged("journal").await.unwrap().unwrap().0, Bytes::from_static(b"A"));
    drop(holder);
    assert_eq!(waiting.await.unwrap(), ReplaceOutcome::Replaced);
}

#[tokio::test]
async fn a_holder_that_is_stopped_is_a_conflict_that_says_so() {
    let (directory, store) = store();
    store.put_if_absent("journal", Bytes::from_static(b"A")).await.unwrap();
    let holder = std::fs::File::open(directory.path().join("journal")).unwrap();
    holder.lock().unwrap();
    let (_, tag) = store.get_tagged("journal").await.unwrap().unwrap();
    let error = store.put_if_match("journal", Bytes::new(), &tag).await.unwrap_err();
    assert_eq!(error.fault, Fault::Conflict);
    assert!(error.source.to_string().contains("look whether it is stopped"), "{}", error.source);
    assert_eq!(store.get("journal").await.unwrap().unwrap(), Bytes::from_static(b"A"));
}

#[tokio::test]
async fn who_waited_for_a_file_that_was_replaced_meanwhile_changes_nothing() {
    let (directory, store) = store();
    store.put_if_absent("journal", Bytes::from_static(b"A")).await.unwrap();
    let path = directory.path().join("journal");
    let holder = std::fs::File::open(&path).unwrap();
    holder.lock().unwrap();
    let waiter = store.clone();
    let (_, tag) = store.get_tagged("journal").await.unwrap().unwrap();
    let waiting =
        tokio::spawn(async move { waiter.put_if_match("journal", Bytes::from_static(b"C"), &tag).await });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    // As a holder in another process does, which is killed before it lets go.
    std::fs::write(directory.path().join("beside"), "B").unwrap();
    std::fs::rename(directory.path().join("beside"), &path).unwrap();
    drop(holder);
    assert_eq!(waiting.await.unwrap().unwrap(), ReplaceOutcome::Changed);
    assert_eq!(store.get("journal").await.unwrap().unwrap(), Bytes::from_static(b"B"));
}

#[tokio::test]
async fn emptied_directories_go_and_the_root_stays() {
    let (directory, store) = store();
    store.put_if_absent("data/dt=1/hour=2/a", Bytes::new()).await.unwrap();
    store.put_if_absent("data/dt=2/a", Bytes::new()).await.unwrap();
    store.delete("data/dt=1/hour=2/a").await.unwrap();
    assert_eq!(names_in(&directory.path().join("data")), ["dt=2"]);
    store.delete("data/dt=2/a").await.unwrap();
    assert!(!directory.path().join("data").exists() && directory.path().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn puts_and_deletes_that_race_for_a_directory_both_succeed() {
    let (_directory, store) = store();
    let mut racers = Vec::new();
    for racer in 0..8 {
        let store = store.clone();
        racers.push(tokio::spawn(async move {
            for _ in 0..40 {
                let key = format!("data/dt=1/hour=1/{racer}");
                assert_eq!(store.put_if_absent(&key, Bytes::new()).await.unwrap(), PutOutcome::Created);
                store.delete(&key).await.unwrap();
            }
        }));
    }
    for racer in racers {
        racer.await.unwrap();
    }
    assert_eq!(store.list("", None, 10).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_complete_and_abort_that_race_one_wins_and_the_other_sees_it() {
    let (_directory, store) = store();
    for round in 0..60 {
        let key = format!("data/{round}");
        let id = store.begin_upload(&key).await.unwrap();
        let tag = store.upload_part(&key, &id, 1, Bytes::from_static(b"x")).await.unwrap();
        let parts = [tag];
        let (done, aborted) = if round % 2 == 0 {
            tokio::join!(store.complete_upload(&key, &id, &parts), store.abort_upload(&key, &id))
        } else {
            let (aborted, done) =
                tokio::join!(store.abort_upload(&key, &id), store.complete_upload(&key, &id, &parts));
            (done, aborted)
        };
        aborted.unwrap();
        let there = store.head(&key).await.unwrap().is_some();
        match done.unwrap() {
            CompleteOutcome::Completed => assert!(there),
            CompleteOutcome::NoSuchUpload => assert!(!there),
        }
        assert_eq!(store.list_uploads("").await.unwrap(), []);
    }
}

#[tokio::test]
async fn an_object_in_the_way_of_a_directory_is_a_refusal_that_says_so() {
    let (_directory, store) = store();
    store.put_if_absent("a", Bytes::new()).await.unwrap();
    let error = store.put_if_absent("a/b/c", Bytes::new()).await.unwrap_err();
    assert_eq!(error.fault, Fault::Refused);
    assert!(error.source.to_string().contains("is the name of an object"), "{}", error.source);
    assert_eq!(store.get("a/b").await.unwrap(), None);
    let long = format!("data/{}", "n".repeat(256));
    assert_eq!(store.put_if_absent(&long, Bytes::new()).await.unwrap_err().fault, Fault::Refused);
}

#[tokio::test]
async fn strange_things_in_the_directory_do_not_stop_a_listing() {
    let (directory, store) = store();
    store.put_if_absent("b", Bytes::new()).await.unwrap();
    std::os::unix::fs::symlink(directory.path(), directory.path().join("loop")).unwrap();
    std::os::unix::fs::symlink("/nowhere", directory.path().join("dangling")).unwrap();
    std::fs::write(directory.path().join(std::ffi::OsStr::from_bytes(b"\xff\xfe")), "").unwrap();
    let keys: Vec<String> =
        store.list("", None, 10).await.unwrap().into_iter().map(|found| found.key).collect();
    assert_eq!(keys, ["b"]);
}

#[test]
fn faults_of_the_disk_are_told_apart() {
    let fault = |raw| FileError::io("write", Path::new("/x"))(io::Error::from_raw_os_error(raw)).fault();
    let (eacces, erofs, enospc, eio, enametoolong) = (13, 30, 28, 5, 36);
    assert_eq!(fault(eacces), Fault::Denied);
    assert_eq!(fault(erofs), Fault::Denied);
    assert_eq!(fault(enospc), Fault::Unknown);
    assert_eq!(fault(eio), Fault::Unknown);
    assert_eq!(fault(enametoolong), Fault::Refused);
    let full = FileError::io("write", Path::new("/x"))(io::Error::from_raw_os_error(enospc));
    assert_eq!(full.to_string(), "write `/x` (the file system is full: free some space)");
}
