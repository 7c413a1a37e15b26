//! The client's settings: ours, the user's, and those that are refused because a promise rests on them.
//!
//! Pure: no client is started here. librdkafka checks names and values, so that a misspelt option is found at
//! start and not ignored.
//! Neighbours: settings before it, source after it.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::KafkaError;
use crate::settings::{Auth, KafkaSettings, ScramMechanism};

/// Options of `[kafka.options]` that are refused, each with the reason that the user is shown.
pub const OWNED_OPTIONS: &[(&str, &str)] = &[
    ("allow.auto.create.topics", "a misspelt topic must be an error, not a new topic"),
    ("auto.commit.enable", "the ledger holds the offsets"),
    ("auto.commit.interval.ms", "the ledger holds the offsets"),
    (
        "auto.offset.reset",
        "offsets come from the ledger; see `on_data_loss` for those that Kafka has no more",
    ),
    ("bootstrap.servers", "set `bootstrap`"),
    ("enable.auto.commit", "the ledger holds the offsets"),
    ("enable.auto.offset.store", "the ledger holds the offsets"),
    ("enable.partition.eof", "the end of a partition is how markers behind its last record are passed"),
    ("enabled_events", "the worker's events are its own"),
    ("fetch.max.bytes", "it follows from `[memory]`"),
    ("fetch.message.max.bytes", "it follows from `[memory]`"),
    ("group.id", "set `group`"),
    (
        "group.instance.id",
        "all tasks of a release share these settings, and an instance id may join only once",
    ),
    ("isolation.level", "aborted records must not be written"),
    ("max.partition.fetch.bytes", "it follows from `[memory]`"),
    ("metadata.broker.list", "set `bootstrap`"),
    ("offset.store.method", "the ledger holds the offsets"),
    ("plugin.library.paths", "no foreign code is loaded into the worker"),
    ("queued.max.messages.kbytes", "it follows from `[memory]`"),
    ("receive.message.max.bytes", "it follows from `[memory]`"),
    ("sasl.jaas.config", "set `[kafka.auth]`"),
    ("sasl.mechanism", "set `[kafka.auth]`"),
    ("sasl.mechanisms", "set `[kafka.auth]`"),
    ("sasl.oauthbearer.config", "set `[kafka.auth]`"),
    ("sasl.oauthbearer.method", "set `[kafka.auth]`"),
    ("sasl.password", "set `[kafka.auth]`"),
    ("sasl.username", "set `[kafka.auth]`"),
    ("security.protocol", "set `[kafka.auth]`"),
    ("session.timeout.ms", "set `session_timeout`"),
    ("ssl.ca.location", "set `ca` in `[kafka.auth]`"),
    ("test.mock.num.brokers", "the worker reads real brokers"),
];

/// What the memory budget leaves for Kafka.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Bytes that may wait between the sockets and the decoder: a quarter in librdkafka's queue, a quarter handed
    /// over and not yet taken, and half for the answers to fetches, which are bounded compressed and opened at once.
    /// That half holds while brokers that answer at the same time × compression ratio is at most 8.
    pub prefetch_bytes: u64,
    /// The largest record that Kafka may hand over, bytes.
    pub record_bytes_max: u64,
}

impl Limits {
    /// Bytes that librdkafka keeps ready.
    fn queue_bytes(self) -> u64 {
        self.prefetch_bytes / 4
    }

    /// Bytes that one answer to a fetch may have; librdkafka wants at least 1,000,000.
    fn fetch_bytes(self) -> u64 {
        (self.prefetch_bytes / 16).clamp(1_000_000, 50 * 1024 * 1024)
    }

    /// Bytes that wait to be taken by [`super::Source::next`].
    pub(super) fn handed_over_bytes(self) -> u64 {
        (self.prefetch_bytes / 4).max(1)
    }
}

/// Everything that librdkafka is told, or what is wrong with it.
pub fn client_config(settings: &KafkaSettings, limits: Limits) -> Result<ClientConfig, KafkaError> {
    let mut config = reader_config(settings, limits)?;
    config.set("group.id", &settings.group);
    let session_ms = settings.session_timeout.as_millis();
    if classic(settings)? {
        config
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", session_ms.to_string())
            .set("heartbeat.interval.ms", (session_ms / 5).clamp(100, 3000).to_string());
    }
    // The polling thread never blocks, so this only has to be no smaller than the session and the flush before a
    // revocation is answered.
    let poll_ms = (settings.revoke_timeout.as_millis() * 2).max(session_ms).max(300_000);
    config.set("max.poll.interval.ms", poll_ms.min(86_400_000).to_string());
    finish(config, settings)
}

/// The same without a group: for samples and proofs, which read beside the group and never join it.
pub fn groupless_config(settings: &KafkaSettings, limits: Limits) -> Result<ClientConfig, KafkaError> {
    let mut config = reader_config(settings, limits)?;
    classic(settings)?;
    config.set("enable.partition.eof", "true");
    let mut settings = settings.clone();
    settings.options.retain(|name, _| !name.starts_with("group.") && name != "partition.assignment.strategy");
    finish(config, &settings)
}

/// What every reader has.
fn reader_config(settings: &KafkaSettings, limits: Limits) -> Result<ClientConfig, KafkaError> {
    check_topics(&settings.topics)?;
    check_group(&settings.group)?;
    let fetch = limits.fetch_bytes();
    // An answer holds at least one record batch, however large; the rest is framing.
    let receive = (fetch + limits.record_bytes_max + 1024 * 1024).min(i32::MAX as u64);
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Info);
    config
        .set("bootstrap.servers", &settings.bootstrap)
        .set("client.id", "landfall")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("allow.auto.create.topics", "false")
        .set("socket.keepalive.enable", "true")
        // Its default of one second is how long a partition would rest each time the small queue is full.
        .set("fetch.queue.backoff.ms", "20")
        .set("queued.max.messages.kbytes", (limits.queue_bytes() / 1024).clamp(1, 2_097_151).to_string())
        .set("fetch.max.bytes", fetch.to_string())
        .set("fetch.message.max.bytes", fetch.min(1024 * 1024).to_string())
        .set("receive.message.max.bytes", receive.to_string());
    set_auth(&mut config, &settings.auth)?;
    Ok(config)
}

/// True = the classic group protocol; false = `group.protocol=consumer` (KIP-848).
fn classic(settings: &KafkaSettings) -> Result<bool, KafkaError> {
    let protocol = settings.options.get("group.protocol").map_or("classic", String::as_str);
    let strategy = settings.options.get("partition.assignment.strategy").map(String::as_str);
    match (protocol, strategy) {
        ("classic", None | Some("cooperative-sticky")) => Ok(true),
        ("classic", Some(other)) => Err(setting(format!(
            "`partition.assignment.strategy = \"{other}\"`: only cooperative-sticky keeps the other partitions \
             running while one moves"
        ))),
        ("consumer", None) => Ok(false),
        ("consumer", Some(_)) => Err(setting(
            "`partition.assignment.strategy` has no meaning with `group.protocol = \"consumer\"`: the broker assigns"
                .to_owned(),
        )),
        (other, _) => Err(setting(format!("`group.protocol = \"{other}\"`: it is `classic` or `consumer`"))),
    }
}

fn set_auth(config: &mut ClientConfig, auth: &Auth) -> Result<(), KafkaError> {
    let ca = |config: &mut ClientConfig, file: Option<&std::path::Path>| {
        // `probe` looks where the systems keep their certificates; the vendored OpenSSL has no place of its own.
        let location = match file {
            Some(file) => file
                .to_str()
                .ok_or_else(|| setting(format!("`ca`: the path {} is not UTF-8", file.display())))?,
            None => "probe",
        };
        config.set("ssl.ca.location", location);
        Ok::<(), KafkaError>(())
    };
    match auth {
        Auth::None => {
            config.set("security.protocol", "plaintext");
        }
        Auth::Tls { ca: file } => {
            config.set("security.protocol", "ssl");
            ca(config, file.as_deref())?;
        }
        Auth::Scram { mechanism, username, password, tls, ca: file } => {
            let mechanism = match mechanism {
                ScramMechanism::Sha256 => "SCRAM-SHA-256",
                ScramMechanism::Sha512 => "SCRAM-SHA-512",
            };
            config
                .set("security.protocol", if *tls { "sasl_ssl" } else { "sasl_plaintext" })
                .set("sasl.mechanism", mechanism)
                .set("sasl.username", username)
                .set("sasl.password", &password.0);
            if *tls {
                ca(config, file.as_deref())?;
            }
        }
        Auth::MskIam { .. } => {
            config.set("security.protocol", "sasl_ssl").set("sasl.mechanism", "OAUTHBEARER");
            ca(config, None)?;
        }
    }
    Ok(())
}

/// Adds the user's options and lets librdkafka check the whole.
fn finish(mut config: ClientConfig, settings: &KafkaSettings) -> Result<ClientConfig, KafkaError> {
    for (name, value) in &settings.options {
        if let Some((_, reason)) = OWNED_OPTIONS.iter().find(|(owned, _)| owned == name) {
            return Err(setting(format!("option `{name}` is not yours to set: {reason}")));
        }
        if name == "debug" {
            config.set_log_level(RDKafkaLogLevel::Debug);
        }
        config.set(name, value);
    }
    match config.create_native_config() {
        Ok(_) => Ok(config),
        // The value is left out: it may be a secret.
        Err(rdkafka::error::KafkaError::ClientConfig(_, description, name, _)) => {
            let hidden = name.contains("password") || name.contains("secret") || name.contains("pem");
            let description = if hidden { "the value is refused".to_owned() } else { description };
            Err(setting(format!("option `{name}`: {description}")))
        }
        Err(error) => Err(setting(error.to_string())),
    }
}

/// Kafka's own rule for a topic's name; it also keeps librdkafka's `^pattern` out.
fn check_topics(topics: &[String]) -> Result<(), KafkaError> {
    if topics.is_empty() {
        return Err(setting("no topic is named".to_owned()));
    }
    for topic in topics {
        let legal = topic.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if !legal || topic.is_empty() || topic.len() > 249 || topic == "." || topic == ".." {
            return Err(setting(format!(
                "`{topic}` is no topic's name: 1 to 249 of the letters a-z, A-Z, 0-9 and `.`, `_`, `-`"
            )));
        }
    }
    Ok(())
}

fn check_group(group: &str) -> Result<(), KafkaError> {
    if group.is_empty() || !group.bytes().all(|b| b.is_ascii_graphic() && b != b':') {
        return Err(setting(format!(
            "`{group}` is no usable group: printable ASCII without `:`; MSK publishes no lag for any other"
        )));
    }
    Ok(())
}

fn setting(reason: String) -> KafkaError {
    KafkaError::Setting { reason }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::settings::{OnDataLoss, Secret, Start};

    const LIMITS: Limits = Limits { prefetch_bytes: 32 << 20, record_bytes_max: 8 << 20 };

    fn settings(options: &[(&str, &str)]) -> KafkaSettings {
        KafkaSettings {
            bootstrap: "b-1:9092,b-2:9092".to_owned(),
            topics: vec!["clicks".to_owned()],
            group: "shop".to_owned(),
            auth: Auth::None,
            start: Start::Earliest,
            on_data_loss: OnDataLoss::Fail,
            session_timeout: Duration::from_secs(10),
            revoke_timeout: Duration::from_secs(30),
            options: options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        }
    }

    fn refusal(settings: &KafkaSettings) -> String {
        client_config(settings, LIMITS).expect_err("it is refused").to_string()
    }

    #[test]
    fn what_the_promises_rest_on_is_set() {
        let config = client_config(&settings(&[]), LIMITS).expect("settings");
        for (name, value) in [
            ("auto.offset.reset", "error"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("group.id", "shop"),
            ("heartbeat.interval.ms", "2000"),
            ("isolation.level", "read_committed"),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("queued.max.messages.kbytes", "8192"),
            ("security.protocol", "plaintext"),
            ("session.timeout.ms", "10000"),
        ] {
            assert_eq!(config.get(name), Some(value), "{name}");
        }
    }

    #[test]
    fn every_owned_option_is_refused_and_known_to_librdkafka() {
        for (name, reason) in OWNED_OPTIONS {
            let text = refusal(&settings(&[(name, "1")]));
            assert!(text.contains(name) && text.contains(reason), "{text}");
        }
        assert!(OWNED_OPTIONS.is_sorted(), "sorted, so that one can be found");
    }

    #[test]
    fn other_options_are_passed_and_misspelt_ones_refused() {
        let config = client_config(&settings(&[("client.rack", "use1-az1"), ("check.crcs", "true")]), LIMITS);
        assert_eq!(config.expect("settings").get("client.rack"), Some("use1-az1"));
        assert!(refusal(&settings(&[("client.rak", "x")])).contains("client.rak"));
        let text = refusal(&settings(&[("ssl.key.password", "s3cret"), ("ssl.key.pasword", "s3cret")]));
        assert!(text.contains("ssl.key.pasword") && !text.contains("s3cret"), "{text}");
    }

    #[test]
    fn only_a_cooperative_assignment_is_taken() {
        let with = |pairs: &[(&str, &str)]| client_config(&settings(pairs), LIMITS);
        with(&[("partition.assignment.strategy", "cooperative-sticky")]).expect("the one that there is");
        let text = refusal(&settings(&[("partition.assignment.strategy", "range")]));
        assert!(text.contains("cooperative-sticky"), "{text}");
        let new = with(&[("group.protocol", "consumer")]).expect("KIP-848");
        assert_eq!((new.get("session.timeout.ms"), new.get("partition.assignment.strategy")), (None, None));
        let both = [("group.protocol", "consumer"), ("partition.assignment.strategy", "cooperative-sticky")];
        assert!(refusal(&settings(&both)).contains("the broker assigns"));
        assert!(refusal(&settings(&[("group.protocol", "share")])).contains("classic"));
    }

    #[test]
    fn an_onlooker_has_no_group() {
        let config =
            groupless_config(&settings(&[("group.protocol", "consumer")]), LIMITS).expect("settings");
        assert_eq!((config.get("group.id"), config.get("group.protocol")), (None, None));
        assert_eq!(config.get("isolation.level"), Some("read_committed"));
    }

    #[test]
    fn names_that_kafka_or_msk_would_stumble_over_are_refused() {
        for topic in ["", "^clicks.*", "a b", "clicks\0", &"x".repeat(250), ".."] {
            let mut settings = settings(&[]);
            settings.topics = vec![topic.to_owned()];
            assert!(refusal(&settings).contains("topic"), "{topic}");
        }
        for group in ["", "a:b", "größe", "a b"] {
            let mut settings = settings(&[]);
            settings.group = group.to_owned();
            assert!(refusal(&settings).contains("group"), "{group}");
        }
        let mut none = settings(&[]);
        none.topics.clear();
        assert!(refusal(&none).contains("no topic"));
    }

    #[test]
    fn each_way_to_log_in_has_its_settings() {
        let scram = |tls| Auth::Scram {
            mechanism: ScramMechanism::Sha512,
            username: "u".to_owned(),
            password: Secret("p4ss".to_owned()),
            tls,
            ca: Some("/etc/ca.pem".into()),
        };
        let expected: [(Auth, BTreeMap<&str, &str>); 5] = [
            (
                Auth::Tls { ca: None },
                BTreeMap::from([("security.protocol", "ssl"), ("ssl.ca.location", "probe")]),
            ),
            (
                Auth::Tls { ca: Some("/etc/ca.pem".into()) },
                BTreeMap::from([("security.protocol", "ssl"), ("ssl.ca.location", "/etc/ca.pem")]),
            ),
            (
                scram(true),
                BTreeMap::from([
                    ("security.protocol", "sasl_ssl"),
                    ("sasl.mechanism", "SCRAM-SHA-512"),
                    ("sasl.username", "u"),
                    ("sasl.password", "p4ss"),
                    ("ssl.ca.location", "/etc/ca.pem"),
                ]),
            ),
            (scram(false), BTreeMap::from([("security.protocol", "sasl_plaintext")])),
            (
                Auth::MskIam { region: None, role_arn: None },
                BTreeMap::from([("security.protocol", "sasl_ssl"), ("sasl.mechanism", "OAUTHBEARER")]),
            ),
        ];
        for (auth, pairs) in expected {
            let settings = KafkaSettings { auth, ..settings(&[]) };
            let config = client_config(&settings, LIMITS).expect("settings");
            for (name, value) in pairs {
                assert_eq!(config.get(name), Some(value), "{:?}", settings.auth);
            }
        }
    }

    #[test]
    fn small_and_large_budgets_are_settings_that_librdkafka_takes() {
        for prefetch_bytes in [1, 1 << 20, 64 << 20, 1 << 40] {
            for record_bytes_max in [1, 50 << 20, u64::from(u32::MAX)] {
                let limits = Limits { prefetch_bytes, record_bytes_max };
                client_config(&settings(&[]), limits).unwrap_or_else(|error| panic!("{limits:?}: {error}"));
            }
        }
    }
}
