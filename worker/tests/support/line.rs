//! One process's way to the store: each call takes its time, and none arrives from a process that is dead or stands
//! still.
//!
//! Calls of different lanes never arrive in the same millisecond, so that a simulation's schedule follows from its
//! seed and not from the machine's threads.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ledger::store::{
    CompleteOutcome, CopyOutcome, ObjectMeta, ObjectTag, PartTag, PutOutcome, ReplaceOutcome, Store,
    StoreError, UploadId, UploadMeta,
};
use tokio::time::Instant;

/// Lanes there are; each has its own milliseconds.
pub const LANES: u64 = 8;
const LATENCY_MS_MAX: u64 = 40;

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    pub fn in_100(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.below(from.len() as u64) as usize])
    }
}

/// The first millisecond of a lane that is at least `ms` after `start`.
pub async fn until(start: Instant, ms: u64, lane: u64) {
    let at = ms + (lane + LANES - ms % LANES) % LANES;
    tokio::time::sleep_until(start + Duration::from_millis(at)).await;
}

pub fn elapsed_ms(start: Instant) -> u64 {
    start.elapsed().as_millis() as u64
}

#[derive(Debug)]
struct State {
    dice: Dice,
    dead: bool,
    still_until_ms: u64,
}

#[derive(Clone, Debug)]
pub struct Line {
    inner: Arc<dyn Store>,
    start: Instant,
    lane: u64,
    state: Arc<Mutex<State>>,
}

impl Line {
    pub fn new(inner: Arc<dyn Store>, start: Instant, lane: u64, dice: Dice) -> Line {
        let state = State { dice, dead: false, still_until_ms: 0 };
        Line { inner, start, lane, state: Arc::new(Mutex::new(state)) }
    }

    /// Nothing of this process arrives any more.
    pub fn cut(&self) {
        self.state.lock().unwrap().dead = true;
    }

    /// Nothing of this process arrives for so long; then all of it does.
    pub fn stand_still(&self, ms: u64) {
        self.state.lock().unwrap().still_until_ms = elapsed_ms(self.start) + ms;
    }

    async fn way(&self) -> &dyn Store {
        let latency_ms = 1 + self.state.lock().unwrap().dice.below(LATENCY_MS_MAX);
        until(self.start, elapsed_ms(self.start) + latency_ms, self.lane).await;
        loop {
            let (dead, still_until_ms) = {
                let state = self.state.lock().unwrap();
                (state.dead, state.still_until_ms)
            };
            if dead {
                std::future::pending::<()>().await;
            }
            if elapsed_ms(self.start) >= still_until_ms {
                return self.inner.as_ref();
            }
            until(self.start, still_until_ms, self.lane).await;
        }
    }
}

#[async_trait]
impl Store for Line {
    fn url(&self) -> String {
        self.inner.url()
    }

    async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<PutOutcome, StoreError> {
        self.way().await.put_if_absent(key, body).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.way().await.get(key).await
    }

    async fn get_tagged(&self, key: &str) -> Result<Option<(Bytes, ObjectTag)>, StoreError> {
        self.way().await.get_tagged(key).await
    }

    async fn put_if_match(
        &self,
        key: &str,
        body: Bytes,
        tag: &ObjectTag,
    ) -> Result<ReplaceOutcome, StoreError> {
        self.way().await.put_if_match(key, body, tag).await
    }

    async fn get_range(&self, key: &str, start: u64, end: u64) -> Result<Option<Bytes>, StoreError> {
        self.way().await.get_range(key, start, end).await
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectMeta>, StoreError> {
        self.way().await.head(key).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ObjectMeta>, StoreError> {
        self.way().await.list(prefix, after, limit).await
    }

    async fn copy(&self, from: &str, to: &str) -> Result<CopyOutcome, StoreError> {
        self.way().await.copy(from, to).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.way().await.delete(key).await
    }

    async fn begin_upload(&self, key: &str) -> Result<UploadId, StoreError> {
        self.way().await.begin_upload(key).await
    }

    async fn upload_part(
        &self,
        key: &str,
        upload: &UploadId,
        number: usize,
        body: Bytes,
    ) -> Result<PartTag, StoreError> {
        self.way().await.upload_part(key, upload, number, body).await
    }

    async fn complete_upload(
        &self,
        key: &str,
        upload: &UploadId,
        parts: &[PartTag],
    ) -> Result<CompleteOutcome, StoreError> {
        self.way().await.complete_upload(key, upload, parts).await
    }

    async fn abort_upload(&self, key: &str, upload: &UploadId) -> Result<(), StoreError> {
        self.way().await.abort_upload(key, upload).await
    }

    async fn list_uploads(&self, prefix: &str) -> Result<Vec<UploadMeta>, StoreError> {
        self.way().await.list_uploads(prefix).await
    }
}
