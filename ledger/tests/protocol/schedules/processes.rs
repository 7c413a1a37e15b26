//! Processes: what worker, deployer and sweeper do with the ledger, by a seed of their own.
//!
//! Order as the worker's: open → settle → (refresh → settle → upload → append → settle)*.

use std::time::Duration;

use bytes::Bytes;
use ledger::append::{AppendError, Draft, DraftFile};
use ledger::entry::{Entry, FileRef, Kind, NextOffset, PartitionRange, Role, Sequence};
use ledger::head::{LedgerError, View};
use ledger::settle::{Settler, Which};
use ledger::store::Store;
use ledger::store::faulty::Faulty;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::judge::is_filtered;
use super::world::Shared;
use crate::common::*;

/// Partitions, and how far the writers take each.
pub const PARTITIONS: i32 = 2;
const OFFSETS: i64 = 9;

/// One process and what it remembers; lost when it crashes.
pub struct Process {
    pub shared: Shared,
    pub faulty: Faulty,
    pub name: String,
    pub view: View,
    pub settler: Settler,
    pub rng: StdRng,
}

impl Process {
    /// Opens the log as a process does at its start; gives up when the store stays away.
    pub async fn open(shared: Shared, faulty: Faulty, name: String, seed: u64) -> Option<Process> {
        for _ in 0..4 {
            match View::open(std::sync::Arc::new(faulty.clone())).await {
                Ok(view) => {
                    let (settler, rng) = (Settler::default(), StdRng::seed_from_u64(seed));
                    let mut process = Process { shared, faulty, name, view, settler, rng };
                    process.settle(Which::All).await;
                    return Some(process);
                }
                Err(error) => assert_only_the_store(&error),
            }
        }
        None
    }

    pub async fn settle(&mut self, which: Which) {
        match self.settler.settle(&mut self.view, which, self.shared.now_ms()).await {
            Ok(settled) => {
                self.shared.count("superseded object removed", settled.removed as u64);
                for damage in settled.damage {
                    self.shared.violated(format!("{} reports damage: {damage:?}", self.name));
                }
            }
            Err(error) => assert_only_the_store(&error),
        }
    }

    async fn refresh(&mut self) -> bool {
        self.view.refresh().await.inspect_err(assert_only_the_store).is_ok()
    }

    fn note(&self, what: &'static str, detail: impl std::fmt::Debug) {
        self.shared.count(what, 1);
        self.shared.say(format!("{} {what}: {detail:?}", self.name));
    }
}

/// A log that its readers can't read is no accident: only the store may fail here.
fn assert_only_the_store(error: &LedgerError) {
    assert!(matches!(error, LedgerError::Store(_)), "{error:?}");
}

/// A worker that believes it owns all partitions.
pub async fn write(mut own: Process, release: &'static str) -> Option<Process> {
    for _ in 0..own.rng.random_range(2..6) {
        if own.rng.random_bool(0.7) && !own.refresh().await {
            continue;
        }
        own.settle(Which::Overdue).await;
        let Some(draft) = make_draft(&mut own, release).await else { continue };
        if !append(&mut own, &draft).await {
            return None;
        }
    }
    Some(own)
}

/// Appends as the worker must; whether it may go on.
async fn append(own: &mut Process, draft: &Draft) -> bool {
    let mut doubted = false;
    loop {
        match own.view.append(draft).await {
            Ok(entry) => {
                own.note(if draft.kind == Kind::Open { "opened" } else { "appended" }, entry.sequence);
                if doubted {
                    own.note("found again after a doubt", entry.sequence);
                }
                own.settle(Which::Own(entry.sequence)).await;
                return true;
            }
            Err(AppendError::InDoubt { sequence, source }) => {
                assert_only_the_store(&source);
                own.note("in doubt", sequence);
                if doubted || own.rng.random_bool(0.5) {
                    return false;
                }
                doubted = true;
                if own.rng.random_bool(0.5) {
                    own.refresh().await;
                }
            }
            Err(AppendError::Rejected { named, .. }) => {
                own.note(if named { "rejected although named" } else { "rejected" }, draft.entry_id);
                if !named {
                    abort(own, draft).await;
                }
                return false;
            }
            Err(AppendError::Fenced { .. }) => {
                own.note("fenced", draft.entry_id);
                abort(own, draft).await;
                return true;
            }
            Err(AppendError::Swept { key }) => {
                own.note("swept", key);
                return true;
            }
            Err(AppendError::Ledger(error)) => {
                assert_only_the_store(&error);
                abort(own, draft).await;
                return true;
            }
            Err(error @ (AppendError::Crowded | AppendError::BadDraft(_))) => panic!("{error:?}"),
        }
    }
}

async fn abort(own: &Process, draft: &Draft) {
    for DraftFile { file, .. } in &draft.files {
        // What is left over is swept.
        let _ = own.faulty.abort_upload(&file.key, &file.upload_id).await;
    }
}

/// A batch from where the view stands, its rows spread over one or two files. `None`: nothing to write.
async fn make_draft(own: &mut Process, release: &'static str) -> Option<Draft> {
    let mut draft = draft(own.shared.next_number(), release, &[], Vec::new());
    let unseen: Vec<i32> = (0..PARTITIONS).filter(|p| position(&own.view, *p).is_none()).collect();
    if !unseen.is_empty() && own.rng.random_bool(0.5) {
        draft.kind = Kind::Open;
        draft.topics = topics(&unseen.iter().map(|partition| (*partition, 0, 0)).collect::<Vec<_>>());
        return Some(draft);
    }
    let mut moves: Vec<Move> = Vec::new();
    for partition in 0..PARTITIONS {
        let from = position(&own.view, partition).unwrap_or(0);
        let to = (from + own.rng.random_range(0..4)).min(OFFSETS);
        if to > from {
            moves.push((partition, from, to));
        }
    }
    if moves.is_empty() {
        return None;
    }
    draft.topics = topics(&moves);
    for (partition, range) in &mut draft.topics.get_mut(TOPIC).unwrap().partitions {
        count_filtered(*partition, range);
    }
    let files: Vec<&[Move]> =
        if own.rng.random_bool(0.3) { moves.chunks(1).collect() } else { vec![&moves[..]] };
    for moves in files {
        let offsets = moves.iter().flat_map(|(p, from, to)| (*from..*to).map(|offset| (*p, offset)));
        let written: Vec<Move> =
            offsets.filter(|(p, o)| !is_filtered(*p, *o)).map(|(p, o)| (p, o, o + 1)).collect();
        if !written.is_empty() {
            draft.files.push(upload_through_faults(own, &written).await?);
        }
    }
    Some(draft)
}

fn count_filtered(partition: i32, range: &mut PartitionRange) {
    let (NextOffset(from), NextOffset(to)) = (range.from, range.to);
    range.filtered = (from..to).filter(|offset| is_filtered(partition, *offset)).count() as u64;
    range.written -= range.filtered;
}

/// `None` when the store lost a call: the upload, if there is one, is left to a sweep.
async fn upload_through_faults(own: &Process, written: &[Move]) -> Option<DraftFile> {
    let key = format!("data/{:04}", own.shared.next_number());
    let body = Bytes::from(rows(written));
    let bytes = body.len();
    let upload_id = own.faulty.begin_upload(&key).await.ok()?;
    own.shared.remember(&key, &upload_id, &body);
    let tag = own.faulty.upload_part(&key, &upload_id, 1, body).await.ok()?;
    let rows = written.len() as u64;
    let file = FileRef { key, role: Role::Data, upload_id, parts: vec![tag], rows, bytes: bytes as u64 };
    // A process that was stopped for a day does not know how old its upload is.
    Some(DraftFile { file, part_bytes: vec![bytes], age: Duration::ZERO })
}

/// Rejects the bad release, then rewinds once or twice, to anywhere.
pub async fn deploy(mut own: Process) -> Option<Process> {
    let signature_of = |own: &Process| signature(own.shared.next_number());
    let rejection = signature_of(&own);
    // In doubt, a deployer asks again until it knows: a second rejection is none.
    while let Err(error) = own.view.reject("bad", &rejection, "it ruins rows").await {
        assert!(matches!(error, AppendError::InDoubt { .. } | AppendError::Ledger(_)), "{error:?}");
        own.refresh().await;
    }
    for round in 0..own.rng.random_range(1..3) {
        let target = Sequence(own.rng.random_range(1..=own.view.sequence().0));
        let signature = signature_of(&own);
        match own.view.rewind(target, &signature, "again").await {
            Ok(Some(Entry { kind, .. })) => {
                own.note(if round == 0 { "rewound" } else { "rewound twice" }, kind);
            }
            Ok(None) => own.shared.say(format!("{} found nothing live from {target}", own.name)),
            Err(AppendError::InDoubt { sequence, .. }) => own.note("in doubt", sequence),
            Err(AppendError::Ledger(error)) => assert_only_the_store(&error),
            Err(error) => panic!("{error:?}"),
        }
        if own.rng.random_bool(0.5) {
            own.settle(Which::All).await;
        }
        if own.rng.random_bool(0.5) {
            own.refresh().await;
        }
    }
    Some(own)
}

/// Names what is older than a day, and aborts it.
pub async fn sweep(mut own: Process) -> Option<Process> {
    let signature = signature(own.shared.next_number());
    match own.view.sweep(&signature, own.shared.store_now()).await {
        Ok(Some(entry)) => own.note("sweep named", entry.kind),
        Ok(None) => {}
        Err(AppendError::InDoubt { sequence, .. }) => own.note("in doubt", sequence),
        Err(AppendError::Ledger(error)) => assert_only_the_store(&error),
        Err(error) => panic!("{error:?}"),
    }
    own.settle(Which::All).await;
    Some(own)
}
