//! Offsets: which offsets of one partition's range were seen in files, each at most once.
//!
//! Neighbours: verify. Pure: no I/O, no clock.

use std::collections::BTreeMap;
use std::ops::Range;

use ledger::entry::{OffsetRange, PartitionRange, Role};

/// Offsets of a chunk; a chunk that nothing is in takes no memory.
const CHUNK_BITS: u64 = 64 * 1024;
const WORDS: usize = (CHUNK_BITS / 64) as usize;

/// A set of offsets: a bit each, in chunks of 8 KiB.
#[derive(Debug, Default)]
pub struct OffsetSet {
    chunks: BTreeMap<u64, Box<[u64; WORDS]>>,
}

impl OffsetSet {
    /// Whether the offset is new.
    pub fn insert(&mut self, offset: i64) -> bool {
        let (chunk, bit) = split(offset);
        let words = self.chunks.entry(chunk).or_insert_with(|| Box::new([0; WORDS]));
        let (word, mask) = (&mut words[(bit / 64) as usize], 1 << (bit % 64));
        let new = *word & mask == 0;
        *word |= mask;
        new
    }

    /// How many offsets of `range` are in the set.
    pub fn count_in(&self, range: Range<i64>) -> u64 {
        let mut count = 0;
        self.each_chunk(&range, |words, bits| {
            count += match words {
                Some(words) if bits == (0..CHUNK_BITS) => {
                    words.iter().map(|word| u64::from(word.count_ones())).sum()
                }
                Some(words) => bits.filter(|bit| has(words, *bit)).count() as u64,
                None => 0,
            };
            true
        });
        count
    }

    /// The smallest offset of `range` that is not in the set.
    pub fn first_absent_in(&self, range: Range<i64>) -> Option<i64> {
        let mut at = range.start;
        let mut found = None;
        self.each_chunk(&range, |words, bits| {
            let skipped = match words {
                Some(words) => bits.clone().position(|bit| !has(words, bit)),
                None => Some(0),
            };
            match skipped {
                Some(skipped) => found = Some(at + skipped as i64),
                None => at += (bits.end - bits.start) as i64,
            }
            found.is_none()
        });
        found
    }

    /// Visits the chunks of `range` in order while `visit` says so. Runs of chunks that are not there count as
    /// one visit each, and are many only when the caller's range is.
    fn each_chunk(
        &self,
        range: &Range<i64>,
        mut visit: impl FnMut(Option<&[u64; WORDS]>, Range<u64>) -> bool,
    ) {
        if range.start >= range.end {
            return;
        }
        let ((first, from), (last, to)) = (split(range.start), split(range.end - 1));
        let mut expected = first;
        for (chunk, words) in self.chunks.range(first..=last) {
            if *chunk > expected && !visit(None, if expected == first { from } else { 0 }..CHUNK_BITS) {
                return;
            }
            let bits =
                if *chunk == first { from } else { 0 }..if *chunk == last { to + 1 } else { CHUNK_BITS };
            if !visit(Some(words), bits) {
                return;
            }
            expected = chunk + 1;
        }
        if expected <= last {
            visit(None, if expected == first { from } else { 0 }..CHUNK_BITS);
        }
    }
}

fn split(offset: i64) -> (u64, u64) {
    // Offsets are not negative; one that is would be outside every range and never gets here.
    let offset = offset.max(0) as u64;
    (offset / CHUNK_BITS, offset % CHUNK_BITS)
}

fn has(words: &[u64; WORDS], bit: u64) -> bool {
    words[(bit / 64) as usize] & (1 << (bit % 64)) != 0
}

/// What a row's offset turned out to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Seen {
    /// The first time.
    Once,
    /// Before already, in this file or another of the same entry.
    Again,
    /// Not in `from..to`.
    Outside,
}

/// What became of a range, told by the rows of its files.
#[derive(Debug)]
pub struct Tally<'e> {
    range: &'e PartitionRange,
    seen: OffsetSet,
    pub data_rows: u64,
    pub dead_letter_rows: u64,
}

impl<'e> Tally<'e> {
    pub fn new(range: &'e PartitionRange) -> Tally<'e> {
        Tally { range, seen: OffsetSet::default(), data_rows: 0, dead_letter_rows: 0 }
    }

    pub fn range(&self) -> &PartitionRange {
        self.range
    }

    pub fn row(&mut self, role: Role, offset: i64) -> Seen {
        match role {
            Role::Data => self.data_rows += 1,
            Role::DeadLetters => self.dead_letter_rows += 1,
        }
        if !(self.range.from.0..self.range.to.0).contains(&offset) {
            return Seen::Outside;
        }
        if self.seen.insert(offset) { Seen::Once } else { Seen::Again }
    }

    /// Ranges that are said to hold no record and hold a row.
    pub fn contradicted(&self) -> impl Iterator<Item = OffsetRange> {
        let said = self.range.absent.iter().chain(&self.range.lost);
        said.filter(|range| self.seen.count_in(range.0..range.1 + 1) > 0).copied()
    }

    /// Offsets in no file, beyond those said to be filtered, absent or lost: how many, and the first in no file.
    pub fn gap(&self) -> Option<(u64, i64)> {
        let (mut unseen, mut first) = (0, None);
        for part in self.held() {
            unseen += (part.end - part.start) as u64 - self.seen.count_in(part.clone());
            first = first.or_else(|| self.seen.first_absent_in(part));
        }
        let missing = unseen.saturating_sub(self.range.filtered);
        first.filter(|_| missing > 0).map(|first| (missing, first))
    }

    /// What is left of `from..to` without the absent and lost ranges, in order.
    fn held(&self) -> Vec<Range<i64>> {
        let mut holes: Vec<OffsetRange> = self.range.absent.iter().chain(&self.range.lost).copied().collect();
        holes.sort_unstable();
        let (mut parts, mut at) = (Vec::with_capacity(holes.len() + 1), self.range.from.0);
        for hole in holes {
            if at < hole.0 {
                parts.push(at..hole.0.min(self.range.to.0));
            }
            at = at.max(hole.1.saturating_add(1));
        }
        if at < self.range.to.0 {
            parts.push(at..self.range.to.0);
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ledger::entry::NextOffset;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_of_bits_is_a_set(
            offsets in proptest::collection::vec(0i64..200_000, 0..400),
            start in 0i64..200_000,
            length in 0i64..200_000,
        ) {
            let (mut set, mut model) = (OffsetSet::default(), BTreeSet::new());
            for offset in &offsets {
                prop_assert_eq!(set.insert(*offset), model.insert(*offset));
            }
            let range = start..start + length;
            prop_assert_eq!(set.count_in(range.clone()), model.range(range.clone()).count() as u64);
            let absent = range.clone().find(|offset| !model.contains(offset));
            prop_assert_eq!(set.first_absent_in(range), absent);
        }
    }

    fn range(from: i64, to: i64, filtered: u64, absent: &[(i64, i64)]) -> PartitionRange {
        PartitionRange {
            from: NextOffset(from),
            to: NextOffset(to),
            filtered,
            absent: absent.iter().map(|(first, last)| OffsetRange(*first, *last)).collect(),
            ..PartitionRange::default()
        }
    }

    #[test]
    fn a_gap_is_what_nothing_explains() {
        let said = range(10, 20, 1, &[(12, 13), (19, 19)]);
        let mut tally = Tally::new(&said);
        for offset in [10, 11, 14, 15, 16] {
            assert_eq!(tally.row(Role::Data, offset), Seen::Once);
        }
        // 17 and 18 are left, and one was filtered.
        assert_eq!(tally.gap(), Some((1, 17)));
        assert_eq!(tally.row(Role::DeadLetters, 18), Seen::Once);
        assert_eq!(tally.gap(), None);
        assert_eq!(tally.row(Role::Data, 18), Seen::Again);
        assert_eq!(tally.row(Role::Data, 20), Seen::Outside);
        assert_eq!(tally.row(Role::Data, -1), Seen::Outside);
        assert_eq!(tally.contradicted().count(), 0);
        tally.row(Role::Data, 13);
        assert_eq!(tally.contradicted().collect::<Vec<_>>(), [OffsetRange(12, 13)]);
    }

    #[test]
    fn a_range_of_a_billion_absent_offsets_costs_nothing() {
        let said = range(0, 4_000_000_000_000, 0, &[(1, 3_999_999_999_998)]);
        let mut tally = Tally::new(&said);
        tally.row(Role::Data, 0);
        assert_eq!(tally.gap(), Some((1, 3_999_999_999_999)));
        tally.row(Role::Data, 3_999_999_999_999);
        assert_eq!(tally.gap(), None);
    }
}
