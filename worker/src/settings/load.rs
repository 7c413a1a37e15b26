//! Load: pipeline.toml into [`Settings`], or everything that is wrong with it.
//!
//! Order: read, parse, fill in variables, read each section, hold the limits against each other.
//! Neighbours: reader below it; names, partition and limits judge single values.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use toml::de::DeTable;

use super::fault::{Fault, Faults, Source};
use super::reader::{Found, Reader, Section, shown};
use super::*;

/// The file that a pipeline's directory must hold.
pub const FILE: &str = "pipeline.toml";
/// Where `/health` and `/metrics` listen unless the settings say otherwise: reachable from inside only.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:9464";
/// Settings are read whole; nobody writes this much by hand.
const FILE_BYTES_MAX: u64 = 1 << 20;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Reads `<dir>/pipeline.toml`.
///
/// `env` looks an environment variable up. `owned` are librdkafka's options that Landfall sets itself, each with the
/// reason (`kafka::OWNED_OPTIONS`).
pub fn load(
    dir: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    owned: &[(&str, &str)],
) -> Result<Settings, Faults> {
    let source = read(&dir.join(FILE)).map_err(|fault| Faults(vec![fault]))?;
    parse(source, dir, env, owned)
}

/// [`load`] without reading the file.
pub fn parse(
    source: Source,
    dir: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    owned: &[(&str, &str)],
) -> Result<Settings, Faults> {
    let (document, syntax) = DeTable::parse_recoverable(&source.text);
    let mut reader = Reader::new(&source, env, syntax);
    let mut root = Section::root(document.get_ref());

    let name = match reader.text(&mut root, "name") {
        Found::Is(name, span) => judged(&mut reader, span, name, names::pipeline),
        Found::Absent => {
            reader.missing(&root, "name", "give the pipeline a name at the top: name = \"shop-events\"");
            String::new()
        }
        Found::Faulty => String::new(),
    };
    let kafka = kafka(&mut reader, &mut root, &name, dir, owned);
    let records = records(&mut reader, &mut root, dir);
    let output = output(&mut reader, &mut root);
    let memory = memory(&mut reader, &mut root);
    let health = health(&mut reader, &mut root, output.age_max);
    let metrics = metrics(&mut reader, &mut root, env);
    reader.close(root);

    let (mut faults, places) = (reader.faults, reader.places);
    let origin = Origin { source: source.clone(), places };
    let settings = Settings { name, kafka, records, output, memory, health, metrics, origin };
    faults.extend(limits::contradictions(&settings));
    if faults.is_empty() { Ok(settings) } else { Err(Faults::in_order(faults)) }
}

fn read(file: &Path) -> Result<Source, Fault> {
    let fault = |place, wrong: String, right: &str| Fault {
        file: file.to_owned(),
        place,
        wrong,
        right: right.to_owned(),
    };
    let whole = |wrong: String, right: &str| fault(None, wrong, right);
    let elsewhere = "name the directory that holds it: `--pipeline DIR` or LANDFALL_PIPELINE";
    let meta = match std::fs::metadata(file) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(whole("there is no such file".to_owned(), elsewhere));
        }
        Err(error) => return Err(whole(format!("read the file: {error}"), elsewhere)),
    };
    if !meta.is_file() {
        return Err(whole("this is no file".to_owned(), elsewhere));
    }
    if meta.len() > FILE_BYTES_MAX {
        return Err(whole(
            format!(
                "the file has {}, more than {}",
                units::show_bytes(meta.len()),
                units::show_bytes(FILE_BYTES_MAX)
            ),
            elsewhere,
        ));
    }
    let bytes = std::fs::read(file)
        .map_err(|error| whole(format!("read the file: {error}"), "let this user read it"))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
        let place = Source { file: file.to_owned(), text }.place(valid..valid);
        fault(Some(place), "the file is not UTF-8 from here on".to_owned(), "save it as UTF-8")
    })?;
    if text.trim().is_empty() {
        return Err(whole(
            "the file is empty".to_owned(),
            "it needs at least `name`, `[kafka]` with `bootstrap` and `topics`, and `[output]` with `path`",
        ));
    }
    Ok(Source { file: file.to_owned(), text })
}

/// The value, after a judge had a look at it.
fn judged(
    reader: &mut Reader<'_>,
    span: Range<usize>,
    value: String,
    judge: impl Fn(&str) -> Result<(), (String, String)>,
) -> String {
    if let Err((wrong, right)) = judge(&value) {
        reader.wrong(span, wrong, right);
    }
    value
}

fn kafka(
    reader: &mut Reader<'_>,
    root: &mut Section<'_>,
    name: &str,
    dir: &Path,
    owned: &[(&str, &str)],
) -> KafkaSettings {
    let mut section = reader.section(root, "kafka");
    let auth = auth::read(reader, &mut section, dir);
    let bootstrap = match reader.text(&mut section, "bootstrap") {
        Found::Is(servers, span) => {
            let servers = judged(reader, span.clone(), servers, names::bootstrap);
            match &auth {
                Some(auth) => judged(reader, span, servers, |servers| names::msk_port(servers, auth)),
                None => servers,
            }
        }
        Found::Absent => {
            reader.missing(&section, "bootstrap", "under [kafka]: bootstrap = \"${KAFKA_BOOTSTRAP}\"");
            String::new()
        }
        Found::Faulty => String::new(),
    };
    let topics = topics(reader, &mut section);
    let group = match reader.text(&mut section, "group") {
        Found::Is(group, span) => judged(reader, span, group, names::group),
        Found::Absent | Found::Faulty => name.to_owned(),
    };
    let start = reader
        .choice(&mut section, "start", &[("earliest", Start::Earliest), ("latest", Start::Latest)])
        .or(Start::Earliest);
    let on_data_loss = reader
        .choice(
            &mut section,
            "on_data_loss",
            &[("fail", OnDataLoss::Fail), ("continue", OnDataLoss::Continue)],
        )
        .or(OnDataLoss::Fail);
    let session_timeout = bounded(reader, &mut section, "session_timeout", 30 * SECOND, SECOND..=30 * MINUTE);
    let revoke_timeout = bounded(reader, &mut section, "revoke_timeout", 30 * SECOND, SECOND..=4 * MINUTE);
    let options = options(reader, &mut section, owned);
    reader.close(section);
    KafkaSettings {
        bootstrap,
        topics,
        group,
        auth: auth.unwrap_or(Auth::None),
        start,
        on_data_loss,
        session_timeout,
        revoke_timeout,
        options,
    }
}

fn topics(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Vec<String> {
    let right = "under [kafka]: topics = [\"shop-events\"]";
    match reader.texts(section, "topics") {
        Found::Is(items, span) => {
            if items.is_empty() {
                reader.wrong(span, "`kafka.topics` is empty", "name at least one topic");
            }
            let mut seen = BTreeSet::new();
            for (topic, span) in &items {
                judged(reader, span.clone(), topic.clone(), names::topic);
                if !seen.insert(topic.clone()) {
                    reader.wrong(
                        span.clone(),
                        format!("{} stands there twice", shown(topic)),
                        "leave one out",
                    );
                }
            }
            items.into_iter().map(|(topic, _)| topic).collect()
        }
        Found::Absent => {
            reader.missing(section, "topics", right);
            Vec::new()
        }
        Found::Faulty => Vec::new(),
    }
}

fn options(
    reader: &mut Reader<'_>,
    section: &mut Section<'_>,
    owned: &[(&str, &str)],
) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    for (name, value, span) in reader.options(section, "options") {
        if let Some((_, why)) = owned.iter().find(|(owned, _)| *owned == name) {
            reader.wrong(span, format!("option `{name}` is not yours to set: {why}"), "leave it out");
        } else if options.insert(name.clone(), value).is_some() {
            reader.wrong(span, format!("`{name}` stands there twice"), "leave one out");
        }
    }
    options
}

fn records(reader: &mut Reader<'_>, root: &mut Section<'_>, dir: &Path) -> RecordSettings {
    let mut section = reader.section(root, "records");
    let schema_file = match reader.text(&mut section, "schema") {
        Found::Is(text, span) => {
            let path = dir.join(&text);
            if text.is_empty() || !path.is_file() {
                reader.wrong(
                    span,
                    format!("there is no file {}", path.display()),
                    "name the file with the CREATE TABLE statement; a relative path starts at the pipeline's directory",
                );
            }
            path
        }
        Found::Absent | Found::Faulty => {
            let path = dir.join("schema.sql");
            if !path.is_file() {
                reader.missing(
                    &section,
                    "schema",
                    format!("and {} does not exist: write one", path.display()),
                );
            }
            path
        }
    };
    let on_error = reader
        .choice(&mut section, "on_error", &[("dead-letter", OnError::DeadLetter), ("fail", OnError::Fail)])
        .or(OnError::DeadLetter);
    let tombstones = reader
        .choice(
            &mut section,
            "tombstones",
            &[("skip", Tombstones::Skip), ("dead-letter", Tombstones::DeadLetter)],
        )
        .or(Tombstones::Skip);
    let metadata = metadata(reader, &mut section);
    reader.close(section);
    RecordSettings { schema_file, on_error, tombstones, metadata }
}

fn metadata(reader: &mut Reader<'_>, section: &mut Section<'_>) -> MetadataColumns {
    let Found::Is(items, _) = reader.texts(section, "metadata") else { return MetadataColumns::default() };
    let mut columns = MetadataColumns {
        topic: false,
        partition: false,
        offset: false,
        timestamp: false,
        key: false,
        headers: false,
    };
    for (item, span) in items {
        let column = match item.strip_prefix('_').unwrap_or(&item) {
            "topic" => &mut columns.topic,
            "partition" => &mut columns.partition,
            "offset" => &mut columns.offset,
            "timestamp" => &mut columns.timestamp,
            "key" => &mut columns.key,
            "headers" => &mut columns.headers,
            _ => {
                let known = ["topic", "partition", "offset", "timestamp", "key", "headers"];
                let right = match reader::nearest(&item, known.into_iter()) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => format!("take from \"{}\"", known.join("\", \"")),
                };
                reader.wrong(span, format!("{} is no metadata column", shown(&item)), right);
                continue;
            }
        };
        if std::mem::replace(column, true) {
            reader.wrong(span, format!("{} stands there twice", shown(&item)), "leave one out");
        }
    }
    columns
}

fn output(reader: &mut Reader<'_>, root: &mut Section<'_>) -> OutputSettings {
    let mut section = reader.section(root, "output");
    let path = match reader.text(&mut section, "path") {
        Found::Is(path, span) => judged(reader, span, path, names::output_path),
        Found::Absent => {
            reader.missing(&section, "path", "under [output]: path = \"${S3_OUTPUT_PATH}\"");
            String::new()
        }
        Found::Faulty => String::new(),
    };
    let endpoint = match reader.text(&mut section, "endpoint") {
        Found::Is(url, span) if !url.is_empty() => Some(judged(reader, span, url, names::endpoint)),
        Found::Is(..) | Found::Absent | Found::Faulty => None,
    };
    let partition_by = partition_by(reader, &mut section);
    let path_style = reader.flag(&mut section, "path_style").or(false);
    let region = reader.text(&mut section, "region").filled();
    let file_bytes_max = sized(reader, &mut section, "file_bytes_max", 128 << 20, 64 << 10..=5 << 30);
    let row_group_bytes =
        sized(reader, &mut section, "row_group_bytes", (32 << 20).min(file_bytes_max), 16 << 10..=1 << 30);
    let age_max = bounded(reader, &mut section, "age_max", 5 * MINUTE, SECOND / 10..=limits::AGE_MAX);
    let idle_max =
        bounded(reader, &mut section, "idle_max", MINUTE.min(age_max), SECOND / 10..=limits::AGE_MAX);
    let zstd_level = match reader.integer(&mut section, "zstd_level", "write a number from 1 to 22") {
        Found::Is(level, span) => {
            if !(1..=22).contains(&level) {
                reader.wrong(
                    span,
                    format!("zstd has no level {level}"),
                    "write a number from 1 (fast) to 22 (small)",
                );
            }
            level.clamp(1, 22) as i32
        }
        Found::Absent | Found::Faulty => 1,
    };
    reader.close(section);
    OutputSettings {
        path: path.trim_end_matches('/').to_owned(),
        endpoint,
        path_style,
        region,
        partition_by,
        file_bytes_max,
        row_group_bytes,
        age_max,
        idle_max,
        zstd_level,
    }
}

fn partition_by(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Vec<PartitionField> {
    let items = match reader.texts(section, "partition_by") {
        Found::Is(items, _) => items,
        Found::Faulty => return Vec::new(),
        Found::Absent => {
            let of_timestamp = |name: &str, transform| PartitionField {
                name: name.to_owned(),
                column: vec!["_timestamp".to_owned()],
                transform,
            };
            return vec![
                of_timestamp("dt", PartitionTransform::Date),
                of_timestamp("hour", PartitionTransform::Hour),
            ];
        }
    };
    let mut fields: Vec<PartitionField> = Vec::new();
    for (item, span) in items {
        match partition::parse(&item) {
            Err(right) => reader.wrong(span, format!("{} is no partition", shown(&item)), right),
            Ok(field) => {
                // Athena's and DuckDB's column names do not tell case apart.
                if fields.iter().any(|other| other.name.eq_ignore_ascii_case(&field.name)) {
                    let wrong = format!("two partitions are named `{}`", field.name);
                    reader.wrong(span, wrong, "give each its own name");
                }
                fields.push(field);
            }
        }
    }
    fields
}

fn memory(reader: &mut Reader<'_>, root: &mut Section<'_>) -> MemorySettings {
    let mut section = reader.section(root, "memory");
    let limit = reader.bytes(&mut section, "limit").ok();
    // The most that MSK lets a topic's max.message.bytes be without asking for more: eight times Kafka's default.
    let record_bytes_max = sized(reader, &mut section, "record_bytes_max", 8 << 20, 1 << 10..=1_000_000_000);
    reader.close(section);
    MemorySettings { limit, record_bytes_max }
}

fn health(reader: &mut Reader<'_>, root: &mut Section<'_>, age_max: Duration) -> HealthSettings {
    let mut section = reader.section(root, "health");
    let default = LISTEN_DEFAULT.parse().ok();
    let listen = match reader.text(&mut section, "listen") {
        Found::Is(text, _) if text == "none" => None,
        Found::Is(text, span) => match text.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                reader.wrong(
                    span,
                    format!("{} is no address to listen on", shown(&text)),
                    "write \"127.0.0.1:9464\", \"0.0.0.0:9464\" for Prometheus on other hosts, or \"none\"",
                );
                None
            }
        },
        Found::Absent | Found::Faulty => default,
    };
    let no_progress_default = (10 * MINUTE).max(2 * age_max);
    let no_progress_max =
        bounded(reader, &mut section, "no_progress_max", no_progress_default, SECOND..=24 * 60 * MINUTE);
    reader.close(section);
    HealthSettings { listen, no_progress_max }
}

fn metrics(
    reader: &mut Reader<'_>,
    root: &mut Section<'_>,
    env: &dyn Fn(&str) -> Option<String>,
) -> MetricsSettings {
    let mut section = reader.section(root, "metrics");
    // ECS gives every task this variable; elsewhere there may be no CloudWatch to speak to, nor the wish to pay.
    let in_ecs = env(crate::identity::METADATA_VARIABLE).is_some_and(|url| !url.is_empty());
    let cloudwatch = reader.flag(&mut section, "cloudwatch").or(in_ecs);
    let namespace = match reader.text(&mut section, "namespace") {
        Found::Is(namespace, span) => {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '#' | ' ');
            let refused = namespace.trim().is_empty()
                || namespace.len() > 255
                || namespace.starts_with("AWS/")
                || namespace.starts_with(':')
                || !namespace.chars().all(fits);
            if refused {
                reader.wrong(
                    span,
                    format!("{} is no namespace", shown(&namespace)),
                    "use 1 to 255 of ASCII letters, digits, `.-_/#`, not starting with \"AWS/\"",
                );
            }
            namespace
        }
        Found::Absent | Found::Faulty => "Landfall".to_owned(),
    };
    let interval = bounded(reader, &mut section, "interval", MINUTE, SECOND..=10 * MINUTE);
    reader.close(section);
    MetricsSettings { cloudwatch, namespace, interval }
}

fn bounded(
    reader: &mut Reader<'_>,
    section: &mut Section<'_>,
    key: &'static str,
    default: Duration,
    range: std::ops::RangeInclusive<Duration>,
) -> Duration {
    match reader.duration(section, key) {
        Found::Is(value, span) => {
            if !range.contains(&value) {
                let why = if *range.end() == limits::AGE_MAX { limits::AGE_WHY } else { "" };
                reader.wrong(
                    span,
                    format!("`{}` is {}", section.full(key), units::show_duration(value)),
                    format!(
                        "take {} to {}{why}",
                        units::show_duration(*range.start()),
                        units::show_duration(*range.end())
                    ),
                );
            }
            value
        }
        Found::Absent | Found::Faulty => default,
    }
}

fn sized(
    reader: &mut Reader<'_>,
    section: &mut Section<'_>,
    key: &'static str,
    default: u64,
    range: std::ops::RangeInclusive<u64>,
) -> u64 {
    match reader.bytes(section, key) {
        Found::Is(value, span) => {
            if !range.contains(&value) {
                reader.wrong(
                    span,
                    format!("`{}` is {}", section.full(key), units::show_bytes(value)),
                    format!(
                        "take {} to {}",
                        units::show_bytes(*range.start()),
                        units::show_bytes(*range.end())
                    ),
                );
            }
            value
        }
        Found::Absent | Found::Faulty => default,
    }
}
