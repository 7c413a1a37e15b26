//! Parts: finished bytes of one file, in order, cut into the parts of a multipart upload.
//!
//! Order: bytes leave in the order in which they came, each once.
//! Neighbours: encode's writer fills it. Knows nothing of Parquet.

use std::collections::VecDeque;
use std::io::{self, Write};

use bytes::Bytes;

/// Small enough that the allocator takes it from where pages were freed, and that an almost empty one costs
/// little in each open file; large enough to be few.
const CHUNK_BYTES: usize = 64 * 1024;

/// A queue of bytes. Memory is given back chunk by chunk while parts are taken.
#[derive(Debug, Default)]
pub(super) struct Parts {
    chunks: VecDeque<Vec<u8>>,
    /// Bytes of the first chunk that were taken already.
    taken: usize,
    bytes: usize,
}

impl Parts {
    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes allocated.
    pub fn memory_bytes(&self) -> usize {
        self.chunks.iter().map(Vec::capacity).sum()
    }

    /// Takes as many parts of exactly `part_bytes` as there are bytes for.
    pub fn take_whole(&mut self, part_bytes: usize) -> Vec<Bytes> {
        let part_bytes = part_bytes.max(1);
        (0..self.bytes / part_bytes).map(|_| self.take(part_bytes)).collect()
    }

    /// Takes everything: parts of `part_bytes`, then what is left.
    pub fn take_all(&mut self, part_bytes: usize) -> Vec<Bytes> {
        let mut parts = self.take_whole(part_bytes);
        if self.bytes > 0 {
            parts.push(self.take(self.bytes));
        }
        parts
    }

    fn take(&mut self, part_bytes: usize) -> Bytes {
        let mut part = Vec::with_capacity(part_bytes);
        while part.len() < part_bytes {
            let chunk = self.chunks.front().expect("`bytes` counts what the chunks hold");
            let end = chunk.len().min(self.taken + part_bytes - part.len());
            part.extend_from_slice(&chunk[self.taken..end]);
            if end == chunk.len() {
                self.chunks.pop_front();
                self.taken = 0;
            } else {
                self.taken = end;
            }
        }
        self.bytes -= part_bytes;
        Bytes::from(part)
    }
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = self.chunks.back().map_or(0, |chunk| chunk.capacity() - chunk.len());
            if room == 0 {
                self.chunks.push_back(Vec::with_capacity(CHUNK_BYTES));
                continue;
            }
            let (now, later) = rest.split_at(room.min(rest.len()));
            if let Some(chunk) = self.chunks.back_mut() {
                chunk.extend_from_slice(now);
            }
            rest = later;
        }
        self.bytes += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_put_together_are_what_was_written(
            writes in proptest::collection::vec(0usize..600_000, 1..12),
            part_bytes in 1usize..700_000,
            take_every in 1usize..5,
        ) {
            // Counting up with a prime period, so that a lost, doubled or moved chunk shows.
            let mut written = Vec::new();
            let mut parts = Parts::default();
            let mut taken = Vec::new();
            for (index, length) in writes.iter().enumerate() {
                let start = written.len();
                written.extend((start..start + length).map(|at| (at % 251) as u8));
                parts.write_all(&written[start..]).unwrap();
                if index % take_every == 0 {
                    taken.extend(parts.take_whole(part_bytes.max(1000)));
                }
            }
            for part in &taken {
                prop_assert_eq!(part.len(), part_bytes.max(1000));
            }
            taken.extend(parts.take_all(part_bytes.max(1000)));
            prop_assert_eq!(parts.bytes(), 0);
            prop_assert_eq!(taken.concat(), written);
        }
    }

    #[test]
    fn memory_is_given_back_when_parts_are_taken() {
        let mut parts = Parts::default();
        parts.write_all(&vec![7; 10 * CHUNK_BYTES]).unwrap();
        assert_eq!(parts.memory_bytes(), 10 * CHUNK_BYTES);
        parts.take_whole(4 * CHUNK_BYTES);
        assert_eq!(parts.memory_bytes(), 2 * CHUNK_BYTES);
    }
}
