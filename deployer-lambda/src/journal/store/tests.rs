use ledger::store::faulty::{Faulty, Fired, Verdict as Fate};
use ledger::store::memory::MemoryStore;
use ledger::store::{Fault, Operation};
use proptest::prelude::*;

use super::*;
use crate::journal::samples;
use crate::journal::{Notice, Record, Urgency};
use crate::release::{Digest, Moment, ReleaseId};

fn journal(revision: u64) -> Journal {
    Journal { format: FORMAT, revision, ..Journal::default() }
}

/// Two that write the same object, the first through a store that fails by script.
fn two() -> (Faulty, JournalObject, JournalObject, MemoryStore) {
    let memory = MemoryStore::new();
    let faulty = Faulty::new(Arc::new(memory.clone()));
    let first = JournalObject::new(Arc::new(faulty.clone()));
    (faulty, first, JournalObject::new(Arc::new(memory.clone())), memory)
}

fn tag(written: Written) -> JournalTag {
    match written {
        Written::Written(tag) => tag,
        Written::Changed => panic!("it was written"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_is_what_is_read(journal in samples::journal()) {
        let body = encode(&journal, Uuid::new_v4()).unwrap();
        prop_assert_eq!(decode(&body).unwrap(), journal);
    }

    #[test]
    fn no_two_bodies_are_the_same(journal in samples::journal()) {
        let body = |id| encode(&journal, Uuid::from_u128(id)).unwrap();
        prop_assert_ne!(body(1), body(2));
    }

    #[test]
    fn bounding_leaves_a_journal_that_can_be_written(
        mut journal in samples::journal(),
        record in samples::record(),
        notice in samples::notice(),
    ) {
        journal.releases.extend((0..300).map(|n| Record { release: ReleaseId(n.to_string()), ..record.clone() }));
        journal.outbox.extend((0..300).map(|id| Notice { id, ..notice.clone() }));
        journal.pushes.extend((0..300).map(|n| Digest(n.to_string())));
        prop_assert!(encode(&journal, Uuid::nil()).is_err());
        journal.bound();
        prop_assert!(encode(&journal, Uuid::nil()).is_ok());
    }
}

#[tokio::test]
async fn the_first_write_is_made_once_and_the_loser_is_told() {
    let (_, one, other, _) = two();
    assert_eq!(one.read().await.unwrap(), None);
    let first = tag(one.write(&journal(1), None).await.unwrap());
    assert_eq!(other.write(&journal(1), None).await.unwrap(), Written::Changed);
    assert_eq!(other.read().await.unwrap(), Some((journal(1), first)));
}

#[tokio::test]
async fn of_two_that_replace_the_same_body_with_the_same_content_one_is_told_that_it_changed() {
    let (_, one, other, _) = two();
    let first = tag(one.write(&journal(1), None).await.unwrap());
    let second = tag(one.write(&journal(2), Some(&first)).await.unwrap());
    assert_eq!(other.write(&journal(2), Some(&first)).await.unwrap(), Written::Changed);
    assert_eq!(other.read().await.unwrap(), Some((journal(2), second)));
}

#[tokio::test]
async fn of_many_writers_at_the_same_time_each_round_has_one_winner() {
    let memory = MemoryStore::new();
    let mut over = tag(JournalObject::new(Arc::new(memory.clone())).write(&journal(1), None).await.unwrap());
    for revision in 2..12 {
        let writers: Vec<_> = (0..8).map(|_| JournalObject::new(Arc::new(memory.clone()))).collect();
        let next = journal(revision);
        let writes = writers.iter().map(|writer| writer.write(&next, Some(&over)));
        let outcomes = futures::future::join_all(writes).await;
        let mut won: Vec<JournalTag> = Vec::new();
        for outcome in outcomes {
            if let Written::Written(tag) = outcome.unwrap() {
                won.push(tag);
            }
        }
        assert_eq!(won.len(), 1);
        over = won.remove(0);
    }
}

#[tokio::test]
async fn a_lost_reply_is_ones_own_success() {
    let (faulty, one, _, _) = two();
    faulty.next(Operation::Put, "", 1, Fate::LoseReply);
    let first = tag(one.write(&journal(1), None).await.unwrap());
    faulty.next(Operation::Replace, "", 1, Fate::LoseReply);
    let second = tag(one.write(&journal(2), Some(&first)).await.unwrap());
    assert_eq!(faulty.fired(Fired::LostReply), 2);
    assert_eq!(one.read().await.unwrap(), Some((journal(2), second)));
}

#[tokio::test]
async fn a_lost_request_stays_unknown_because_it_may_land_yet() {
    let (faulty, one, other, _) = two();
    faulty.next(Operation::Put, "", 1, Fate::LoseRequest);
    assert_eq!(one.write(&journal(1), None).await.unwrap_err().fault, CallFault::Unknown);
    let first = tag(one.write(&journal(1), None).await.unwrap());
    faulty.next(Operation::Replace, "", 1, Fate::Late);
    let error = one.write(&journal(2), Some(&first)).await.unwrap_err();
    assert_eq!(error.fault, CallFault::Unknown);
    assert!(error.chain().contains("nobody knows whether it was written"), "{}", error.chain());
    assert_eq!(faulty.deliver_late().await, 1);
    assert_eq!(other.read().await.unwrap().unwrap().0, journal(2));
}

#[tokio::test]
async fn a_lost_reply_that_another_wrote_over_is_a_change() {
    let (faulty, one, other, _) = two();
    let first = tag(one.write(&journal(1), None).await.unwrap());
    faulty.next(Operation::Replace, "", 1, Fate::LoseRequest);
    let theirs = tag(other.write(&journal(2), Some(&first)).await.unwrap());
    assert_eq!(one.write(&journal(3), Some(&first)).await.unwrap(), Written::Changed);
    assert_eq!(other.read().await.unwrap(), Some((journal(2), theirs)));
}

#[tokio::test]
async fn a_write_that_cannot_be_read_back_was_written_and_its_tag_is_good_for_nothing() {
    let (faulty, one, other, _) = two();
    faulty.next(Operation::Get, "", 1, Fate::Fail(Fault::Unknown));
    let stale = tag(one.write(&journal(1), None).await.unwrap());
    assert_eq!(faulty.fired(Fired::Failed), 1);
    assert_eq!(other.read().await.unwrap().unwrap().0, journal(1));
    assert_eq!(one.write(&journal(2), Some(&stale)).await.unwrap(), Written::Changed);
}

#[tokio::test]
async fn a_refused_write_is_told_as_such() {
    let (faulty, one, _, _) = two();
    faulty.next(Operation::Put, "", 1, Fate::Fail(Fault::Denied));
    assert_eq!(one.write(&journal(1), None).await.unwrap_err().fault, CallFault::Denied);
    let mut over = journal(1);
    over.outbox = vec![
        Notice {
            id: 1,
            at: Moment(0),
            urgency: Urgency::Info,
            subject: String::new(),
            text: String::new()
        };
        OUTBOX_MAX + 1
    ];
    let error = one.write(&over, None).await.unwrap_err();
    assert_eq!(error.fault, CallFault::Refused);
    assert!(error.chain().contains("51 notices, at most 50 are kept"), "{}", error.chain());
    assert_eq!(one.read().await.unwrap(), None);
}

#[tokio::test]
async fn a_newer_deployers_journal_is_not_guessed_at() {
    let (_, one, _, memory) = two();
    memory.overwrite(KEY, Bytes::from_static(br#"{"format": 2, "anything": ["else"]}"#));
    let error = one.read().await.unwrap_err();
    assert_eq!(error.fault, CallFault::Refused);
    let text = error.chain();
    assert!(text.contains("its format is 2, this build reads 1: a newer deployer wrote it"), "{text}");
    memory.overwrite(KEY, Bytes::from_static(b"{}"));
    assert!(one.read().await.unwrap_err().chain().contains("it is no journal"));
}
