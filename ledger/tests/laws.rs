//! The laws of every store, as sentences, against each store that there is.
//!
//! S3's stores need servers: `LANDFALL_TEST_S3_MINISTACK` names ministack, which is atomic, and
//! `LANDFALL_TEST_S3_STRICT` moto, which refuses small parts (both as `http://HOST:PORT`; credentials and region
//! as always, from the surroundings). Without them a line on stderr says what was not tested; with `CI=true`
//! that is a failure.

#![allow(clippy::unwrap_used, reason = "a law is a test")]

#[path = "laws/place.rs"]
mod place;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use ledger::store::{
    CompleteOutcome, CopyOutcome, Fault, ObjectTag, PutOutcome, ReplaceOutcome, Store, StoreError, UploadId,
};
use place::{Place, S3Server};

/// Runs each law in each of these places.
macro_rules! laws {
    ($places:tt: $($law:ident),+ $(,)?) => { $( laws!(@law $law $places); )+ };
    (@law $law:ident [$($place:ident),+]) => {
        mod $law {
            use super::Place;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $place() {
                    if let Some(place) = Place::$place().await {
                        super::$law(place).await;
                    }
                }
            )+
        }
    };
}

laws!([memory, faulty_that_passes, file, s3_ministack, s3_strict]:
    a_put_leaves_what_is_there,
    what_is_absent_is_none_and_not_an_error,
    an_empty_object_is_an_object,
    a_range_is_cut_at_the_end_of_the_object,
    an_upload_is_invisible_until_it_is_completed,
    parts_become_one_object_in_their_order,
    completing_twice_leaves_the_object_as_it_was,
    aborting_after_completing_keeps_the_object,
    aborting_what_is_gone_is_no_error,
    a_part_sent_again_replaces_the_first,
    the_same_part_sent_again_keeps_its_tag,
    a_tag_of_a_replaced_part_completes_nothing,
    a_listing_is_in_the_order_of_bytes,
    a_listing_starts_after_and_ends_at_the_limit,
    a_prefix_need_not_end_at_a_slash,
    a_listing_goes_past_a_thousand,
    copying_overwrites_and_tells_when_nothing_is_there,
    deleting_is_seen_at_once_and_needs_nothing_there,
    odd_keys_are_keys,
    keys_that_leave_the_prefix_are_refused,
    open_uploads_are_listed_until_they_are_not,
    a_replacement_needs_the_tag_of_what_is_there,
    replacing_what_is_absent_changes_nothing,
    a_tag_stays_until_its_own_object_is_replaced,
    bodies_that_differ_have_tags_that_differ,
    however_an_object_was_made_it_can_be_replaced,
);

// An ETag follows from the body, as S3's does of a PUT without KMS; so bodies must have something that none before had.
laws!([memory, faulty_that_passes, file]: a_body_that_was_there_before_does_not_bring_its_tag_back);
laws!([s3_ministack, s3_strict]: on_s3_a_body_that_was_there_before_brings_its_tag_back);

// moto, the strict server, looks first and writes then, with no lock around both: it lets two putters win now and then.
// And it answers 500 for an upload that is gone.
laws!([memory, faulty_that_passes, file, s3_ministack]:
    of_twenty_racing_putters_one_creates,
    of_twenty_racing_replacers_one_replaces,
    no_count_is_lost_among_racing_counters,
    completing_after_aborting_makes_nothing,
    an_upload_that_never_was_is_no_such_upload,
    a_part_of_a_gone_upload_is_refused_as_such,
);

// ministack takes parts of any size, and so does a directory.
laws!([memory, faulty_that_passes, s3_strict]: a_small_part_that_is_not_the_last_is_refused);

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn keys(store: &Arc<dyn Store>, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    store.list(prefix, after, limit).await.unwrap().into_iter().map(|found| found.key).collect()
}

async fn put_all(store: &Arc<dyn Store>, keys: impl IntoIterator<Item = String>) {
    stream::iter(keys)
        .map(|key| async move { store.put_if_absent(&key, Bytes::new()).await })
        .buffer_unordered(16)
        .try_for_each(|outcome| async move {
            assert_eq!(outcome, PutOutcome::Created);
            Ok(())
        })
        .await
        .unwrap();
}

/// Twenty ask at once; those who are told `won`.
async fn winners<T, Answer>(won: T, ask: impl Fn(u32) -> Answer + Clone + Send + Sync + 'static) -> Vec<u32>
where
    T: PartialEq + Send + 'static,
    Answer: Future<Output = Result<T, StoreError>> + Send,
{
    let mut racers = Vec::new();
    for racer in 0..20 {
        let ask = ask.clone();
        racers.push(tokio::spawn(async move {
            // A conflict is not an answer: ask again, as everyone must.
            for _ in 0..50 {
                match ask(racer).await {
                    Ok(outcome) => return (racer, outcome),
                    Err(error) => assert_eq!(error.fault, Fault::Conflict, "{error}"),
                }
            }
            panic!("fifty conflicts in a row");
        }));
    }
    let mut winners = Vec::new();
    for racer in racers {
        let (racer, outcome) = racer.await.unwrap();
        if outcome == won {
            winners.push(racer);
        }
    }
    winners
}

async fn of_twenty_racing_putters_one_creates(place: Place) {
    for round in 0..10 {
        let key = format!("race/{round}");
        let (store, at) = (place.store.clone(), key.clone());
        let winners = winners(PutOutcome::Created, move |racer| {
            let (store, key) = (store.clone(), at.clone());
            async move { store.put_if_absent(&key, bytes(&format!("by {racer}"))).await }
        })
        .await;
        assert_eq!(winners.len(), 1, "winners {winners:?} of {key}");
        let body = place.store.get(&key).await.unwrap().unwrap();
        assert_eq!(body, bytes(&format!("by {}", winners[0])));
    }
}

async fn tagged(store: &Arc<dyn Store>, key: &str) -> (Bytes, ObjectTag) {
    store.get_tagged(key).await.unwrap().unwrap()
}

async fn of_twenty_racing_replacers_one_replaces(place: Place) {
    place.store.put_if_absent("journal", bytes("before")).await.unwrap();
    for round in 0..10 {
        let (_, tag) = tagged(&place.store, "journal").await;
        let store = place.store.clone();
        let winners = winners(ReplaceOutcome::Replaced, move |racer| {
            let (store, tag) = (store.clone(), tag.clone());
            async move { store.put_if_match("journal", bytes(&format!("{round} by {racer}")), &tag).await }
        })
        .await;
        assert_eq!(winners.len(), 1, "winners {winners:?} of round {round}");
        let body = place.store.get("journal").await.unwrap().unwrap();
        assert_eq!(body, bytes(&format!("{round} by {}", winners[0])));
    }
}

async fn no_count_is_lost_among_racing_counters(place: Place) {
    const COUNTERS: u32 = 6;
    const EACH: u32 = 5;
    place.store.put_if_absent("count", bytes("0")).await.unwrap();
    let mut counters = Vec::new();
    for _ in 0..COUNTERS {
        let store = place.store.clone();
        counters.push(tokio::spawn(async move {
            let (mut counted, mut overtaken) = (0, 0);
            while counted < EACH {
                let (body, tag) = tagged(&store, "count").await;
                let count: u32 = std::str::from_utf8(&body).unwrap().parse().unwrap();
                match store.put_if_match("count", bytes(&(count + 1).to_string()), &tag).await {
                    Ok(ReplaceOutcome::Replaced) => counted += 1,
                    Ok(ReplaceOutcome::Changed) => overtaken += 1,
                    Err(error) => assert_eq!(error.fault, Fault::Conflict, "{error}"),
                }
                // Somebody gets on at every turn.
                assert!(overtaken <= COUNTERS * EACH, "overtaken {overtaken} times");
            }
        }));
    }
    for counter in counters {
        counter.await.unwrap();
    }
    let total = (COUNTERS * EACH).to_string();
    assert_eq!(place.store.get("count").await.unwrap().unwrap(), bytes(&total));
}

async fn a_replacement_needs_the_tag_of_what_is_there(place: Place) {
    let store = &place.store;
    store.put_if_absent("a/journal", bytes("1")).await.unwrap();
    let (body, first) = tagged(store, "a/journal").await;
    assert_eq!(body, bytes("1"));
    let replaced = store.put_if_match("a/journal", bytes("2, longer"), &first).await.unwrap();
    assert_eq!(replaced, ReplaceOutcome::Replaced);
    let (body, second) = tagged(store, "a/journal").await;
    assert_eq!(body, bytes("2, longer"));
    // Who read the first one is late, and so is who asks again after a reply that was lost.
    for late in ["3", "2, longer"] {
        let outcome = store.put_if_match("a/journal", bytes(late), &first).await.unwrap();
        assert_eq!(outcome, ReplaceOutcome::Changed, "{late}");
        assert_eq!(tagged(store, "a/journal").await, (bytes("2, longer"), second.clone()));
    }
    assert_eq!(
        store.put_if_match("a/journal", Bytes::new(), &second).await.unwrap(),
        ReplaceOutcome::Replaced
    );
    assert_eq!(store.get("a/journal").await.unwrap(), Some(Bytes::new()));
    assert_eq!(store.head("a/journal").await.unwrap().unwrap().bytes, 0);
    assert_eq!(keys(store, "", None, 10).await, ["a/journal"]);
    assert_eq!(store.put_if_absent("a/journal", bytes("x")).await.unwrap(), PutOutcome::Exists);
}

async fn replacing_what_is_absent_changes_nothing(place: Place) {
    let store = &place.store;
    assert_eq!(store.get_tagged("journal").await.unwrap(), None);
    store.put_if_absent("other/journal", bytes("1")).await.unwrap();
    let (_, tag) = tagged(store, "other/journal").await;
    // Nor what is only the beginning of a key.
    for key in ["journal", "deep/down/journal", "other"] {
        assert_eq!(store.get_tagged(key).await.unwrap(), None, "{key}");
        assert_eq!(
            store.put_if_match(key, bytes("2"), &tag).await.unwrap(),
            ReplaceOutcome::Changed,
            "{key}"
        );
        assert_eq!(store.get(key).await.unwrap(), None, "{key}");
    }
    store.delete("other/journal").await.unwrap();
    let outcome = store.put_if_match("other/journal", bytes("2"), &tag).await.unwrap();
    assert_eq!(outcome, ReplaceOutcome::Changed);
    assert_eq!(keys(store, "", None, 10).await, [""; 0]);
}

async fn a_tag_stays_until_its_own_object_is_replaced(place: Place) {
    let store = &place.store;
    for key in ["a", "b"] {
        store.put_if_absent(key, bytes(key)).await.unwrap();
    }
    let (_, a) = tagged(store, "a").await;
    let (_, b) = tagged(store, "b").await;
    assert_eq!(store.put_if_absent("a", bytes("no")).await.unwrap(), PutOutcome::Exists);
    store.head("a").await.unwrap();
    store.copy("a", "c").await.unwrap();
    assert_eq!(store.put_if_match("b", bytes("b2"), &b).await.unwrap(), ReplaceOutcome::Replaced);
    assert_eq!(tagged(store, "a").await, (bytes("a"), a.clone()));
    assert_eq!(store.put_if_match("a", bytes("a2"), &a).await.unwrap(), ReplaceOutcome::Replaced);
}

async fn bodies_that_differ_have_tags_that_differ(place: Place) {
    let store = &place.store;
    store.put_if_absent("journal", bytes("revision 0")).await.unwrap();
    let mut tags = Vec::new();
    for revision in 1..=50 {
        let (_, tag) = tagged(store, "journal").await;
        assert!(!tags.contains(&tag), "revision {revision} has the tag of an earlier one: {tags:?}");
        let body = bytes(&format!("revision {revision}"));
        assert_eq!(store.put_if_match("journal", body, &tag).await.unwrap(), ReplaceOutcome::Replaced);
        tags.push(tag);
    }
    for old in tags {
        assert_eq!(
            store.put_if_match("journal", bytes("late"), &old).await.unwrap(),
            ReplaceOutcome::Changed
        );
    }
    assert_eq!(store.get("journal").await.unwrap().unwrap(), bytes("revision 50"));
}

async fn a_body_that_was_there_before_does_not_bring_its_tag_back(place: Place) {
    let store = &place.store;
    store.put_if_absent("journal", bytes("A")).await.unwrap();
    let mut tags = Vec::new();
    // The same body at once, and after another one; as quickly as it goes, within one tick of a clock.
    for body in ["A", "B", "A", "A", "B", "B"].repeat(20) {
        let (_, tag) = tagged(store, "journal").await;
        assert!(!tags.contains(&tag), "{tag:?} was there before, of {tags:?}");
        assert_eq!(store.put_if_match("journal", bytes(body), &tag).await.unwrap(), ReplaceOutcome::Replaced);
        tags.push(tag);
    }
}

async fn on_s3_a_body_that_was_there_before_brings_its_tag_back(place: Place) {
    let store = &place.store;
    store.put_if_absent("journal", bytes("A")).await.unwrap();
    let (_, first) = tagged(store, "journal").await;
    assert_eq!(store.put_if_match("journal", bytes("B"), &first).await.unwrap(), ReplaceOutcome::Replaced);
    let (_, second) = tagged(store, "journal").await;
    assert_ne!(first, second);
    assert_eq!(store.put_if_match("journal", bytes("A"), &second).await.unwrap(), ReplaceOutcome::Replaced);
    assert_eq!(tagged(store, "journal").await, (bytes("A"), first));
}

async fn however_an_object_was_made_it_can_be_replaced(place: Place) {
    let store = &place.store;
    store.put_if_absent("put", bytes("x")).await.unwrap();
    store.copy("put", "copied").await.unwrap();
    let upload = store.begin_upload("uploaded").await.unwrap();
    let parts = [store.upload_part("uploaded", &upload, 1, bytes("x")).await.unwrap()];
    store.complete_upload("uploaded", &upload, &parts).await.unwrap();
    for key in ["put", "copied", "uploaded"] {
        let (body, tag) = tagged(store, key).await;
        assert_eq!(body, bytes("x"), "{key}");
        assert_eq!(
            store.put_if_match(key, bytes("y"), &tag).await.unwrap(),
            ReplaceOutcome::Replaced,
            "{key}"
        );
        assert_eq!(store.get(key).await.unwrap(), Some(bytes("y")), "{key}");
    }
}

async fn a_put_leaves_what_is_there(place: Place) {
    let store = &place.store;
    assert_eq!(store.put_if_absent("a/k", bytes("first")).await.unwrap(), PutOutcome::Created);
    assert_eq!(store.put_if_absent("a/k", bytes("second")).await.unwrap(), PutOutcome::Exists);
    assert_eq!(store.get("a/k").await.unwrap().unwrap(), bytes("first"));
}

async fn what_is_absent_is_none_and_not_an_error(place: Place) {
    let store = &place.store;
    assert_eq!(store.get("no/such").await.unwrap(), None);
    assert_eq!(store.get_range("no/such", 0, 10).await.unwrap(), None);
    assert_eq!(store.get_range("no/such", 5, 5).await.unwrap(), None);
    assert_eq!(store.head("no/such").await.unwrap(), None);
    assert_eq!(store.list("", None, 10).await.unwrap(), []);
    assert_eq!(store.list_uploads("").await.unwrap(), []);
    // What is only the beginning of a key is none.
    store.put_if_absent("no/such/key", Bytes::new()).await.unwrap();
    assert_eq!(store.get("no/such").await.unwrap(), None);
    assert_eq!(store.head("no").await.unwrap(), None);
}

async fn an_empty_object_is_an_object(place: Place) {
    let store = &place.store;
    store.put_if_absent("empty", Bytes::new()).await.unwrap();
    assert_eq!(store.get("empty").await.unwrap(), Some(Bytes::new()));
    assert_eq!(store.get_range("empty", 0, 10).await.unwrap(), Some(Bytes::new()));
    assert_eq!(store.head("empty").await.unwrap().unwrap().bytes, 0);
}

async fn a_range_is_cut_at_the_end_of_the_object(place: Place) {
    let store = &place.store;
    store.put_if_absent("k", bytes("0123456789")).await.unwrap();
    let range = |start, end| async move { store.get_range("k", start, end).await.unwrap().unwrap() };
    assert_eq!(range(0, 10).await, bytes("0123456789"));
    assert_eq!(range(3, 5).await, bytes("34"));
    assert_eq!(range(9, 10).await, bytes("9"));
    assert_eq!(range(8, 100).await, bytes("89"));
    assert_eq!(range(10, 20).await, Bytes::new());
    assert_eq!(range(4, 4).await, Bytes::new());
    assert_eq!(range(0, 1).await, bytes("0"));
}

async fn an_upload_is_invisible_until_it_is_completed(place: Place) {
    let store = &place.store;
    let upload = store.begin_upload("data/k").await.unwrap();
    let tag = store.upload_part("data/k", &upload, 1, bytes("whole")).await.unwrap();
    assert_eq!(store.get("data/k").await.unwrap(), None);
    assert_eq!(store.head("data/k").await.unwrap(), None);
    assert_eq!(store.list("", None, 10).await.unwrap(), []);
    assert_eq!(store.complete_upload("data/k", &upload, &[tag]).await.unwrap(), CompleteOutcome::Completed);
    assert_eq!(store.get("data/k").await.unwrap().unwrap(), bytes("whole"));
    assert_eq!(keys(store, "", None, 10).await, ["data/k"]);
    assert_eq!(store.list_uploads("").await.unwrap(), []);
}

async fn parts_become_one_object_in_their_order(place: Place) {
    let (store, size) = (&place.store, place.part_bytes);
    let upload = store.begin_upload("data/k").await.unwrap();
    let part = |letter: u8, size: usize| Bytes::from(vec![letter; size]);
    // Sent in another order than they stand.
    let third = store.upload_part("data/k", &upload, 3, part(b'c', 7)).await.unwrap();
    let first = store.upload_part("data/k", &upload, 1, part(b'a', size)).await.unwrap();
    let second = store.upload_part("data/k", &upload, 2, part(b'b', size + 1)).await.unwrap();
    store.complete_upload("data/k", &upload, &[first, second, third]).await.unwrap();
    let head = store.head("data/k").await.unwrap().unwrap();
    assert_eq!(head.bytes, 2 * size as u64 + 8);
    assert_eq!(store.list("data/", None, 10).await.unwrap()[0].bytes, head.bytes);
    let seam = |at: u64| async move { store.get_range("data/k", at - 1, at + 1).await.unwrap().unwrap() };
    assert_eq!(seam(size as u64).await, bytes("ab"));
    assert_eq!(seam(2 * size as u64 + 1).await, bytes("bc"));
    assert_eq!(store.get("data/k").await.unwrap().unwrap().len() as u64, head.bytes);
}

async fn completing_twice_leaves_the_object_as_it_was(place: Place) {
    let store = &place.store;
    let upload = store.begin_upload("k").await.unwrap();
    let tags = [store.upload_part("k", &upload, 1, bytes("x")).await.unwrap()];
    assert_eq!(store.complete_upload("k", &upload, &tags).await.unwrap(), CompleteOutcome::Completed);
    // The second answer is no verdict; that there is one, and the object stays, is the law.
    store.complete_upload("k", &upload, &tags).await.unwrap();
    assert_eq!(store.get("k").await.unwrap().unwrap(), bytes("x"));
}

async fn completing_after_aborting_makes_nothing(place: Place) {
    let store = &place.store;
    let upload = store.begin_upload("k").await.unwrap();
    let tags = [store.upload_part("k", &upload, 1, bytes("x")).await.unwrap()];
    store.abort_upload("k", &upload).await.unwrap();
    assert_eq!(store.complete_upload("k", &upload, &tags).await.unwrap(), CompleteOutcome::NoSuchUpload);
    assert_eq!(store.head("k").await.unwrap(), None);
}

async fn aborting_after_completing_keeps_the_object(place: Place) {
    let store = &place.store;
    let upload = store.begin_upload("k").await.unwrap();
    let tags = [store.upload_part("k", &upload, 1, bytes("x")).await.unwrap()];
    store.complete_upload("k", &upload, &tags).await.unwrap();
    store.abort_upload("k", &upload).await.unwrap();
    assert_eq!(store.get("k").await.unwrap().unwrap(), bytes("x"));
}

async fn aborting_what_is_gone_is_no_error(place: Place) {
    let store = &place.store;
    let upload = store.begin_upload("k").await.unwrap();
    store.upload_part("k", &upload, 1, bytes("x")).await.unwrap();
    store.abort_upload("k", &upload).await.unwrap();
    store.abort_upload("k", &upload).await.unwrap();
    assert_eq!(store.list_uploads("").await.unwrap(), []);
}

async fn an_upload_that_never_was_is_no_such_upload(place: Place) {
    let store = &place.store;
    let own = store.begin_upload("k").await.unwrap();
    let tags = [store.upload_part("k", &own, 1, bytes("x")).await.unwrap()];
    let forged = UploadId("3f2c8b0e-0000-4000-8000-000000000000".to_owned());
    assert_eq!(store.complete_upload("k", &forged, &tags).await.unwrap(), CompleteOutcome::NoSuchUpload);
    store.abort_upload("k", &forged).await.unwrap();
    assert_eq!(store.head("k").await.unwrap(), None);
}

async fn a_part_of_a_gone_upload_is_refused_as_such(place: Place) {
    let store = &place.store;
    let upload = store.begin_upload("k").await.unwrap();
    store.abort_upload("k", &upload).await.unwrap();
    let error = store.upload_part("k", &upload, 1, bytes("x")).await.unwrap_err();
    assert_eq!(error.fault, Fault::NoSuchUpload, "{error}: {}", error.source);
    assert!(!error.is_unknown());
}

async fn a_part_sent_again_replaces_the_first(place: Place) {
    let store = &place.store;
    let upload = store.begin_upload("k").await.unwrap();
    store.upload_part("k", &upload, 1, bytes("first")).await.unwrap();
    let tags = [store.upload_part("k", &upload, 1, bytes("second")).await.unwrap()];
    store.complete_upload("k", &upload, &tags).await.unwrap();
    assert_eq!(store.get("k").await.unwrap().unwrap(), bytes("second"));
}

/// A part whose reply was lost is sent again, and the first request may still arrive after the second.
async fn the_same_part_sent_again_keeps_its_tag(place: Place) {
    let store = &place.store;
    let upload = store.begin_upload("k").await.unwrap();
    let first = store.upload_part("k", &upload, 1, bytes("same")).await.unwrap();
    let second = store.upload_part("k", &upload, 1, bytes("same")).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(store.complete_upload("k", &upload, &[first]).await.unwrap(), CompleteOutcome::Completed);
}

async fn a_tag_of_a_replaced_part_completes_nothing(place: Place) {
    let store = &place.store;
    let upload = store.begin_upload("k").await.unwrap();
    let old = store.upload_part("k", &upload, 1, bytes("first")).await.unwrap();
    let new = store.upload_part("k", &upload, 1, bytes("second")).await.unwrap();
    let error = store.complete_upload("k", &upload, &[old]).await.unwrap_err();
    assert_eq!(error.fault, Fault::Refused, "{error}: {}", error.source);
    assert_eq!(store.head("k").await.unwrap(), None);
    assert_eq!(store.complete_upload("k", &upload, &[new]).await.unwrap(), CompleteOutcome::Completed);
}

async fn a_small_part_that_is_not_the_last_is_refused(place: Place) {
    let store = &place.store;
    let upload = store.begin_upload("k").await.unwrap();
    let small = Bytes::from(vec![0; place.part_bytes - 1]);
    let first = store.upload_part("k", &upload, 1, small).await.unwrap();
    let second = store.upload_part("k", &upload, 2, bytes("x")).await.unwrap();
    let error = store.complete_upload("k", &upload, &[first, second]).await.unwrap_err();
    assert_eq!(error.fault, Fault::Refused, "{error}: {}", error.source);
    assert_eq!(store.head("k").await.unwrap(), None);
}

/// `/` stands between `-` and `0`: a directory's keys are not next to each other in a listing by name.
const UNSORTED: [&str; 9] = ["x0", "x/1", "x-1", "x/1-", "x!", "y/é", "y/z", "X", "x/0/2"];

async fn a_listing_is_in_the_order_of_bytes(place: Place) {
    let store = &place.store;
    put_all(store, UNSORTED.map(str::to_owned)).await;
    let mut sorted = UNSORTED.to_vec();
    sorted.sort_unstable();
    assert_eq!(keys(store, "", None, 100).await, sorted);
    for (index, after) in sorted.iter().enumerate() {
        assert_eq!(keys(store, "", Some(after), 100).await, sorted[index + 1..], "after {after}");
        assert_eq!(keys(store, "", None, index).await, sorted[..index], "limit {index}");
    }
}

async fn a_listing_starts_after_and_ends_at_the_limit(place: Place) {
    let store = &place.store;
    put_all(store, (0..9).map(|n| format!("d/{n}"))).await;
    put_all(store, ["c/0".to_owned(), "e/0".to_owned()]).await;
    assert_eq!(keys(store, "d/", None, 2).await, ["d/0", "d/1"]);
    assert_eq!(keys(store, "d/", Some("d/6"), 2).await, ["d/7", "d/8"]);
    assert_eq!(keys(store, "d/", Some("d/65"), 1).await, ["d/7"]);
    assert_eq!(keys(store, "d/", Some("d/8"), 5).await, [""; 0]);
    assert_eq!(keys(store, "d/", Some("b"), 1).await, ["d/0"]);
    assert_eq!(keys(store, "d/", Some("e"), 1).await, [""; 0]);
    assert_eq!(keys(store, "d/", None, 0).await, [""; 0]);
}

async fn a_prefix_need_not_end_at_a_slash(place: Place) {
    let store = &place.store;
    put_all(store, ["data/a", "data-2/b", "dat/c", "da", "e"].map(str::to_owned)).await;
    assert_eq!(keys(store, "data", None, 10).await, ["data-2/b", "data/a"]);
    assert_eq!(keys(store, "da", None, 10).await, ["da", "dat/c", "data-2/b", "data/a"]);
    assert_eq!(keys(store, "data/", None, 10).await, ["data/a"]);
    assert_eq!(keys(store, "data/a", None, 10).await, ["data/a"]);
    assert_eq!(keys(store, "data/a/", None, 10).await, [""; 0]);
    assert_eq!(keys(store, "z", None, 10).await, [""; 0]);
}

async fn a_listing_goes_past_a_thousand(place: Place) {
    let store = &place.store;
    let all: Vec<String> = (0..1_103).map(|n| format!("many/{n:05}")).collect();
    put_all(store, all.iter().cloned()).await;
    assert_eq!(keys(store, "many/", None, usize::MAX).await, all);
    assert_eq!(keys(store, "many/", None, 1_050).await, all[..1_050]);
    assert_eq!(keys(store, "many/", Some("many/00049"), 1_020).await, all[50..1_070]);
    assert_eq!(keys(store, "many/", None, 1).await, all[..1]);
}

async fn copying_overwrites_and_tells_when_nothing_is_there(place: Place) {
    let store = &place.store;
    assert_eq!(store.copy("from", "to").await.unwrap(), CopyOutcome::SourceAbsent);
    assert_eq!(store.head("to").await.unwrap(), None);
    store.put_if_absent("from", bytes("new")).await.unwrap();
    store.put_if_absent("to/there", bytes("old")).await.unwrap();
    assert_eq!(store.copy("from", "to/there").await.unwrap(), CopyOutcome::Copied);
    assert_eq!(store.get("to/there").await.unwrap().unwrap(), bytes("new"));
    assert_eq!(store.get("from").await.unwrap().unwrap(), bytes("new"));
}

async fn deleting_is_seen_at_once_and_needs_nothing_there(place: Place) {
    let store = &place.store;
    store.delete("a/b/c").await.unwrap();
    store.put_if_absent("a/b/c", bytes("x")).await.unwrap();
    store.delete("a/b/c").await.unwrap();
    assert_eq!(store.head("a/b/c").await.unwrap(), None);
    assert_eq!(store.get("a/b/c").await.unwrap(), None);
    assert_eq!(store.list("", None, 10).await.unwrap(), []);
    store.delete("a/b/c").await.unwrap();
    // Not a tombstone: the name is free.
    assert_eq!(store.put_if_absent("a/b/c", bytes("y")).await.unwrap(), PutOutcome::Created);
}

const ODD: [&str; 8] = [
    "data/dt=2026-11-22/hour=07/plain.parquet",
    "data/with space/a b",
    "data/plus+plus/a+b",
    "data/percent%2F/100%",
    "data/ünï/日本/🦀",
    "data/..dots../...",
    "data/quote'\"&<>;:@,$!*()[]{}^~|`\\",
    "data/question?mark#hash",
];

async fn odd_keys_are_keys(place: Place) {
    let store = &place.store;
    for key in ODD {
        assert_eq!(store.put_if_absent(key, bytes(key)).await.unwrap(), PutOutcome::Created, "{key}");
        assert_eq!(store.put_if_absent(key, bytes("no")).await.unwrap(), PutOutcome::Exists, "{key}");
        assert_eq!(store.get(key).await.unwrap(), Some(bytes(key)), "{key}");
        assert_eq!(store.head(key).await.unwrap().unwrap().key, key);
        let (_, tag) = tagged(store, key).await;
        assert_eq!(
            store.put_if_match(key, bytes(key), &tag).await.unwrap(),
            ReplaceOutcome::Replaced,
            "{key}"
        );
        let copied = format!("copy/{key}");
        assert_eq!(store.copy(key, &copied).await.unwrap(), CopyOutcome::Copied, "{key}");
        let uploaded = format!("uploaded/{key}");
        let upload = store.begin_upload(&uploaded).await.unwrap();
        assert_eq!(store.list_uploads(&uploaded).await.unwrap()[0].key, uploaded);
        let tags = [store.upload_part(&uploaded, &upload, 1, bytes(key)).await.unwrap()];
        store.complete_upload(&uploaded, &upload, &tags).await.unwrap();
        assert_eq!(store.get(&uploaded).await.unwrap(), Some(bytes(key)), "{key}");
    }
    let listed: BTreeSet<String> = keys(store, "data/", None, 100).await.into_iter().collect();
    assert_eq!(listed, BTreeSet::from(ODD.map(str::to_owned)));
    let copied = keys(store, "copy/data/", None, 100).await;
    assert_eq!(copied.len(), ODD.len());
    for (after, next) in copied.iter().zip(&copied[1..]) {
        assert_eq!(keys(store, "copy/", Some(after), 1).await, [next.as_str()]);
    }
    for key in ODD {
        store.delete(key).await.unwrap();
    }
    assert_eq!(keys(store, "data/", None, 100).await, [""; 0]);
}

async fn keys_that_leave_the_prefix_are_refused(place: Place) {
    let store = &place.store;
    for key in ["", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", "a\0b"] {
        let refused = [
            store.put_if_absent(key, Bytes::new()).await.unwrap_err(),
            store.get(key).await.unwrap_err(),
            store.get_tagged(key).await.unwrap_err(),
            store.put_if_match(key, Bytes::new(), &ObjectTag("\"a\"".to_owned())).await.unwrap_err(),
            store.get_range(key, 0, 1).await.unwrap_err(),
            store.head(key).await.unwrap_err(),
            store.copy(key, "b").await.unwrap_err(),
            store.copy("b", key).await.unwrap_err(),
            store.delete(key).await.unwrap_err(),
            store.begin_upload(key).await.unwrap_err(),
        ];
        for error in refused {
            assert_eq!(error.fault, Fault::Refused, "{key:?}: {error}");
            assert!(!error.is_unknown());
        }
    }
}

async fn open_uploads_are_listed_until_they_are_not(place: Place) {
    let store = &place.store;
    let a1 = store.begin_upload("data/a").await.unwrap();
    let a2 = store.begin_upload("data/a").await.unwrap();
    let b = store.begin_upload("data-b").await.unwrap();
    let listed = |prefix: &'static str| async move {
        let found = store.list_uploads(prefix).await.unwrap();
        found.into_iter().map(|upload| (upload.key, upload.upload_id)).collect::<BTreeSet<_>>()
    };
    let of_a = [a1.clone(), a2.clone()].map(|id| ("data/a".to_owned(), id));
    assert_eq!(listed("data/").await, BTreeSet::from(of_a));
    assert_eq!(listed("data").await.len(), 3);
    assert_eq!(listed("z").await.len(), 0);
    let tags = [store.upload_part("data/a", &a1, 1, bytes("x")).await.unwrap()];
    store.complete_upload("data/a", &a1, &tags).await.unwrap();
    store.abort_upload("data-b", &b).await.unwrap();
    assert_eq!(listed("").await, BTreeSet::from([("data/a".to_owned(), a2)]));
}

/// Beside the laws: what S3 says of a bucket that is not there, on both servers.
#[tokio::test]
async fn a_missing_bucket_is_told_from_a_missing_key() {
    for server in [S3Server::Ministack, S3Server::Strict] {
        let Some(store) = server.store_in("landfall-no-such-bucket").await else { continue };
        let errors = [
            store.put_if_absent("k", Bytes::new()).await.unwrap_err(),
            store.get("k").await.unwrap_err(),
            store.get_tagged("k").await.unwrap_err(),
            store.put_if_match("k", Bytes::new(), &ObjectTag("\"a\"".to_owned())).await.unwrap_err(),
            store.head("k").await.unwrap_err(),
            store.list("", None, 1).await.unwrap_err(),
            store.begin_upload("k").await.unwrap_err(),
            store.list_uploads("").await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.fault, Fault::NoSuchBucket, "{server:?}: {error}: {}", error.source);
            assert!(error.source.to_string().contains("`landfall-no-such-bucket`"), "{}", error.source);
        }
    }
}
