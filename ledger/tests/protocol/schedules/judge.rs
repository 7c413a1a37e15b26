//! Judge: what must hold of a store, seen from outside by its objects alone.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt;
use ledger::entry::{Entry, Kind, Sequence};
use ledger::settle::superseded;
use ledger::store::Store;
use ledger::store::memory::MemoryStore;

use crate::common::*;

/// Which offsets the writers leave out on purpose, so that counts matter too.
pub fn is_filtered(partition: i32, offset: i64) -> bool {
    (offset + i64::from(partition)) % 4 == 3
}

/// Reads the log as it grows; each entry once.
#[derive(Default)]
pub struct Judge {
    entries: Vec<Entry>,
    keys_seen: Vec<String>,
}

impl Judge {
    /// What holds at any time: nothing is visible that no entry names, and no row of live entries twice.
    pub fn look(&mut self, memory: &MemoryStore) -> Result<(), String> {
        let keys = memory.keys();
        if keys == self.keys_seen {
            return Ok(());
        }
        self.read_on(memory)?;
        let gone = superseded(self.entries.iter());
        let mut seen = BTreeSet::new();
        for key in keys.iter().filter(|key| key.starts_with("data/")) {
            let by = self.entries.iter().find(|entry| entry.files.iter().any(|file| file.key == *key));
            let by = by.ok_or_else(|| format!("`{key}` is visible and no entry names it"))?;
            if gone.contains(&by.sequence) {
                continue;
            }
            for row in rows_of(memory, key) {
                if !seen.insert(row) {
                    return Err(format!("{row:?} is visible twice, the second time in `{key}`"));
                }
            }
        }
        self.keys_seen = keys;
        Ok(())
    }

    /// What holds when everyone has settled and fifteen minutes have passed.
    pub fn conclude(&mut self, memory: &MemoryStore) -> Result<(), String> {
        self.look(memory)?;
        self.read_on(memory)?;
        let gone = superseded(self.entries.iter());
        let live: Vec<&Entry> = self.entries.iter().filter(|entry| !gone.contains(&entry.sequence)).collect();

        let mut counted: BTreeMap<(i32, i64), u32> = BTreeMap::new();
        for (_, partition, range) in live.iter().filter(|e| e.moves()).flat_map(|entry| entry.ranges()) {
            for offset in range.from.0..range.to.0 {
                *counted.entry((partition, offset)).or_default() += 1;
            }
        }
        let mut visible: BTreeMap<(i32, i64), u32> = BTreeMap::new();
        for key in visible_data(memory) {
            if !live.iter().any(|entry| entry.files.iter().any(|file| file.key == key)) {
                return Err(format!("`{key}` is visible, but superseded"));
            }
            for row in rows_of(memory, &key) {
                *visible.entry(row).or_default() += 1;
            }
        }
        let positions = self.entries.last().map(|newest| newest.positions.clone()).unwrap_or_default();
        let mut below = 0;
        for (partition, position) in positions.get(TOPIC).into_iter().flatten() {
            for offset in 0..position.0 {
                let at = (*partition, offset);
                below += 1;
                let want = u32::from(!is_filtered(*partition, offset));
                let (counted, visible) = (counted.get(&at), visible.get(&at).copied().unwrap_or(0));
                if counted != Some(&1) || visible != want {
                    return Err(format!("{at:?}: {visible} visible, {want} expected, counted {counted:?}"));
                }
            }
        }
        if counted.len() != below || visible.len() > below {
            return Err(format!("something at or above {positions:?} is visible or counted"));
        }
        Ok(())
    }

    /// No entry of `release` stands behind its rejection.
    pub fn rejection_held(&self, release: &str) -> Result<(), String> {
        let is_rejection =
            |entry: &&Entry| matches!(&entry.kind, Kind::Reject { what, .. } if what == release);
        let Some(from) = self.entries.iter().find(is_rejection).map(|entry| entry.sequence) else {
            return Ok(());
        };
        match self.entries.iter().find(|entry| entry.sequence > from && entry.writer.release == release) {
            Some(entry) => Err(format!("`{release}` wrote entry {} behind its rejection", entry.sequence)),
            None => Ok(()),
        }
    }

    fn read_on(&mut self, memory: &MemoryStore) -> Result<(), String> {
        loop {
            let key = Sequence(self.entries.len() as u64 + 1).key();
            let Some(body) = now(memory.get(&key)).unwrap() else { return Ok(()) };
            let entry = Entry::from_json(&key, &body).map_err(|error| error.to_string())?;
            entry.check_follows(self.entries.last()).map_err(|error| error.to_string())?;
            self.entries.push(entry);
        }
    }
}

/// The memory store answers at once.
pub fn now<T>(call: impl Future<Output = T>) -> T {
    call.now_or_never().expect("the memory store never waits")
}

fn visible_data(memory: &MemoryStore) -> Vec<String> {
    visible(memory)
}

fn rows_of(memory: &MemoryStore, key: &str) -> Vec<(i32, i64)> {
    let body = now(memory.get(key)).unwrap().unwrap_or_default();
    let text = std::str::from_utf8(&body).unwrap();
    let row = |line: &str| {
        let (partition, offset) = line.split_once(' ').unwrap();
        (partition.parse().unwrap(), offset.parse().unwrap())
    };
    text.lines().map(row).collect()
}
