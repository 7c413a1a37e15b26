//! Check: tries everything that `run` would need, says what it would do and cost, and writes nothing.
//!
//! Order: settings and schema, memory, Kafka and a sample of its records, the store and its log, then what follows
//! from all of it. A problem is told and the check goes on as far as it makes sense. No group is joined, no offset
//! committed, no file and no directory made.
//! Neighbours: job and run's own parts before it; main prints the report.

mod advice;
pub mod project;
pub mod report;
mod sample;
mod show;
mod stand;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ledger::head::View;

use self::project::{Cause, Projection, Rules, TINY_FILE_BYTES, project};
use self::report::{Line, Report};
use self::sample::{Measured, measure};
use self::show::{counted, grouped, number};
use self::stand::Kafka;
use crate::budget::{BASE_BYTES, Budget, LimitSource};
use crate::chain;
use crate::clock::Clock;
use crate::exit::Exit;
use crate::identity::Identity;
use crate::job::Job;
use crate::kafka::records::Batch;
use crate::kafka::{self, KafkaError, Onlooker, SampleSize, TopicPartition, Watermarks};
use crate::run::{discover, memory_limit};
use crate::schema::METADATA_NAMES;
use crate::settings::units::{show_bytes, show_duration};
use crate::settings::{Faults, KafkaSettings, OnError, OutputSettings, Settings};

/// Records that a sample aims at, over all partitions.
const SAMPLE_RECORDS: u32 = 20_000;
const SAMPLE_BYTES_MAX: u64 = 32 << 20;
const SAMPLE_PARTITIONS_MAX: usize = 256;
/// A sample of fewer rows says little about sizes.
const SAMPLE_ROWS_MIN: u64 = 100;
/// Between two looks at the ends of partitions, where records do not say when they came.
const ENDS_WAIT: Duration = Duration::from_secs(5);

/// Looks at everything. The report holds all problems; the error is none of theirs.
pub async fn check(settings: Result<Settings, Faults>, clock: Arc<dyn Clock>) -> Report {
    let mut report = Report::default();
    let settings = match settings {
        Ok(settings) => settings,
        Err(faults) => {
            report.add(faulty("settings", &faults));
            return report;
        }
    };
    report.add(Line::ok("settings", summary(&settings)));
    let job = match Job::new(settings.clone()) {
        Ok(job) => {
            describe(&job, &mut report);
            Some(job)
        }
        Err(faults) => {
            report.add(faulty("schema", &faults));
            None
        }
    };
    let who = discover(clock.clone()).await;
    let budget = memory(&settings, &who, &mut report);

    let limits = kafka::Limits {
        prefetch_bytes: budget.map_or(8 << 20, |budget| budget.kafka_queue),
        record_bytes_max: settings.memory.record_bytes_max,
    };
    let records = budget.map_or(8 << 20, |budget| budget.records_in_flight / 2);
    let found = ask_kafka(&settings.kafka, limits, records.min(SAMPLE_BYTES_MAX), &mut report).await;
    if let Some(view) = store::look(&settings.output, &mut report).await {
        stands(&view, &who, &settings, found.as_ref(), &mut report);
    }
    let (Some(job), Some(found)) = (job, found) else {
        report.add(Line::skipped("sample", "nothing to measure without a schema and Kafka's records"));
        return report;
    };
    let Some(measured) = judge_sample(&job, &found, &mut report) else { return report };
    let Some(rate) = rate(&found, clock.as_ref()).await else {
        report
            .add(Line::skipped("files", "records do not say when they came, and Kafka did not answer again"));
        return report;
    };
    let rules = rules(&settings.output, budget);
    let projection = project(&measured.load(rate), &rules);
    expect(&projection, &measured, &rules, budget, &settings, &mut report);
    report.projection = Some(projection);
    report
}

fn faulty(step: &'static str, faults: &Faults) -> Line {
    let what = format!("{}:", counted(faults.0.len(), "fault"));
    Line::problem(step, Exit::Settings, what, "").with(faults.0.iter().map(ToString::to_string))
}

fn summary(settings: &Settings) -> String {
    format!(
        "pipeline `{}`: {} as group `{}` → {}",
        settings.name,
        settings.kafka.topics.join(", "),
        settings.kafka.group,
        settings.output.path
    )
}

fn describe(job: &Job, report: &mut Report) {
    let own = METADATA_NAMES.iter().filter(|name| job.decoders.output_schema().index_of(name).is_ok());
    let own: Vec<&str> = own.copied().collect();
    let what = format!("table `{}`: {}", job.table.name, counted(job.table.columns.len(), "column"));
    let mut details: Vec<String> = job.table.columns.iter().map(show::column).collect();
    if !own.is_empty() {
        details.push(format!("and our own: {}", own.join(", ")));
    }
    report.add(Line::ok("schema", what).with(details));
    let fields = &job.settings.output.partition_by;
    let what = match fields.is_empty() {
        true => "none: all files lie in data/".to_owned(),
        false => format!("data/{}/", show::directories(fields)),
    };
    report.add(Line::ok("partitions", what));
}

fn memory(settings: &Settings, who: &Identity, report: &mut Report) -> Option<Budget> {
    let (total, source) = memory_limit(settings.memory, who);
    let says = match source {
        LimitSource::Setting => "memory.limit",
        LimitSource::CgroupV2 | LimitSource::CgroupV1 => "the container's limit",
        LimitSource::TaskMetadata => "the ECS task's limit",
        LimitSource::Machine => "half of the machine's: nothing limits this process",
        LimitSource::Guess => "a guess: nothing tells",
    };
    match Budget::of(total, settings.memory.record_bytes_max) {
        Ok(budget) => {
            let what = format!(
                "{} ({says}): {} for open files, {} for records on their way, {} for Kafka's queue",
                show_bytes(total),
                show_bytes(budget.open_files),
                show_bytes(budget.records_in_flight),
                show_bytes(budget.kafka_queue)
            );
            report.add(Line::ok("memory", what));
            Some(budget)
        }
        Err(error) => {
            report.add(Line::problem("memory", Exit::Settings, format!("{error} ({says})"), ""));
            None
        }
    }
}

/// What Kafka told, with a sample of its records.
struct Found {
    onlooker: Onlooker,
    kafka: Kafka,
    batches: Vec<Batch>,
}

fn refused(step: &'static str, error: &KafkaError) -> Line {
    Line::problem(step, error.into(), chain(error).to_string(), advice::kafka(error))
}

async fn ask_kafka(
    settings: &KafkaSettings,
    limits: kafka::Limits,
    bytes_max: u64,
    report: &mut Report,
) -> Option<Found> {
    let mut settings = settings.clone();
    // A missing topic is told, and the others are looked at without it.
    let (onlooker, topics) = loop {
        if settings.topics.is_empty() {
            return None;
        }
        let asked = match Onlooker::start(&settings, limits) {
            Ok(onlooker) => onlooker.topics().await.map(|topics| (onlooker, topics)),
            Err(error) => Err(error),
        };
        match asked {
            Ok(found) => break found,
            Err(error) => {
                report.add(refused("kafka", &error));
                let KafkaError::NoSuchTopic { topic } = error else { return None };
                let before = settings.topics.len();
                settings.topics.retain(|one| *one != topic);
                if settings.topics.len() == before {
                    return None;
                }
            }
        }
    };
    let partitions = topics.iter().map(|topic| topic.partitions.len()).sum::<usize>();
    let described = topics
        .iter()
        .map(|topic| format!("{}: {}", topic.name, counted(topic.partitions.len(), "partition")));
    report.add(Line::ok("kafka", format!("reached at {}", settings.bootstrap)).with(described));
    let read = partitions.clamp(1, SAMPLE_PARTITIONS_MAX) as u32;
    let size = SampleSize {
        records_per_partition: (SAMPLE_RECORDS / read).max(50),
        partitions_max: SAMPLE_PARTITIONS_MAX,
        bytes_max,
    };
    match onlooker.sample(size).await {
        Ok(sample) => {
            let kafka = Kafka { topics: sample.topics, watermarks: sample.watermarks };
            Some(Found { onlooker, kafka, batches: sample.batches })
        }
        Err(error) => {
            report.add(refused("sample", &error));
            None
        }
    }
}

fn stands(view: &View, who: &Identity, settings: &Settings, found: Option<&Found>, report: &mut Report) {
    for line in stand::of_log(view, &who.writer) {
        report.add(line);
    }
    let Some(found) = found else { return };
    let (start, on_data_loss) = (settings.kafka.start, settings.kafka.on_data_loss);
    for line in stand::of_positions(view, &found.kafka, start, on_data_loss) {
        report.add(line);
    }
}

/// Measures the sample and says what stands out. `None`: there is nothing to project.
fn judge_sample(job: &Job, found: &Found, report: &mut Report) -> Option<Measured> {
    let measured = match measure(job, &found.batches, job.settings.output.age_max) {
        Ok(measured) => measured,
        Err(error) => {
            report.add(Line::problem("sample", Exit::Bug, chain(&error).to_string(), "this is a bug"));
            return None;
        }
    };
    if measured.records() == 0 {
        let what = "the topics hold no records to read yet: sizes and rates are not known";
        report.add(Line::skipped("sample", what));
        return None;
    }
    let per_record = measured.bytes as f64 / measured.records() as f64;
    let mut what = format!(
        "{} records of {}: {} rows, {} filtered (tombstones), {} dead letters",
        grouped(measured.records()),
        show_bytes(measured.bytes),
        grouped(measured.written),
        grouped(measured.filtered),
        grouped(measured.dead_lettered)
    );
    if measured.written > 0 {
        what.push_str(&format!(
            "\n{} bytes a record come in, {} go out",
            number(per_record),
            number(measured.row_bytes)
        ));
        if measured.row_bytes > 0.0 {
            what.push_str(&format!(" ({} : 1)", number(per_record / measured.row_bytes)));
        }
        what.push_str(&format!(
            "; {} in all, {} a flush",
            counted(measured.directories.len(), "directory").replace("directorys", "directories"),
            number(measured.directories_per_flush)
        ));
    }
    report.add(
        Line::ok("sample", what).with(measured.directories.iter().take(3).map(|path| format!("data/{path}"))),
    );
    if measured.dead_lettered > 0 {
        report.add(dead_letters(&measured, job.settings.records.on_error));
    }
    if measured.written < SAMPLE_ROWS_MIN {
        let what = format!("only {} rows: the figures below are rough", grouped(measured.written));
        report.add(Line::warning("sample", what, "check again when more records have come"));
    }
    Some(measured)
}

fn dead_letters(measured: &Measured, on_error: OnError) -> Line {
    let share = measured.dead_letter_share();
    let what = format!(
        "{} of {} records ({}%) do not fit the schema",
        grouped(measured.dead_lettered),
        grouped(measured.records()),
        number(share * 100.0)
    );
    let reasons = measured.reasons.iter().map(|reason| {
        format!("{} × {} (the first: {})", grouped(reason.count), reason.error, reason.example)
    });
    let line = match on_error {
        OnError::Fail => Line::problem(
            "records",
            Exit::DataRefused,
            what,
            "correct schema.sql, or set records.on_error = \"dead-letter\": as it is, the first of them stops the run",
        ),
        // More than half: it is the schema that is wrong, not the records.
        OnError::DeadLetter if share > 0.5 => Line::problem(
            "records",
            Exit::DataRefused,
            what,
            "correct schema.sql: most records would become dead letters",
        ),
        OnError::DeadLetter => Line::warning(
            "records",
            what,
            "they would become dead letters; correct schema.sql if they should be rows",
        ),
    };
    line.with(reasons)
}

/// Records a second: from the sample's timestamps, else from how the partitions' ends move.
async fn rate(found: &Found, clock: &dyn Clock) -> Option<f64> {
    if let Some(rate) = sample::rate(&found.kafka.watermarks, &found.batches, clock.utc_ms()) {
        return Some(rate);
    }
    let first = ends(found).await?;
    let from = clock.moment();
    tokio::time::sleep(ENDS_WAIT).await;
    let second = ends(found).await?;
    let seconds = clock.moment().since(from).as_secs_f64();
    let moved: i64 = second.iter().map(|(partition, end)| end - first.get(partition).unwrap_or(end)).sum();
    Some(moved.max(0) as f64 / seconds.max(f64::EPSILON))
}

async fn ends(found: &Found) -> Option<BTreeMap<TopicPartition, i64>> {
    let mut ends = BTreeMap::new();
    for partition in found.kafka.watermarks.keys() {
        match found.onlooker.watermarks(partition).await {
            Ok(Watermarks { last_stable, .. }) => ends.insert(partition.clone(), last_stable),
            Err(error) => {
                tracing::warn!(%partition, error = %chain(&error), "ends not asked for again");
                return None;
            }
        };
    }
    Some(ends)
}

fn rules(output: &OutputSettings, budget: Option<Budget>) -> Rules {
    Rules {
        file_bytes_max: output.file_bytes_max,
        row_group_bytes: output.row_group_bytes,
        age_max: output.age_max,
        idle_max: output.idle_max,
        // Without a budget the run does not start; what files would hold is still worth knowing.
        memory_bytes_max: budget.map_or(u64::MAX, |budget| budget.open_files),
    }
}

fn expect(
    projection: &Projection,
    measured: &Measured,
    rules: &Rules,
    budget: Option<Budget>,
    settings: &Settings,
    report: &mut Report,
) {
    let cause = match projection.cause {
        None => {
            report.add(Line::ok("files", "none: nothing comes"));
            return requests(projection, settings, report);
        }
        Some(Cause::Size) => {
            format!("when a file reaches {} (file_bytes_max)", show_bytes(rules.file_bytes_max))
        }
        Some(Cause::Memory) => format!("when memory is full ({})", show_bytes(rules.memory_bytes_max)),
        Some(Cause::Age) => format!("every {} (age_max)", show_duration(rules.age_max)),
        Some(Cause::Idle) => format!("after {} of silence (idle_max)", show_duration(rules.idle_max)),
    };
    let what = format!(
        "{} an hour, of {} on average: {} records a second; flushed {cause}, {} an hour; {} a day",
        number(projection.files_per_hour),
        show_bytes(projection.file_bytes as u64),
        number(projection.records_per_second),
        number(projection.flushes_per_hour),
        show_bytes(projection.bytes_per_day as u64)
    );
    let is_tiny = projection.file_bytes < TINY_FILE_BYTES && measured.written > 0;
    report.add(if is_tiny {
        Line::warning("files", what, larger(projection, rules))
    } else {
        Line::ok("files", what)
    });
    if let Some(budget) = budget {
        report.add(fits(projection, &budget));
    }
    requests(projection, settings, report);
}

/// Which setting makes the files larger.
fn larger(projection: &Projection, rules: &Rules) -> String {
    let mut advice: Vec<&str> = Vec::new();
    if projection.directories_per_flush > 2.0 {
        advice.push("use fewer directories in output.partition_by (without the hour, or by fewer columns)");
    }
    match projection.cause {
        Some(Cause::Age) if rules.age_max < Duration::from_secs(30 * 60) => {
            advice.push("raise output.age_max, up to 30m");
        }
        Some(Cause::Idle) => advice.push("raise output.idle_max and output.age_max, up to 30m"),
        Some(Cause::Memory) => advice.push("give the container more memory"),
        Some(Cause::Size) if projection.directories_per_flush <= 2.0 => {
            advice.push("raise output.file_bytes_max")
        }
        Some(Cause::Age | Cause::Size) | None => {}
    }
    if advice.is_empty() {
        advice.push("the topic is slow: compact its files later, or live with it");
    }
    format!("small files are slow to read: {}", advice.join("; or "))
}

fn fits(projection: &Projection, budget: &Budget) -> Line {
    // As the budget has it: resident memory is up to 1.8 times what Arrow and Parquet count.
    let open_files = projection.open_files_bytes * 1.8;
    let needed = BASE_BYTES + budget.kafka_queue + budget.records_in_flight + open_files as u64;
    let what = format!(
        "about {} of {} when open files are fullest (they hold {} of {})",
        show_bytes(needed),
        show_bytes(budget.total),
        show_bytes(projection.open_files_bytes as u64),
        show_bytes(budget.open_files)
    );
    if projection.cause == Some(Cause::Memory) {
        let advice = "memory decides when to flush: give the container more, or use fewer directories";
        return Line::warning("memory", what, advice);
    }
    Line::ok("memory", what)
}

fn requests(projection: &Projection, settings: &Settings, report: &mut Report) {
    let requests = projection.requests_per_day;
    let mut what = format!(
        "{} PUT, POST and LIST and {} GET and HEAD a day, for each worker",
        number(requests.puts),
        number(requests.gets)
    );
    what.push_str(&match settings.output.path.starts_with("s3:") {
        true => format!(": ${:.2} at S3 Standard's price in us-east-1", requests.dollars()),
        false => " (as many calls of the file system; nothing to pay)".to_owned(),
    });
    report.add(Line::ok("requests", what));
}
