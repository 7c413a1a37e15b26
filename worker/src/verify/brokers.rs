//! Brokers: asks Kafka which offsets it has, for a verification that wants the log's absences checked.
//!
//! Order: before an answer counts, the topic must be the one that the log knows: a topic made anew has other records
//! under the same offsets.
//! Neighbours: verify's port before it, kafka's onlooker behind it.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use ledger::entry::OffsetRange;

use super::Existing;
use crate::kafka::{self, KafkaError, Limits, Onlooker, TopicPartition};
use crate::settings::KafkaSettings;

/// Read at once: a transactional topic has an absent offset every few records, and each question costs a fetch.
const WINDOW: i64 = 2_000;
/// Windows that are kept; entries are verified a few at a time.
const WINDOWS_MAX: usize = 64;

/// Kafka, asked without joining the group.
pub struct Brokers {
    /// None where neither log nor settings name a topic.
    onlooker: Option<Onlooker>,
    /// Topics that are not the log's, or no longer there: of them Kafka cannot tell.
    strange: Vec<String>,
    windows: Mutex<VecDeque<Window>>,
}

struct Window {
    partition: TopicPartition,
    asked: Range<i64>,
    found: kafka::Existing,
}

impl Brokers {
    /// Reaches Kafka. `ids` are the topics as the log knows them, with their ids where it does.
    ///
    /// # Errors
    /// When no broker answers, or refuses.
    pub async fn reach(
        settings: &KafkaSettings,
        limits: Limits,
        ids: &BTreeMap<String, Option<String>>,
    ) -> Result<Brokers, KafkaError> {
        let mut strange = Vec::new();
        for (topic, known) in ids {
            // One by one, so that a topic that is gone does not hide the others.
            let alone = KafkaSettings { topics: vec![topic.clone()], ..settings.clone() };
            let found = match Onlooker::start(&alone, limits)?.topics().await {
                Ok(found) => found.into_iter().next().and_then(|topic| topic.id),
                Err(KafkaError::NoSuchTopic { .. }) => {
                    tracing::warn!(
                        topic,
                        "Kafka knows no such topic (any more): it cannot tell about its offsets"
                    );
                    strange.push(topic.clone());
                    continue;
                }
                Err(error) => return Err(error),
            };
            if let (Some(known), Some(found)) = (known, &found)
                && known != found
            {
                tracing::warn!(
                    topic,
                    known,
                    found,
                    "the topic was made anew: it cannot tell about the log's offsets"
                );
                strange.push(topic.clone());
            }
        }
        let mut settings = settings.clone();
        if !ids.is_empty() {
            settings.topics = ids.keys().cloned().collect();
        }
        let onlooker = match settings.topics.is_empty() {
            true => None,
            false => Some(Onlooker::start(&settings, limits)?),
        };
        Ok(Brokers { onlooker, strange, windows: Mutex::default() })
    }

    fn windows(&self) -> MutexGuard<'_, VecDeque<Window>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remembered(&self, partition: &TopicPartition, asked: &Range<i64>) -> Option<Option<Vec<i64>>> {
        let windows = self.windows();
        let covers = |window: &&Window| {
            window.partition == *partition
                && window.asked.start <= asked.start
                && asked.end <= window.asked.end
        };
        windows.iter().find(covers).map(|window| answer(&window.found, asked))
    }
}

/// Records at the offsets asked for. `None` where Kafka has no longer all of them and shows none: nobody can tell.
fn answer(found: &kafka::Existing, asked: &Range<i64>) -> Option<Vec<i64>> {
    let within = |range: &OffsetRange| range.0.max(asked.start)..(range.1 + 1).min(asked.end);
    let existing: Vec<i64> = found.offsets.iter().flat_map(within).collect();
    let all_known = found.known.start <= asked.start && asked.end <= found.known.end;
    (all_known || !existing.is_empty()).then_some(existing)
}

#[async_trait]
impl Existing for Brokers {
    async fn existing(
        &self,
        topic: &str,
        partition: i32,
        range: OffsetRange,
    ) -> Result<Option<Vec<i64>>, Box<dyn Error + Send + Sync>> {
        let Some(onlooker) = &self.onlooker else { return Ok(None) };
        if self.strange.iter().any(|one| one == topic) {
            return Ok(None);
        }
        let partition = TopicPartition { topic: topic.into(), partition };
        let asked = range.0..range.1 + 1;
        if let Some(answer) = self.remembered(&partition, &asked) {
            return Ok(answer);
        }
        let window = asked.start..asked.end.max(asked.start.saturating_add(WINDOW));
        let found = match onlooker.existing_offsets(&partition, window.clone()).await {
            Ok(found) => found,
            Err(KafkaError::NoSuchTopic { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let answer = answer(&found, &asked);
        let mut windows = self.windows();
        if windows.len() == WINDOWS_MAX {
            windows.pop_front();
        }
        windows.push_back(Window { partition, asked: window, found });
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_kafka_still_has_can_be_told() {
        let found =
            kafka::Existing { known: 100..200, offsets: vec![OffsetRange(100, 149), OffsetRange(151, 199)] };
        assert_eq!(answer(&found, &(150..151)), Some(vec![]));
        assert_eq!(answer(&found, &(148..152)), Some(vec![148, 149, 151]));
        assert_eq!(answer(&found, &(50..60)), None, "removed by retention");
        assert_eq!(
            answer(&found, &(90..102)),
            Some(vec![100, 101]),
            "a contradiction is one, however little is known"
        );
        assert_eq!(answer(&found, &(200..210)), None, "behind the last stable offset");
    }
}
