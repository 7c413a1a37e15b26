//! What becomes of an append when the store, or another writer, interferes.

use std::time::Duration;

use ledger::append::{AppendError, Draft, UPLOAD_AGE_MAX};
use ledger::entry::{Kind, LEDGER_PREFIX, NextOffset, Sequence, TopicRange};
use ledger::head::{LedgerError, View};
use ledger::settle::{Settler, Which};
use ledger::store::faulty::{Fired, Verdict};
use ledger::store::{Fault, Operation, Store};

use crate::common::*;

#[tokio::test(start_paused = true)]
async fn the_first_entry_is_number_one_and_holds_all_positions() {
    let (memory, faulty) = sea();
    let mut view = view(&faulty).await;
    let draft = draft_in_one_file(&faulty, 1, "good", &[(0, 0, 3), (7, 5, 9)]).await;
    let entry = view.append(&draft).await.unwrap();
    assert_eq!(entry.sequence, Sequence(1));
    assert_eq!((position(&view, 0), position(&view, 7), position(&view, 1)), (Some(3), Some(9), None));
    assert_eq!(log(&memory).await, [entry]);
    assert_eq!(visible(&memory), [""; 0], "an append shows nothing; settling does");
}

#[tokio::test(start_paused = true)]
async fn an_append_whose_reply_was_lost_is_known_as_ones_own() {
    let (memory, faulty) = sea();
    let mut view = view(&faulty).await;
    let draft = draft_in_one_file(&faulty, 1, "good", &[(0, 0, 3)]).await;
    faulty.next(Operation::Put, LEDGER_PREFIX, 1, Verdict::LoseReply);
    let entry = view.append(&draft).await.unwrap();
    assert_eq!(log(&memory).await, [entry]);
    assert_eq!((faulty.fired(Fired::LostReply), faulty.calls_of(Operation::Put)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_append_whose_request_was_lost_is_sent_again() {
    let (memory, faulty) = sea();
    let mut view = view(&faulty).await;
    let draft = draft_in_one_file(&faulty, 1, "good", &[(0, 0, 3)]).await;
    faulty.next(Operation::Put, LEDGER_PREFIX, 3, Verdict::LoseRequest);
    let entry = view.append(&draft).await.unwrap();
    assert_eq!(log(&memory).await, [entry]);
    assert_eq!((faulty.fired(Fired::LostRequest), faulty.calls_of(Operation::Put)), (3, 4));
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_not_an_entry_that_exists() {
    let (memory, faulty) = sea();
    let mut view = view(&faulty).await;
    let draft = draft_in_one_file(&faulty, 1, "good", &[(0, 0, 3)]).await;
    faulty.next(Operation::Put, LEDGER_PREFIX, 2, Verdict::Fail(Fault::Conflict));
    let entry = view.append(&draft).await.unwrap();
    assert_eq!((entry.sequence, log(&memory).await.len()), (Sequence(1), 1));
    assert_eq!((faulty.fired(Fired::Failed), faulty.calls_of(Operation::Put)), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn a_slot_taken_by_another_partitions_writer_is_followed_by_the_next() {
    let (memory, faulty) = sea();
    let (mut one, mut two) = (view(&faulty).await, view(&faulty).await);
    let first = draft_in_one_file(&faulty, 1, "good", &[(0, 0, 3)]).await;
    let second = draft_in_one_file(&faulty, 2, "good", &[(1, 0, 5)]).await;
    one.append(&first).await.unwrap();
    let entry = two.append(&second).await.unwrap();
    assert_eq!(entry.sequence, Sequence(2));
    assert_eq!((position(&two, 0), position(&two, 1)), (Some(3), Some(5)));
    assert_eq!(log(&memory).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_writer_whose_partition_moved_is_fenced() {
    let (memory, faulty) = sea();
    let (mut one, mut two) = (view(&faulty).await, view(&faulty).await);
    let first = draft_in_one_file(&faulty, 1, "good", &[(0, 0, 3)]).await;
    let second = draft_in_one_file(&faulty, 2, "good", &[(0, 0, 5), (1, 0, 1)]).await;
    one.append(&first).await.unwrap();
    match two.append(&second).await {
        Err(AppendError::Fenced { topic, partition: 0, from: NextOffset(0), position: NextOffset(3) }) => {
            assert_eq!(topic, TOPIC);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(log(&memory).await.len(), 1);
    assert_eq!(position(&two, 1), None, "a fenced batch moves none of its partitions");
}

#[tokio::test(start_paused = true)]
async fn a_rejected_writer_stops_before_it_asks_for_a_slot() {
    let (memory, faulty) = sea();
    let mut view = view(&faulty).await;
    view.reject("bad", &signature(1), "it ruins rows").await.unwrap().unwrap();
    let draft = draft_in_one_file(&faulty, 2, "bad", &[(0, 0, 3)]).await;
    let puts = faulty.calls_of(Operation::Put);
    match view.append(&draft).await {
        Err(AppendError::Rejected { what, named: false }) => assert_eq!(what, "bad"),
        other => panic!("{other:?}"),
    }
    assert_eq!((faulty.calls_of(Operation::Put), log(&memory).await.len()), (puts, 1));
}

/// Runs an append whose reply is lost, and `meanwhile` before the log is read again.
async fn append_in_doubt_while<F: Future<Output = ()>>(
    faulty: &ledger::store::faulty::Faulty,
    draft: Draft,
    meanwhile: F,
) -> (View, Result<ledger::entry::Entry, AppendError>) {
    let mut own = view(faulty).await;
    faulty.set_script(|call| match call.operation {
        Operation::Put => Verdict::LoseReply,
        Operation::List => Verdict::PauseBefore,
        _ => Verdict::Pass,
    });
    let appending = tokio::spawn(async move {
        let result = own.append(&draft).await;
        (own, result)
    });
    faulty.until_paused(1).await;
    meanwhile.await;
    faulty.set_script(|_| Verdict::Pass);
    faulty.release();
    appending.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn rejection_is_asked_before_ones_own_entry_is_found() {
    let (memory, faulty) = sea();
    let draft = draft_in_one_file(&faulty, 1, "bad", &[(0, 0, 3)]).await;
    let deployer = async {
        let mut deployer = view(&memory).await;
        deployer.reject("bad", &signature(2), "it ruins rows").await.unwrap().unwrap();
    };
    let (_, result) = append_in_doubt_while(&faulty, draft, deployer).await;
    assert!(matches!(result, Err(AppendError::Rejected { named: true, .. })), "{result:?}");
    assert_eq!(log(&memory).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn ones_own_entry_counts_although_it_was_taken_back_already() {
    let (memory, faulty) = sea();
    let draft = draft_in_one_file(&faulty, 1, "good", &[(0, 0, 3)]).await;
    let deployer = async {
        let mut deployer = view(&memory).await;
        deployer.rewind(Sequence(1), &signature(2), "again").await.unwrap().unwrap();
    };
    let (mut view, result) = append_in_doubt_while(&faulty, draft, deployer).await;
    assert_eq!(result.unwrap().sequence, Sequence(1));
    assert_eq!(position(&view, 0), Some(0), "the view tells where to go on");
    Settler::default().settle(&mut view, Which::All, 0).await.unwrap();
    assert_eq!(visible(&memory), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_upload_was_swept_is_dropped() {
    let (memory, faulty) = sea();
    let mut sleeper = view(&faulty).await;
    let draft = draft_in_one_file(&faulty, 1, "good", &[(0, 0, 3)]).await;
    memory.advance(Duration::from_secs(25 * 60 * 60));
    let mut sweeper = view(&memory).await;
    sweeper.sweep(&signature(2), memory.now()).await.unwrap().unwrap();
    let report = Settler::default().settle(&mut sweeper, Which::All, 0).await.unwrap();
    assert_eq!((report.waiting, memory.list_uploads("data/").await.unwrap()), (vec![], vec![]));
    match sleeper.append(&draft).await {
        Err(AppendError::Swept { key }) => assert_eq!(key, "data/1"),
        other => panic!("{other:?}"),
    }
    assert_eq!(log(&memory).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_append_in_doubt_touches_nothing_and_may_land_later() {
    let (memory, faulty) = sea();
    let mut own = view(&faulty).await;
    let draft = draft_in_one_file(&faulty, 1, "good", &[(0, 0, 3)]).await;
    faulty.next(Operation::Put, LEDGER_PREFIX, u64::MAX, Verdict::Late);
    let result = own.append(&draft).await;
    assert!(matches!(result, Err(AppendError::InDoubt { sequence: Sequence(1), .. })), "{result:?}");
    assert_eq!((faulty.fired(Fired::Late), faulty.calls_of(Operation::AbortUpload)), (8, 0));
    assert_eq!(memory.list_uploads("data/").await.unwrap().len(), 1);

    let mut next_start = view(&memory).await;
    assert_eq!(position(&next_start, 0), None);
    let again = draft_in_one_file(&memory, 2, "good", &[(0, 0, 2)]).await;
    assert_eq!(faulty.deliver_late().await, 8);
    let result = next_start.append(&again).await;
    assert!(matches!(result, Err(AppendError::Fenced { .. })), "the late entry won: {result:?}");
    Settler::default().settle(&mut next_start, Which::All, 0).await.unwrap();
    assert_eq!((log(&memory).await.len(), visible(&memory)), (1, vec!["data/1".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_late_request_cannot_land_in_a_slot_that_was_taken() {
    let (memory, faulty) = sea();
    let mut own = view(&faulty).await;
    let draft = draft_in_one_file(&faulty, 1, "good", &[(0, 0, 3)]).await;
    let other = draft_in_one_file(&memory, 2, "good", &[(1, 0, 3)]).await;
    let mut rival = view(&memory).await;
    faulty.next(Operation::Put, LEDGER_PREFIX, 1, Verdict::Late);
    rival.append(&other).await.unwrap();
    let entry = own.append(&draft).await.unwrap();
    let before = log(&memory).await;
    assert_eq!((entry.sequence, before.len()), (Sequence(2), 2));
    assert_eq!(faulty.deliver_late().await, 1);
    assert_eq!(log(&memory).await, before);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_means_that_nothing_happened_only_if_nothing_was_in_doubt() {
    let (memory, faulty) = sea();
    let mut own = view(&faulty).await;
    let draft = draft_in_one_file(&faulty, 1, "good", &[(0, 0, 3)]).await;
    faulty.next(Operation::Put, LEDGER_PREFIX, 1, Verdict::Fail(Fault::Denied));
    let result = own.append(&draft).await;
    assert!(matches!(result, Err(AppendError::Ledger(LedgerError::Store(_)))), "{result:?}");
    assert_eq!(log(&memory).await, []);

    let mut first = true;
    faulty.set_script(move |call| match call.operation {
        Operation::Put if std::mem::take(&mut first) => Verdict::Late,
        Operation::Put => Verdict::Fail(Fault::Denied),
        _ => Verdict::Pass,
    });
    let result = own.append(&draft).await;
    assert!(matches!(result, Err(AppendError::InDoubt { .. })), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_a_doubt_is_in_doubt_too_when_the_draft_is_appended_again() {
    let (memory, faulty) = sea();
    let mut own = view(&faulty).await;
    let draft = draft_in_one_file(&faulty, 1, "good", &[(0, 0, 3)]).await;
    faulty.next(Operation::Put, LEDGER_PREFIX, u64::MAX, Verdict::Late);
    let result = own.append(&draft).await;
    assert!(matches!(result, Err(AppendError::InDoubt { .. })), "{result:?}");
    faulty.next(Operation::Put, LEDGER_PREFIX, u64::MAX, Verdict::Fail(Fault::Denied));
    let result = own.append(&draft).await;
    assert!(matches!(result, Err(AppendError::InDoubt { .. })), "its uploads would be aborted: {result:?}");

    assert_eq!(faulty.deliver_late().await, 8);
    assert_eq!(own.append(&draft).await.unwrap().sequence, Sequence(1));
    assert_eq!(log(&memory).await.len(), 1);
    faulty.next(Operation::Put, LEDGER_PREFIX, 1, Verdict::Fail(Fault::Denied));
    let second = draft_in_one_file(&faulty, 2, "good", &[(0, 3, 4)]).await;
    let result = own.append(&second).await;
    assert!(matches!(result, Err(AppendError::Ledger(LedgerError::Store(_)))), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_be_read_after_a_put_leaves_the_append_in_doubt() {
    let (_, faulty) = sea();
    let mut own = view(&faulty).await;
    let draft = draft_in_one_file(&faulty, 1, "good", &[(0, 0, 3)]).await;
    faulty.set_script(|call| match call.operation {
        Operation::Put => Verdict::LoseReply,
        Operation::List => Verdict::Fail(Fault::Denied),
        _ => Verdict::Pass,
    });
    let result = own.append(&draft).await;
    assert!(matches!(result, Err(AppendError::InDoubt { .. })), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_never_gets_a_slot_gives_up_with_nothing_done() {
    let (memory, faulty) = sea();
    let mut own = view(&faulty).await;
    let draft = draft_in_one_file(&faulty, 1, "good", &[(0, 0, 3)]).await;
    let mut rival = view(&memory).await;
    faulty.set_script(|call| match call.operation {
        Operation::Put => Verdict::PauseBefore,
        _ => Verdict::Pass,
    });
    let appending = tokio::spawn(async move { own.append(&draft).await });
    for n in 0..64 {
        faulty.until_paused(1).await;
        let moves = [(1, n, n + 1)];
        let other = draft_in_one_file(&memory, 100 + n as u64, "good", &moves).await;
        rival.append(&other).await.unwrap();
        faulty.release();
    }
    let result = appending.await.unwrap();
    assert!(matches!(result, Err(AppendError::Crowded)), "{result:?}");
    assert_eq!(log(&memory).await.len(), 64);
}

#[tokio::test(start_paused = true)]
async fn a_draft_that_the_store_would_refuse_later_is_refused_at_once() {
    let (_, faulty) = sea();
    let mut view = view(&faulty).await;
    let good = draft_in_one_file(&faulty, 1, "good", &[(0, 0, 3)]).await;
    let spoiled = |spoil: fn(&mut Draft)| {
        let mut draft = good.clone();
        spoil(&mut draft);
        draft
    };
    let drafts = [
        spoiled(|draft| draft.files[0].age = UPLOAD_AGE_MAX + Duration::from_millis(1)),
        spoiled(|draft| draft.files[0].part_bytes.clear()),
        spoiled(|draft| draft.files[0].part_bytes = vec![5 * 1024 * 1024, 1]),
        spoiled(|draft| {
            let tag = draft.files[0].file.parts[0].clone();
            draft.files[0].file.parts.push(tag);
            draft.files[0].part_bytes = vec![5 * 1024 * 1024 - 1, 1];
        }),
    ];
    for draft in drafts {
        let result = view.append(&draft).await;
        assert!(matches!(result, Err(AppendError::BadDraft(_))), "{result:?}");
    }
    assert_eq!(faulty.calls_of(Operation::Put), 0);
    view.append(&good).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_draft_whose_counts_do_not_add_up_never_reaches_the_log() {
    let (memory, faulty) = sea();
    let mut view = view(&faulty).await;
    let mut draft = draft_in_one_file(&faulty, 1, "good", &[(0, 0, 3)]).await;
    draft.files[0].file.rows = 2;
    let result = view.append(&draft).await;
    assert!(matches!(result, Err(AppendError::Ledger(LedgerError::Entry(_)))), "{result:?}");
    assert_eq!(log(&memory).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_draft_that_would_break_the_log_for_its_readers_is_refused() {
    let (memory, faulty) = sea();
    let mut own = view(&faulty).await;
    let first = draft_in_one_file(&faulty, 1, "good", &[(0, 0, 3)]).await;
    own.append(&first).await.unwrap();

    let mut open = draft(2, "good", &[], Vec::new());
    open.kind = Kind::Open;
    open.topics.insert("views".to_owned(), TopicRange::default());
    let entry = own.append(&open).await.unwrap();
    assert!(!entry.positions.contains_key("views"), "a topic without partitions stands nowhere");

    let superseded = vec![Sequence(1)];
    let reason = "a draft is no way to rewind".to_owned();
    let mut rewind = draft_in_one_file(&faulty, 3, "good", &[(0, 3, 4)]).await;
    rewind.kind = Kind::Rewind { target: Sequence(1), superseded, reason };
    let result = own.append(&rewind).await;
    assert!(matches!(result, Err(AppendError::BadDraft(_))), "{result:?}");

    assert_eq!(log(&memory).await.len(), 2);
    view(&memory).await;
}

#[tokio::test(start_paused = true)]
async fn a_draft_appended_again_after_a_doubt_finds_its_entry() {
    let (memory, faulty) = sea();
    let mut own = view(&faulty).await;
    let draft = draft_in_one_file(&faulty, 1, "good", &[(0, 0, 3)]).await;
    faulty.next(Operation::Put, LEDGER_PREFIX, u64::MAX, Verdict::Late);
    let result = own.append(&draft).await;
    assert!(matches!(result, Err(AppendError::InDoubt { .. })), "{result:?}");
    faulty.set_script(|_| Verdict::Pass);
    faulty.deliver_late().await;
    own.refresh().await.unwrap();
    assert_eq!(
        own.append(&draft).await.unwrap().entry_id,
        id(1),
        "fenced, its writer would abort its uploads"
    );
    assert_eq!(log(&memory).await.len(), 1);
}
