//! A whole worker around a Kafka in memory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::worker::batch::files::FileOptions;
use ::worker::batch::route::PartitionSpec;
use ::worker::batch::seal::Limits;
use ::worker::clock::{Clock, Moment};
use ::worker::decode::{BatchDecoder, DecodeFailure, Decoded, DecoderFactory, dead_letter};
use ::worker::encode::EncodeOptions;
use ::worker::kafka::records::{Batch, Run};
use ::worker::metrics::{Counter, Metrics};
use ::worker::pipeline::{Decode, NewId, Parts, Pipeline, Report, Rules, Stop};
use ::worker::schema;
use ::worker::settings::{
    MetadataColumns, OnDataLoss, OnError, PartitionField, PartitionTransform, RecordSettings, Start,
    Tombstones,
};
use ledger::entry::Writer;
use ledger::store::Store;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Scripted, TestClock, Topic};

struct Decoder {
    factory: DecoderFactory,
    idle: Mutex<Vec<BatchDecoder>>,
}

impl Decode for Decoder {
    fn decode(&self, batch: &Batch, runs: &[Run]) -> Result<Decoded, DecodeFailure> {
        let mut decoder = self.idle.lock().unwrap().pop().unwrap_or_else(|| self.factory.build());
        let decoded = decoder.decode(batch, runs);
        self.idle.lock().unwrap().push(decoder);
        decoded
    }
}

/// One worker that runs in this process.
pub struct Worker {
    pub source: Scripted,
    pub stop: CancellationToken,
    pub running: JoinHandle<Result<(), Stop>>,
    pub metrics: Metrics,
}

impl Worker {
    pub fn start(store: Arc<dyn Store>, topic: &Topic, partitions: i32, release: &str) -> Worker {
        Worker::start_with(store, topic, partitions, release, |_| {})
    }

    pub fn start_with(
        store: Arc<dyn Store>,
        topic: &Topic,
        partitions: i32,
        release: &str,
        change: impl FnOnce(&mut Rules),
    ) -> Worker {
        Worker::start_as(store, topic, partitions, release, Arc::new(uuid::Uuid::now_v7), change)
    }

    pub fn start_as(
        store: Arc<dyn Store>,
        topic: &Topic,
        partitions: i32,
        release: &str,
        new_id: NewId,
        change: impl FnOnce(&mut Rules),
    ) -> Worker {
        let source = Scripted::new(topic, partitions, 50);
        let stop = CancellationToken::new();
        let table = schema::parse("CREATE TABLE t (id bigint NOT NULL)").unwrap();
        let records = RecordSettings {
            schema_file: "schema.sql".into(),
            on_error: OnError::DeadLetter,
            tombstones: Tombstones::Skip,
            metadata: MetadataColumns::default(),
        };
        let factory = DecoderFactory::new(&table, &records);
        let by_date = PartitionField {
            name: "dt".to_owned(),
            column: vec!["_timestamp".to_owned()],
            transform: PartitionTransform::Date,
        };
        let spec = PartitionSpec::new(&[by_date], factory.output_schema()).unwrap();
        let files = FileOptions {
            data_schema: spec.file_schema().clone(),
            spec,
            data: EncodeOptions::default(),
            dead_letter_schema: dead_letter::schema(),
            dead_letters: EncodeOptions::default(),
        };
        let mut rules = Rules {
            limits: Limits {
                file_bytes_max: 128 << 20,
                age_max: Duration::from_secs(60),
                idle_max: Duration::from_secs(10),
                memory_bytes_max: 256 << 20,
            },
            start: Start::Earliest,
            on_data_loss: OnDataLoss::Fail,
            revoke_timeout: Duration::from_secs(20),
            decoders: 2,
            decoding_bytes_max: 64 << 20,
            hold_at: None,
        };
        change(&mut rules);
        let clock: Arc<dyn Clock> = Arc::new(TestClock::start());
        let metrics = Metrics::new(clock.moment());
        let parts = Parts {
            source: Arc::new(source.clone()),
            store,
            decoder: Arc::new(Decoder { factory, idle: Mutex::default() }),
            files,
            writer: Writer { release: release.to_owned(), version: "0".to_owned(), ..Writer::default() },
            report: Report::new(metrics.clone(), clock.clone()),
            clock,
            rules,
            new_id,
            shutdown: stop.clone(),
        };
        Worker { source, stop, running: tokio::spawn(Pipeline::run(parts)), metrics }
    }

    pub fn count(&self, counter: Counter) -> u64 {
        self.metrics.snapshot(Moment::default()).count(counter)
    }

    pub async fn drain(self) -> Result<(), Stop> {
        self.stop.cancel();
        self.running.await.unwrap()
    }
}
