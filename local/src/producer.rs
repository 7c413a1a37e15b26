//! Producer: sends the generator's messages at a steady rate and lets the brokers fill the book.
//!
//! Order: a message enters the book by its delivery report only. On the embedded broker, sending waits while a
//! partition holds nearly as much unread as the broker keeps.
//! Neighbours: generator before it, book after it. Runs on a thread of its own; story starts and stops it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};

use crate::book::{Book, Sent};
use crate::cli::EMBEDDED_PARTITION_BYTES;
use crate::clock::Stopwatch;
use crate::generator::{Generator, Message};

/// A partition of the embedded broker may hold this much that no ledger entry covers.
const UNREAD_BYTES_MAX: u64 = EMBEDDED_PARTITION_BYTES * 3 / 4;
const TICK: Duration = Duration::from_millis(10);
/// Events sent between two looks at delivery reports.
const STEP_MAX: u64 = 1_000;
/// How often unread bytes are counted anew.
const CHECK_EVERY_TICKS: u32 = 20;
const FLUSH_TIMEOUT: Duration = Duration::from_secs(30);

/// Why nothing (more) is sent.
#[derive(Debug, thiserror::Error)]
pub enum ProducerError {
    #[error("set up the producer for `{bootstrap}`")]
    SetUp {
        bootstrap: String,
        #[source]
        source: KafkaError,
    },
    #[error("start the producer's thread")]
    Thread {
        #[source]
        source: std::io::Error,
    },
    #[error("send event {index}")]
    Send {
        index: u64,
        #[source]
        source: KafkaError,
    },
    #[error("wait for the brokers to take the last events")]
    Flush {
        #[source]
        source: KafkaError,
    },
    #[error("send events: {0}")]
    Refused(String),
    #[error("the producer's thread panicked")]
    Panicked,
}

/// First offset of each partition that no ledger entry covers, as far as is known here.
pub type Covered = Arc<Mutex<BTreeMap<i32, i64>>>;

/// Whom to send to, and what.
pub struct Order {
    pub bootstrap: String,
    pub topic: String,
    pub generator: Generator,
    /// `None` = until stopped.
    pub events: Option<u64>,
    /// Given on the embedded broker, which forgets.
    pub covered: Option<Covered>,
}

/// A producer at work.
#[derive(Debug)]
pub struct Production {
    book: Arc<Mutex<Book>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), ProducerError>>,
}

impl Production {
    pub fn start(order: Order) -> Result<Production, ProducerError> {
        let book = Arc::new(Mutex::new(Book::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let producer: BaseProducer<Reports> = ClientConfig::new()
            .set("bootstrap.servers", &order.bootstrap)
            .set("enable.idempotence", "true")
            .set("linger.ms", "20")
            .create_with_context(Reports { book: book.clone() })
            .map_err(|source| ProducerError::SetUp { bootstrap: order.bootstrap.clone(), source })?;
        let sender = Sender {
            producer,
            order,
            book: book.clone(),
            stop: stop.clone(),
            sent_bytes: BTreeMap::new(),
            covered_bytes: BTreeMap::new(),
        };
        let thread = std::thread::Builder::new()
            .name("producer".into())
            .spawn(move || sender.run())
            .map_err(|source| ProducerError::Thread { source })?;
        Ok(Production { book, stop, thread })
    }

    /// The book as it fills.
    pub fn book(&self) -> Arc<Mutex<Book>> {
        self.book.clone()
    }

    /// Looks into the book as it stands.
    pub fn read<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&self.book.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All is sent, or it broke.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends the production from elsewhere.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }

    /// The whole book, once every delivery report is in. Blocks; call it when it is over, or soon will be.
    pub fn finish(self) -> Result<Book, ProducerError> {
        self.thread.join().map_err(|_| ProducerError::Panicked)??;
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner).hand_over();
        match book.refused() {
            Some(reason) => Err(ProducerError::Refused(reason.to_owned())),
            None => Ok(book),
        }
    }
}

/// Ends a production.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<AtomicBool>);

impl Stopper {
    /// No more events after this.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Takes delivery reports.
struct Reports {
    book: Arc<Mutex<Book>>,
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Sent>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Sent>) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(message) => book.delivered(message.partition(), message.offset(), *sent),
            Err((error, _)) => book.refuse(format!("event {} was not taken: {error}", sent.index)),
        }
    }
}

struct Sender {
    producer: BaseProducer<Reports>,
    order: Order,
    book: Arc<Mutex<Book>>,
    stop: Arc<AtomicBool>,
    /// By partition, delivered or not.
    sent_bytes: BTreeMap<i32, u64>,
    /// Of those, the bytes that ledger entries cover.
    covered_bytes: BTreeMap<i32, u64>,
}

impl Sender {
    fn run(mut self) -> Result<(), ProducerError> {
        let watch = Stopwatch::start();
        let mut waited = Duration::ZERO;
        let (mut next, mut ticks) = (0, 0);
        while !self.stop.load(Ordering::Relaxed) && self.order.events.is_none_or(|events| next < events) {
            if ticks % CHECK_EVERY_TICKS == 0 {
                self.look_back()?;
            }
            ticks += 1;
            let before = watch.elapsed();
            // A backlog is worked off in steps, so that delivery reports are taken in between.
            let due = (next + STEP_MAX).min(due(
                before.saturating_sub(waited),
                self.order.generator.rate,
                self.order.events,
            ));
            while next < due && !self.is_full() {
                self.send(next)?;
                next += 1;
            }
            self.producer.poll(TICK);
            // `poll` returns at once when there are reports; the rate needs no finer steps than this.
            std::thread::sleep(TICK.saturating_sub(watch.elapsed() - before));
            if self.is_full() {
                waited += watch.elapsed() - before;
            }
        }
        self.producer.flush(FLUSH_TIMEOUT).map_err(|source| ProducerError::Flush { source })
    }

    /// Learns what the ledger covers by now, and whether the brokers refused anything.
    fn look_back(&mut self) -> Result<(), ProducerError> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = book.refused() {
            return Err(ProducerError::Refused(reason.to_owned()));
        }
        if let Some(covered) = &self.order.covered {
            for (partition, position) in covered.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                self.covered_bytes.insert(*partition, book.bytes_below(*partition, *position));
            }
        }
        Ok(())
    }

    /// Whether the embedded broker would soon forget what no ledger entry covers.
    fn is_full(&self) -> bool {
        self.order.covered.is_some()
            && self.sent_bytes.iter().any(|(partition, sent)| {
                sent - self.covered_bytes.get(partition).copied().unwrap_or(0) > UNREAD_BYTES_MAX
            })
    }

    fn send(&mut self, index: u64) -> Result<(), ProducerError> {
        let (event, tombstone) = self.order.generator.messages(index);
        for message in [Some(event), tombstone].into_iter().flatten() {
            self.send_message(index, &message)?;
        }
        Ok(())
    }

    fn send_message(&mut self, index: u64, message: &Message) -> Result<(), ProducerError> {
        *self.sent_bytes.entry(message.partition).or_default() += message.log_bytes();
        let sent = Sent {
            index,
            fate: message.fate,
            content: message.content.content_hash(),
            log_bytes: u32::try_from(message.log_bytes()).unwrap_or(u32::MAX),
        };
        let mut record = record(&self.order.topic, message, sent);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                // The client's queue is full: it empties, or the message times out in a report.
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    self.producer.poll(TICK);
                    record = back;
                }
                Err((source, _)) => return Err(ProducerError::Send { index, source }),
            }
        }
    }
}

fn record<'a>(topic: &'a str, message: &'a Message, sent: Sent) -> BaseRecord<'a, [u8], [u8], Box<Sent>> {
    let mut record = BaseRecord::with_opaque_to(topic, Box::new(sent))
        .partition(message.partition)
        .timestamp(message.timestamp_ms);
    if let Some(key) = &message.key {
        record = record.key(key.as_slice());
    }
    if let Some(value) = &message.value {
        record = record.payload(value.as_slice());
    }
    if !message.headers.is_empty() {
        let headers = message.headers.iter().fold(OwnedHeaders::new(), |headers, (name, value)| {
            headers.insert(Header { key: name, value: value.as_ref() })
        });
        record = record.headers(headers);
    }
    record
}

/// How many events should have been sent by now.
fn due(elapsed: Duration, rate: u32, events: Option<u64>) -> u64 {
    let due = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).saturating_mul(u64::from(rate)) / 1000;
    events.map_or(due, |events| due.min(events))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Broker;
    use crate::generator::Fate;

    #[test]
    fn events_fall_due_at_the_rate() {
        assert_eq!(due(Duration::from_millis(1_500), 1_000, None), 1_500);
        assert_eq!(due(Duration::from_millis(1_500), 1_000, Some(1_200)), 1_200);
        assert_eq!(due(Duration::ZERO, 1_000, None), 0);
    }

    fn order(broker: &Broker, events: u64, covered: Option<Covered>) -> Order {
        Order {
            bootstrap: broker.bootstrap.clone(),
            topic: broker.topic.clone(),
            generator: Generator { seed: 3, started_ms: 1_795_343_524_000, rate: 20_000, partitions: 4 },
            events: Some(events),
            covered,
        }
    }

    #[test]
    fn every_event_is_in_the_book_at_its_own_offset() {
        let broker = Broker::embedded(4).unwrap();
        let production = Production::start(order(&broker, 2_000, None)).unwrap();
        let book = production.finish().unwrap();
        let counts = book.counts();
        assert_eq!(counts.events(), 2_000);
        assert!(counts.filtered > 0 && counts.dead_letters > 0);
        let ends: i64 = book.ends().values().sum();
        assert_eq!(ends as u64, counts.messages(), "offsets are dense from 0");
        assert_eq!(
            book.iter().filter(|(_, _, sent)| sent.fate == Fate::Filtered).count() as u64,
            counts.filtered
        );
    }

    #[test]
    fn the_embedded_broker_is_never_filled_beyond_what_it_keeps() {
        let broker = Broker::embedded(4).unwrap();
        let covered = Covered::default();
        let production = Production::start(order(&broker, 60_000, Some(covered.clone()))).unwrap();
        // 20,000/s fill 3.75 MiB of each of 4 partitions in about a second and a half.
        let sent = |production: &Production| production.read(|book| book.counts().events());
        let mut seen = vec![];
        for _ in 0..100 {
            std::thread::sleep(Duration::from_millis(200));
            seen.push(sent(&production));
            if seen.len() > 5 && seen.iter().rev().take(5).all(|s| s == &seen[seen.len() - 1]) {
                break;
            }
        }
        let before = sent(&production);
        assert!(sent(&production) < 60_000 && !production.is_over(), "sending should wait at the limit");
        let bytes = production.read(|book| {
            let mut by_partition = [0; 4];
            book.iter().for_each(|(p, _, sent)| by_partition[p as usize] += u64::from(sent.log_bytes));
            by_partition
        });
        assert!(bytes.iter().all(|b| *b < EMBEDDED_PARTITION_BYTES), "{bytes:?}");
        assert!(bytes.iter().any(|b| *b > UNREAD_BYTES_MAX), "{bytes:?}");
        *covered.lock().unwrap() = production.read(|book| book.ends());
        std::thread::sleep(Duration::from_millis(1_500));
        assert!(sent(&production) > before, "what is covered makes room");
        production.stopper().stop();
        production.finish().unwrap();
    }
}
