//! What settling does to the store, and when it says that it is done.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ledger::entry::Sequence;
use ledger::head::View;
use ledger::settle::{Settler, Which};
use ledger::store::faulty::{Faulty, Fired, Verdict};
use ledger::store::memory::MemoryStore;
use ledger::store::{Fault, Operation, Store};

use crate::common::*;

/// A log of `count` entries of one offset and one file each, with nothing settled.
async fn appended(faulty: &Faulty, count: i64) -> View {
    let mut view = view(faulty).await;
    for n in 0..count {
        let draft = draft_in_one_file(faulty, n as u64 + 1, "good", &[(0, n, n + 1)]).await;
        view.append(&draft).await.unwrap();
    }
    view
}

#[tokio::test(start_paused = true)]
async fn settling_twice_equals_settling_once() {
    let (memory, faulty) = sea();
    let mut view = appended(&faulty, 2).await;
    let mut settler = Settler::default();
    let report = settler.settle(&mut view, Which::All, 0).await.unwrap();
    assert_eq!((report.visible, report.waiting.len()), (2, 0));
    assert_eq!((view.settled_through(), view.unsettled().count()), (Sequence(2), 0));
    let after_once = memory.keys();

    // The same process, one that opens the same log, and one that still believes all to be unsettled.
    let mut newcomer = View::open(Arc::new(faulty.clone())).await.unwrap();
    assert_eq!(newcomer.unsettled().count(), 2, "no entry tells yet that they are settled");
    let calls = record(&faulty);
    settler.settle(&mut view, Which::All, 0).await.unwrap();
    Settler::default().settle(&mut newcomer, Which::All, 0).await.unwrap();
    assert_eq!(memory.keys(), after_once);
    let calls = calls.lock().unwrap();
    assert!(calls.iter().all(|(operation, _)| *operation == Operation::Head), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn whatever_complete_answers_head_decides() {
    let (memory, faulty) = sea();
    let mut view = appended(&faulty, 1).await;
    faulty.next(Operation::CompleteUpload, "data/", 1, Verdict::LoseReply);
    let report = Settler::default().settle(&mut view, Which::All, 0).await.unwrap();
    assert_eq!((report.visible, report.trouble.len()), (1, 0));
    assert_eq!((faulty.fired(Fired::LostReply), visible(&memory).len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_completion_that_was_lost_is_trouble_and_is_tried_again() {
    let (memory, faulty) = sea();
    let mut view = appended(&faulty, 2).await;
    let mut settler = Settler::default();
    faulty.next(Operation::CompleteUpload, "data/1", 1, Verdict::LoseRequest);
    let report = settler.settle(&mut view, Which::Own(Sequence(1)), 0).await.unwrap();
    assert_eq!((report.waiting, report.trouble.len()), (vec![Sequence(1)], 1));
    settler.settle(&mut view, Which::Own(Sequence(2)), 0).await.unwrap();
    assert_eq!(view.settled_through(), Sequence::ZERO, "entry 2 is settled, but 1 is not");
    assert_eq!(visible(&memory), ["data/2"]);
    let report = settler.settle(&mut view, Which::Overdue, 1).await.unwrap();
    assert_eq!((report.waiting.len(), view.settled_through()), (0, Sequence(2)));
}

#[tokio::test(start_paused = true)]
async fn anothers_entry_is_left_to_it_for_thirty_seconds() {
    let (memory, faulty) = sea();
    appended(&faulty, 1).await;
    let mut other = view(&memory).await;
    let mut settler = Settler::default();
    settler.settle(&mut other, Which::Overdue, 5_000).await.unwrap();
    settler.settle(&mut other, Which::Overdue, 34_999).await.unwrap();
    assert_eq!((visible(&memory).len(), other.settled_through()), (0, Sequence::ZERO));
    settler.settle(&mut other, Which::Overdue, 35_000).await.unwrap();
    assert_eq!((visible(&memory).len(), other.settled_through()), (1, Sequence(1)));
}

#[tokio::test(start_paused = true)]
async fn a_superseded_upload_is_aborted_before_its_object_is_copied_and_deleted() {
    let (memory, faulty) = sea();
    let mut view = appended(&faulty, 1).await;
    let mut settler = Settler::default();
    settler.settle(&mut view, Which::All, 0).await.unwrap();
    view.rewind(Sequence(1), &signature(9), "again").await.unwrap().unwrap();
    let calls = record(&faulty);
    let report = settler.settle(&mut view, Which::All, 0).await.unwrap();
    let operations: Vec<Operation> = calls.lock().unwrap().iter().map(|(operation, _)| *operation).collect();
    assert_eq!(operations, [Operation::AbortUpload, Operation::Head, Operation::Copy, Operation::Delete]);
    assert_eq!((report.removed, visible(&memory).len()), (1, 0));
    let kept = memory.get("_landfall/superseded/data/1").await.unwrap().unwrap();
    assert_eq!(kept, rows(&[(0, 0, 1)]));
}

#[tokio::test(start_paused = true)]
async fn a_superseded_object_is_deleted_only_when_its_copy_is_kept() {
    let (memory, faulty) = sea();
    let mut view = appended(&faulty, 1).await;
    let mut settler = Settler::default();
    settler.settle(&mut view, Which::All, 0).await.unwrap();
    view.rewind(Sequence(1), &signature(9), "again").await.unwrap().unwrap();
    faulty.next(Operation::Copy, "data/", 1, Verdict::LoseRequest);
    let report = settler.settle(&mut view, Which::All, 0).await.unwrap();
    assert_eq!((report.trouble.len(), faulty.calls_of(Operation::Delete)), (1, 0));
    assert_eq!(visible(&memory), ["data/1"]);
    settler.settle(&mut view, Which::Overdue, 0).await.unwrap();
    assert_eq!(visible(&memory), [""; 0]);
}

/// A settled entry, rewound, and the rewind settled for the first time at minute 0.
async fn rewound_at_minute_zero() -> (MemoryStore, Faulty, View, Settler) {
    let (memory, faulty) = sea();
    let mut view = appended(&faulty, 1).await;
    let mut settler = Settler::default();
    settler.settle(&mut view, Which::All, 0).await.unwrap();
    view.rewind(Sequence(1), &signature(9), "again").await.unwrap().unwrap();
    let report = settler.settle(&mut view, Which::All, 0).await.unwrap();
    assert_eq!((report.removed, report.waiting), (1, vec![Sequence(2)]));
    (memory, faulty, view, settler)
}

#[tokio::test(start_paused = true)]
async fn a_rewind_is_settled_when_all_stayed_away_for_fifteen_minutes() {
    let (_, _, mut view, mut settler) = rewound_at_minute_zero().await;
    let report = settler.settle(&mut view, Which::Overdue, 15 * MINUTE_MS - 1).await.unwrap();
    assert_eq!((report.waiting, view.settled_through()), (vec![Sequence(2)], Sequence(1)));
    let report = settler.settle(&mut view, Which::Overdue, 15 * MINUTE_MS).await.unwrap();
    assert_eq!((report.waiting, view.settled_through()), (vec![], Sequence(2)));
}

#[tokio::test(start_paused = true)]
async fn a_slow_completion_that_lands_after_the_delete_is_removed_and_the_wait_begins_again() {
    let (memory, _, mut view, mut settler) = rewound_at_minute_zero().await;
    memory.overwrite("data/1", Bytes::from(rows(&[(0, 0, 1)])));
    let report = settler.settle(&mut view, Which::Overdue, 10 * MINUTE_MS).await.unwrap();
    assert_eq!((report.removed, visible(&memory).len()), (1, 0));
    let report = settler.settle(&mut view, Which::Overdue, 24 * MINUTE_MS).await.unwrap();
    assert_eq!((report.waiting, view.settled_through()), (vec![Sequence(2)], Sequence(1)));
    settler.settle(&mut view, Which::Overdue, 25 * MINUTE_MS).await.unwrap();
    assert_eq!(view.settled_through(), Sequence(2));
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_does_not_take_anothers_word_for_the_fifteen_minutes() {
    let (memory, _, _, _) = rewound_at_minute_zero().await;
    let mut newcomer = view(&memory).await;
    let mut settler = Settler::default();
    settler.settle(&mut newcomer, Which::All, 20 * MINUTE_MS).await.unwrap();
    assert_eq!(newcomer.settled_through(), Sequence(1));
    settler.settle(&mut newcomer, Which::Overdue, 35 * MINUTE_MS).await.unwrap();
    assert_eq!(newcomer.settled_through(), Sequence(2));
}

#[tokio::test(start_paused = true)]
async fn what_was_settled_long_ago_is_found_and_removed_when_it_is_superseded() {
    let (memory, faulty) = sea();
    let mut old = appended(&faulty, 2).await;
    Settler::default().settle(&mut old, Which::All, 0).await.unwrap();
    let draft = draft_in_one_file(&faulty, 3, "good", &[(0, 2, 3)]).await;
    old.append(&draft).await.unwrap();

    let mut newcomer = view(&memory).await;
    assert_eq!(newcomer.settled_through(), Sequence(2), "the newest entry says so");
    newcomer.rewind(Sequence(1), &signature(9), "again").await.unwrap().unwrap();
    let mut settler = Settler::default();
    let report = settler.settle(&mut newcomer, Which::All, 0).await.unwrap();
    assert_eq!((report.removed, visible(&memory).len()), (2, 0));
    settler.settle(&mut newcomer, Which::All, 15 * MINUTE_MS).await.unwrap();
    assert_eq!(newcomer.settled_through(), Sequence(4));
}

/// An entry whose upload someone outside the protocol aborted, looked at every minute before `minutes`.
async fn missing(minutes: u64) -> (MemoryStore, Faulty, View, Settler) {
    let (memory, faulty) = sea();
    let mut view = appended(&faulty, 1).await;
    let upload = memory.list_uploads("data/").await.unwrap().remove(0);
    memory.abort_upload(&upload.key, &upload.upload_id).await.unwrap();
    let mut settler = Settler::default();
    for minute in 0..minutes {
        let report = settler.settle(&mut view, Which::All, minute * MINUTE_MS).await.unwrap();
        assert_eq!((report.damage, report.waiting), (vec![], vec![Sequence(1)]));
    }
    (memory, faulty, view, settler)
}

#[tokio::test(start_paused = true)]
async fn a_live_object_missing_for_fifteen_minutes_is_damage_on_every_settling() {
    let (memory, faulty, mut view, mut settler) = missing(15).await;
    let listings = faulty.calls_of(Operation::List);
    for minute in 15..18 {
        let report = settler.settle(&mut view, Which::All, minute * MINUTE_MS).await.unwrap();
        assert_eq!(report.damage.len(), 1);
        assert_eq!((report.damage[0].sequence, report.damage[0].key.as_str()), (Sequence(1), "data/1"));
    }
    assert_eq!(faulty.calls_of(Operation::List), listings + 3, "the log is read again before anyone is told");
    memory.overwrite("data/1", Bytes::from(rows(&[(0, 0, 1)])));
    let report = settler.settle(&mut view, Which::All, 18 * MINUTE_MS).await.unwrap();
    assert_eq!((report.damage, view.settled_through()), (vec![], Sequence(1)));
}

#[tokio::test(start_paused = true)]
async fn a_missing_object_that_a_second_reading_shows_superseded_is_no_damage() {
    let (memory, _, mut stale, mut settler) = missing(15).await;
    let mut deployer = view(&memory).await;
    deployer.rewind(Sequence(1), &signature(9), "again").await.unwrap().unwrap();
    let report = settler.settle(&mut stale, Which::All, 15 * MINUTE_MS).await.unwrap();
    assert_eq!((report.damage, stale.sequence()), (vec![], Sequence(2)));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_makes_trouble_and_no_damage() {
    let (memory, faulty) = sea();
    let mut view = appended(&faulty, 1).await;
    faulty.next(Operation::CompleteUpload, "data/", u64::MAX, Verdict::Fail(Fault::Unknown));
    let mut settler = Settler::default();
    for minute in [0, 15, 30] {
        let report = settler.settle(&mut view, Which::All, minute * MINUTE_MS).await.unwrap();
        assert_eq!((report.damage, report.trouble.len()), (vec![], 1));
    }
    faulty.set_script(|_| Verdict::Pass);
    settler.settle(&mut view, Which::All, 45 * MINUTE_MS).await.unwrap();
    assert_eq!(visible(&memory), ["data/1"]);
}

#[tokio::test(start_paused = true)]
async fn a_sweep_is_settled_when_its_uploads_are_aborted() {
    let (memory, faulty) = sea();
    upload(&memory, "data/1", &[(0, 0, 3)]).await;
    memory.advance(Duration::from_secs(24 * 60 * 60));
    let mut view = view(&faulty).await;
    view.sweep(&signature(1), memory.now()).await.unwrap().unwrap();
    faulty.next(Operation::AbortUpload, "data/1", 1, Verdict::LoseRequest);
    let mut settler = Settler::default();
    let report = settler.settle(&mut view, Which::All, 0).await.unwrap();
    assert_eq!((report.trouble.len(), view.settled_through()), (1, Sequence::ZERO));
    assert_eq!(memory.list_uploads("").await.unwrap().len(), 1);
    settler.settle(&mut view, Which::All, 0).await.unwrap();
    assert_eq!((view.settled_through(), memory.list_uploads("").await.unwrap().len()), (Sequence(1), 0));
}

#[tokio::test(start_paused = true)]
async fn an_object_that_nobody_could_look_for_is_not_damage() {
    let (memory, faulty, mut view, mut settler) = missing(1).await;
    memory.overwrite("data/1", Bytes::from(rows(&[(0, 0, 1)])));
    faulty.next(Operation::Head, "data/", u64::MAX, Verdict::LoseRequest);
    for minute in 15..18 {
        let report = settler.settle(&mut view, Which::All, minute * MINUTE_MS).await.unwrap();
        assert_eq!((report.damage, report.trouble.len()), (vec![], 1));
    }
    // A settling that looks elsewhere knows no more than the last look at it.
    let report = settler.settle(&mut view, Which::Own(Sequence(7)), 20 * MINUTE_MS).await.unwrap();
    assert_eq!(report.damage, []);
}

#[tokio::test(start_paused = true)]
async fn a_completion_that_the_store_refuses_for_good_becomes_damage() {
    let (_, faulty) = sea();
    let mut view = appended(&faulty, 1).await;
    faulty.next(Operation::CompleteUpload, "data/", u64::MAX, Verdict::Fail(Fault::Refused));
    let mut settler = Settler::default();
    let report = settler.settle(&mut view, Which::All, 0).await.unwrap();
    assert_eq!((report.damage.len(), report.trouble.len()), (0, 1));
    let report = settler.settle(&mut view, Which::All, 15 * MINUTE_MS).await.unwrap();
    assert_eq!((report.damage.len(), report.trouble.len()), (1, 1));
}
