//! Cli: what may be asked of `cargo local`, and what of it is refused.
//!
//! Neighbours: main passes it to story. Pure.

use std::path::PathBuf;

use clap::Parser;

/// Bytes a partition that librdkafka's mock broker keeps; then it drops the oldest. Source: librdkafka 2.12,
/// rdkafka_mock.c, `mpart->max_size`.
pub const EMBEDDED_PARTITION_BYTES: u64 = 5 * 1024 * 1024;
/// How much of it is planned for: partitions are not filled evenly, and batches have headers.
const EMBEDDED_SHARE_PERCENT: u64 = 85;

/// Runs all of Landfall on this machine: pushes good and bad images, kills workers, and proves that nothing was lost or
/// written twice.
///
/// Embedded broker, generated shop events, the real deployer and worker on an emulator of AWS, Parquet files to look at
/// afterwards.
#[derive(Clone, Debug, Parser)]
#[command(name = "cargo local", version)]
pub struct Cli {
    /// How long to send events, seconds
    #[arg(long, default_value_t = 110, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub seconds: u32,

    /// Events a second
    #[arg(long, default_value_t = 700, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: u32,

    /// Partitions of the topic
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub partitions: u16,

    /// Go on sending until Ctrl-C, then drain and prove
    #[arg(long, conflicts_with = "seconds")]
    pub keep: bool,

    /// A real broker instead of the embedded one; a topic is created there, and deleted after a good run
    #[arg(long, value_name = "HOST:PORT")]
    pub kafka: Option<String>,

    /// Decides every event
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Directory of this run; must be new or empty [default: local-run/<time>]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

impl Cli {
    /// How many events will be sent; `None` = until Ctrl-C.
    pub fn events(&self) -> Option<u64> {
        (!self.keep).then(|| u64::from(self.seconds) * u64::from(self.rate))
    }

    /// Refuses what the embedded broker would forget before it is read again.
    ///
    /// `event_bytes`: what an event takes in the broker's log on average.
    pub fn check_fit(&self, event_bytes: u64) -> Result<(), String> {
        let (Some(events), None) = (self.events(), &self.kafka) else {
            return Ok(());
        };
        let partition_bytes = events * event_bytes / u64::from(self.partitions);
        let budget = EMBEDDED_PARTITION_BYTES * EMBEDDED_SHARE_PERCENT / 100;
        if partition_bytes <= budget {
            return Ok(());
        }
        let fitting = (events * event_bytes).div_ceil(budget);
        let seconds = budget * u64::from(self.partitions) / (event_bytes * u64::from(self.rate));
        Err(format!(
            "{} events/s for {} s make {:.1} MiB in each of {} partitions, and the embedded broker keeps only {} MiB \
             a partition; ask for --partitions {fitting}, for --seconds {seconds}, for --keep (which waits for the \
             worker), or give a broker with --kafka HOST:PORT",
            self.rate,
            self.seconds,
            partition_bytes as f64 / 1_048_576.0,
            self.partitions,
            EMBEDDED_PARTITION_BYTES / 1_048_576,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cli(args: &[&str]) -> Cli {
        Cli::parse_from([&["local"], args].concat())
    }

    #[test]
    fn the_defaults_fit_the_embedded_broker() {
        let generator = crate::generator::Generator {
            seed: 1,
            started_ms: 1_795_343_524_000,
            rate: 1_000,
            partitions: 8,
        };
        cli(&[]).check_fit(generator.mean_log_bytes()).unwrap();
    }

    #[test]
    fn more_than_the_embedded_broker_keeps_is_refused_with_what_would_fit() {
        let asked = cli(&["--rate", "5000", "--seconds", "100", "--partitions", "4"]);
        let refusal = asked.check_fit(700).unwrap_err();
        assert!(refusal.contains("--partitions 79"), "{refusal}");
        assert!(refusal.contains("--seconds 5"), "{refusal}");
        cli(&["--rate", "5000", "--seconds", "100", "--partitions", "79"]).check_fit(700).unwrap();
        cli(&["--rate", "5000", "--seconds", "5", "--partitions", "4"]).check_fit(700).unwrap();
    }

    #[test]
    fn a_real_broker_and_an_endless_run_have_no_such_limit() {
        cli(&["--rate", "50000", "--keep"]).check_fit(700).unwrap();
        cli(&["--rate", "50000", "--kafka", "localhost:9092"]).check_fit(700).unwrap();
    }

    #[test]
    fn keep_and_seconds_exclude_each_other() {
        assert!(Cli::try_parse_from(["local", "--keep", "--seconds", "5"]).is_err());
        assert!(Cli::try_parse_from(["local", "--rate", "0"]).is_err());
    }
}
