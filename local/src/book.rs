//! Book: what was sent where, by the brokers' own word.
//!
//! A message is in the book once its delivery report is here, under the offset that the report names. The proof
//! goes by this book alone.
//! Neighbours: producer writes, watch and proof read. Pure.

use std::collections::BTreeMap;

use crate::generator::Fate;

/// A message that a broker has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sent {
    /// The event's index in the generator, to make it again.
    pub index: u64,
    pub fate: Fate,
    /// Of [`crate::generator::Message::content`].
    pub content: u64,
    pub log_bytes: u32,
}

/// Counts by fate.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    pub rows: u64,
    pub dead_letters: u64,
    pub filtered: u64,
}

impl Counts {
    /// Events, which tombstones are not.
    pub fn events(self) -> u64 {
        self.rows + self.dead_letters
    }

    pub fn messages(self) -> u64 {
        self.events() + self.filtered
    }

    fn add(&mut self, fate: Fate) {
        match fate {
            Fate::Row => self.rows += 1,
            Fate::DeadLetter => self.dead_letters += 1,
            Fate::Filtered => self.filtered += 1,
        }
    }
}

/// Everything that was sent to one topic.
#[derive(Clone, Debug, Default)]
pub struct Book {
    partitions: BTreeMap<i32, BTreeMap<i64, Sent>>,
    counts: Counts,
    /// By partition: an offset, and the bytes below it.
    counted: BTreeMap<i32, (i64, u64)>,
    /// What the brokers refused, the first of it only.
    refused: Option<String>,
}

impl Book {
    /// Notes a delivery. Two deliveries at one offset would make the book worthless, so that it is an error.
    pub fn delivered(&mut self, partition: i32, offset: i64, sent: Sent) {
        let before = self.partitions.entry(partition).or_default().insert(offset, sent);
        if let Some(before) = before {
            let (one, other) = (before.index, sent.index);
            self.refuse(format!("events {one} and {other} were both reported at {partition}@{offset}"));
        }
        self.counts.add(sent.fate);
    }

    /// Gives everything away and keeps the counts, for those who still look.
    pub fn hand_over(&mut self) -> Book {
        let counts = self.counts;
        std::mem::replace(self, Book { counts, ..Book::default() })
    }

    pub fn refuse(&mut self, reason: String) {
        self.refused.get_or_insert(reason);
    }

    /// Why the book is not whole.
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    pub fn get(&self, partition: i32, offset: i64) -> Option<&Sent> {
        self.partitions.get(&partition)?.get(&offset)
    }

    /// By partition and offset.
    pub fn iter(&self) -> impl Iterator<Item = (i32, i64, &Sent)> {
        self.partitions
            .iter()
            .flat_map(|(partition, offsets)| offsets.iter().map(|(offset, sent)| (*partition, *offset, sent)))
    }

    /// One after the last offset sent, by partition; partitions without a message are left out.
    pub fn ends(&self) -> BTreeMap<i32, i64> {
        self.partitions
            .iter()
            .filter_map(|(partition, offsets)| Some((*partition, offsets.last_key_value()?.0 + 1)))
            .collect()
    }

    /// Bytes that a partition holds below `position`, which must not go back, nor beyond what is delivered.
    pub fn bytes_below(&mut self, partition: i32, position: i64) -> u64 {
        let Some(offsets) = self.partitions.get(&partition) else { return 0 };
        let (counted_to, bytes) = self.counted.entry(partition).or_default();
        if position > *counted_to {
            *bytes +=
                offsets.range(*counted_to..position).map(|(_, sent)| u64::from(sent.log_bytes)).sum::<u64>();
            *counted_to = position;
        }
        *bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(index: u64, fate: Fate) -> Sent {
        Sent { index, fate, content: index, log_bytes: 10 }
    }

    #[test]
    fn ends_and_bytes_follow_the_offsets() {
        let mut book = Book::default();
        book.delivered(0, 0, sent(0, Fate::Row));
        book.delivered(0, 1, sent(1, Fate::DeadLetter));
        book.delivered(2, 7, sent(2, Fate::Filtered));
        assert_eq!(book.ends(), BTreeMap::from([(0, 2), (2, 8)]));
        assert_eq!((book.bytes_below(0, 1), book.bytes_below(0, 2), book.bytes_below(5, 9)), (10, 20, 0));
        assert_eq!(book.counts(), Counts { rows: 1, dead_letters: 1, filtered: 1 });
        assert_eq!((book.counts().events(), book.counts().messages()), (2, 3));
        assert_eq!(book.refused(), None);
    }

    #[test]
    fn an_offset_that_is_reported_twice_spoils_the_book() {
        let mut book = Book::default();
        book.delivered(0, 0, sent(0, Fate::Row));
        book.delivered(0, 0, sent(1, Fate::Row));
        assert!(book.refused().is_some());
    }
}
