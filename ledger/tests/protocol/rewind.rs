//! What a rewind takes out, and who may write after it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ledger::append::AppendError;
use ledger::entry::{Entry, Kind, Sequence};
use ledger::head::View;
use ledger::rewind::plan;
use ledger::settle::{Settler, Which, superseded};
use ledger::store::faulty::Verdict;
use ledger::store::memory::MemoryStore;
use ledger::store::{Operation, Store};
use proptest::prelude::*;

use crate::common::*;

async fn append(memory: &MemoryStore, view: &mut View, n: u64, moves: &[Move]) -> Entry {
    let draft = draft_in_one_file(memory, n, "good", moves).await;
    view.append(&draft).await.unwrap()
}

fn taken_out(entry: &Entry) -> &[Sequence] {
    match &entry.kind {
        Kind::Rewind { superseded, .. } => superseded,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_rewind_takes_out_what_is_live_from_its_target_on() {
    let (memory, _) = sea();
    let mut view = view(&memory).await;
    append(&memory, &mut view, 1, &[(0, 0, 3), (1, 10, 12)]).await;
    append(&memory, &mut view, 2, &[(1, 12, 13)]).await;
    append(&memory, &mut view, 3, &[(1, 13, 20), (2, 0, 4)]).await;
    let entry = view.rewind(Sequence(2), &signature(9), "again").await.unwrap().unwrap();
    assert_eq!(taken_out(&entry), [Sequence(2), Sequence(3)]);
    let positions = (position(&view, 0), position(&view, 1), position(&view, 2));
    assert_eq!(positions, (Some(3), Some(12), Some(0)), "a partition that nothing live moved stays");
}

#[tokio::test(start_paused = true)]
async fn nested_rewinds_leave_no_hole() {
    let (memory, _) = sea();
    let mut view = view(&memory).await;
    append(&memory, &mut view, 1, &[(0, 0, 10)]).await;
    append(&memory, &mut view, 2, &[(0, 10, 20)]).await;
    view.rewind(Sequence(1), &signature(9), "all").await.unwrap().unwrap();
    append(&memory, &mut view, 4, &[(0, 0, 5)]).await;
    // The position in entry 1, just before the target, is 10; the live log holds 0 to 5.
    let entry = view.rewind(Sequence(2), &signature(10), "from 2 on").await.unwrap().unwrap();
    assert_eq!((taken_out(&entry), position(&view, 0)), (&[Sequence(4)][..], Some(0)));
    append(&memory, &mut view, 6, &[(0, 0, 7)]).await;
    let entry = view.rewind(Sequence(1), &signature(11), "all").await.unwrap().unwrap();
    assert_eq!((taken_out(&entry), position(&view, 0)), (&[Sequence(6)][..], Some(0)));
    log(&memory).await;
}

#[tokio::test(start_paused = true)]
async fn with_nothing_live_nothing_moves() {
    let (memory, _) = sea();
    let mut view = view(&memory).await;
    assert_eq!(view.rewind(Sequence(1), &signature(8), "empty").await.unwrap(), None);
    append(&memory, &mut view, 1, &[(0, 0, 10)]).await;
    view.rewind(Sequence::ZERO, &signature(9), "all").await.unwrap().unwrap();
    let before = log(&memory).await;
    assert_eq!(view.rewind(Sequence(1), &signature(10), "again").await.unwrap(), None);
    assert_eq!(view.rewind(Sequence(99), &signature(11), "ahead").await.unwrap(), None);
    assert_eq!(log(&memory).await, before);
}

#[tokio::test(start_paused = true)]
async fn nothing_superseded_becomes_visible_again() {
    let (memory, faulty) = sea();
    let mut writer = view(&faulty).await;
    let mut settler = Settler::default();
    append(&memory, &mut writer, 1, &[(0, 0, 10)]).await;
    let mut deployer = view(&memory).await;
    deployer.rewind(Sequence(1), &signature(9), "all").await.unwrap().unwrap();
    Settler::default().settle(&mut deployer, Which::All, 0).await.unwrap();
    // The writer has not seen the rewind, and completes what it believes to be live.
    let report = settler.settle(&mut writer, Which::Own(Sequence(1)), 0).await.unwrap();
    assert_eq!((report.visible, visible(&memory).len()), (0, 0));
    writer.refresh().await.unwrap();
    settler.settle(&mut writer, Which::All, 0).await.unwrap();
    settler.settle(&mut writer, Which::All, 15 * MINUTE_MS).await.unwrap();
    assert_eq!((writer.settled_through(), visible(&memory).len()), (Sequence(2), 0));
}

#[tokio::test(start_paused = true)]
async fn what_was_appended_while_a_rewind_was_on_its_way_is_taken_out_too() {
    let (memory, faulty) = sea();
    let mut writer = view(&memory).await;
    append(&memory, &mut writer, 1, &[(0, 0, 10)]).await;
    let mut deployer = view(&faulty).await;
    faulty.next(Operation::Put, "_landfall/", 1, Verdict::PauseBefore);
    let rewinding =
        tokio::spawn(
            async move { deployer.rewind(Sequence(1), &signature(9), "all").await.unwrap().unwrap() },
        );
    faulty.until_paused(1).await;
    append(&memory, &mut writer, 2, &[(0, 10, 11), (1, 0, 1)]).await;
    faulty.release();
    let entry = rewinding.await.unwrap();
    assert_eq!((entry.sequence, taken_out(&entry)), (Sequence(3), &[Sequence(1), Sequence(2)][..]));
    writer.refresh().await.unwrap();
    assert_eq!((position(&writer, 0), position(&writer, 1)), (Some(0), Some(0)));
}

#[tokio::test(start_paused = true)]
async fn a_rejection_holds_in_every_later_entry_until_it_is_lifted() {
    let (memory, _) = sea();
    let mut deployer = view(&memory).await;
    deployer.reject("bad", &signature(1), "it ruins rows").await.unwrap().unwrap();
    assert_eq!(deployer.reject("bad", &signature(2), "again").await.unwrap(), None);
    assert_eq!(deployer.release("good", &signature(3), "never rejected").await.unwrap(), None);
    append(&memory, &mut deployer, 4, &[(0, 0, 3)]).await;
    deployer.rewind(Sequence(1), &signature(5), "all").await.unwrap().unwrap();
    let entries = log(&memory).await;
    assert!(entries.iter().all(|entry| entry.rejected == BTreeSet::from(["bad".to_owned()])));

    let mut bad = view(&memory).await;
    let draft = draft_in_one_file(&memory, 6, "bad", &[(0, 0, 3)]).await;
    let result = bad.append(&draft).await;
    assert!(matches!(result, Err(AppendError::Rejected { named: false, .. })), "{result:?}");
    deployer.release("bad", &signature(7), "it was the producer").await.unwrap().unwrap();
    bad.refresh().await.unwrap();
    bad.append(&draft).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_image_can_be_rejected_whatever_release_carries_it() {
    let (memory, _) = sea();
    let mut own = view(&memory).await;
    own.reject("sha256:aa", &signature(1), "it ruins rows").await.unwrap().unwrap();
    let mut draft = draft_in_one_file(&memory, 2, "good", &[(0, 0, 3)]).await;
    draft.writer.image = "sha256:aa".to_owned();
    let result = own.append(&draft).await;
    assert!(matches!(result, Err(AppendError::Rejected { .. })), "{result:?}");
    draft.writer.image = "sha256:bb".to_owned();
    own.append(&draft).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_sweep_names_what_is_older_than_a_day_and_what_no_entry_names_once() {
    let (memory, _) = sea();
    let mut view = view(&memory).await;
    append(&memory, &mut view, 1, &[(0, 0, 3)]).await;
    let abandoned = upload(&memory, "_landfall/dead-letters/x", &[(0, 3, 4)]).await;
    memory.advance(Duration::from_secs(1));
    upload(&memory, "data/young", &[(0, 3, 4)]).await;
    let day = Duration::from_secs(24 * 60 * 60);
    memory.advance(day - Duration::from_secs(1));
    let entry = view.sweep(&signature(2), memory.now()).await.unwrap().unwrap();
    match &entry.kind {
        Kind::Sweep { uploads } => {
            assert_eq!(uploads.len(), 1, "{uploads:?}");
            assert_eq!(uploads[0].upload_id, abandoned.file.upload_id);
        }
        other => panic!("{other:?}"),
    }
    assert!(view.is_swept(&abandoned.file.upload_id));
    assert_eq!(view.sweep(&signature(3), memory.now()).await.unwrap(), None, "it is named already");
    assert_eq!(memory.list_uploads("").await.unwrap().len(), 3, "named first, aborted by settling");
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_is_named_while_a_sweep_is_on_its_way_is_not_swept() {
    let (memory, faulty) = sea();
    let mut writer = view(&memory).await;
    let draft = draft_in_one_file(&memory, 1, "good", &[(0, 0, 3)]).await;
    memory.advance(Duration::from_secs(25 * 60 * 60));
    let mut sweeper = view(&faulty).await;
    faulty.next(Operation::Put, "_landfall/", 1, Verdict::PauseBefore);
    let now = memory.now();
    let sweeping = tokio::spawn(async move { sweeper.sweep(&signature(2), now).await.unwrap() });
    faulty.until_paused(1).await;
    writer.append(&draft).await.unwrap();
    faulty.release();
    assert_eq!(sweeping.await.unwrap(), None);
    Settler::default().settle(&mut writer, Which::All, 0).await.unwrap();
    assert_eq!(visible(&memory), ["data/1"]);
}

/// Live ranges in the order of the log, folded without looking at any position.
fn live_ranges(entries: &[Entry]) -> BTreeMap<i32, Vec<(i64, i64)>> {
    let gone = superseded(entries.iter());
    let mut live: BTreeMap<i32, Vec<(i64, i64)>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.moves() && !gone.contains(&entry.sequence)) {
        for (_, partition, range) in entry.ranges() {
            live.entry(partition).or_default().push((range.from.0, range.to.0));
        }
    }
    live
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(i32, i64)>),
    Rewind(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop::collection::btree_map(0..3i32, 0..4i64, 1..4)
            .prop_map(|moves| Step::Append(moves.into_iter().collect())),
        1 => (1..40u64).prop_map(Step::Rewind),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_rewinds_in_a_row_leave_what_is_live_without_gap_or_overlap(
        steps in prop::collection::vec(step(), 1..40)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let entries = runtime.block_on(async {
            let (memory, _) = sea();
            let mut view = view(&memory).await;
            for (n, step) in steps.iter().enumerate() {
                match step {
                    Step::Append(moves) => {
                        let at = |partition| position(&view, partition).unwrap_or(100);
                        let moves: Vec<Move> =
                            moves.iter().map(|(p, count)| (*p, at(*p), at(*p) + count)).collect();
                        let files = match moves.iter().any(|(_, from, to)| to > from) {
                            true => vec![upload(&memory, &format!("data/{n}"), &moves).await],
                            false => Vec::new(),
                        };
                        view.append(&draft(n as u64, "good", &moves, files)).await.unwrap();
                    }
                    Step::Rewind(target) => {
                        view.rewind(Sequence(*target), &signature(n as u64), "again").await.unwrap();
                    }
                }
            }
            log(&memory).await
        });
        for upto in 1..=entries.len() {
            let entries = &entries[..upto];
            let newest = &entries[upto - 1];
            let live = live_ranges(entries);
            for (partition, position) in newest.positions.get(TOPIC).into_iter().flatten() {
                let mut next = 100;
                for (from, to) in live.get(partition).into_iter().flatten() {
                    prop_assert_eq!(*from, next, "partition {} after entry {}", partition, newest.sequence);
                    next = *to;
                }
                prop_assert_eq!(position.0, next, "partition {} after entry {}", partition, newest.sequence);
            }
            // Nothing is superseded twice, and a plan made again on its own result finds nothing.
            if let Kind::Rewind { target, superseded, .. } = &newest.kind {
                prop_assert!(superseded.iter().all(|sequence| sequence >= target));
                let from_target = &entries[target.0 as usize - 1..];
                prop_assert_eq!(plan(from_target, &newest.positions), None);
            }
        }
        let all: Vec<Sequence> = entries
            .iter()
            .flat_map(|entry| match &entry.kind {
                Kind::Rewind { superseded, .. } => superseded.clone(),
                _ => Vec::new(),
            })
            .collect();
        prop_assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }
}
