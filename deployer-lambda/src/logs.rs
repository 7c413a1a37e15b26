//! Logs: JSON lines on stdout, which Lambda sends to CloudWatch Logs.
//!
//! What is logged holds no secret: the crates that could show headers or tokens stay at `warn` unless they are named.
//! Neighbours: none.

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

/// Filters as tracing-subscriber writes them (`debug`, `deployer::plan=trace`). Lambda's own `AWS_LAMBDA_LOG_LEVEL`,
/// which its logging configuration sets, is asked after it.
pub const VARIABLE: &str = "LANDFALL_LOG";
const LAMBDA_VARIABLE: &str = "AWS_LAMBDA_LOG_LEVEL";

/// Crates that say much, or may say too much. The runtime's panic layer repeats each error that serve has logged.
const QUIET: &str = "info,aws_config=warn,aws_runtime=warn,aws_sdk_cloudwatch=warn,aws_sdk_ecr=warn,aws_sdk_ecs=warn,\
    aws_sdk_s3=warn,aws_sdk_sns=warn,aws_sigv4=warn,aws_smithy_http_client=warn,aws_smithy_runtime=warn,\
    aws_smithy_runtime_api=warn,h2=warn,hyper=warn,hyper_util=warn,lambda_runtime=warn,\
    lambda_runtime::layers::panic=off,rustls=warn,tower=warn";

/// Sets logging up for the process; to be called once, first. Panics are logged as errors from here on.
pub fn init() {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let wanted = variable(VARIABLE).or_else(|| variable(LAMBDA_VARIABLE)).unwrap_or_default();
    let (filter, fault) = filter(&wanted);
    // Nobody else may have set a subscriber; in tests somebody may, and theirs stays.
    let _ = tracing::subscriber::set_global_default(subscriber(filter, std::io::stdout));
    if let Some(fault) = fault {
        tracing::warn!(fault, "{VARIABLE} is not understood; logging as if it were not set");
    }
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::force_capture();
        tracing::error!(%panic, %backtrace, "panic: this is a bug");
    }));
}

/// JSON, flat: `{"timestamp":…,"level":"INFO","message":…,"why":…}`.
pub fn subscriber<W>(filter: Targets, writer: W) -> impl tracing::Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).json().flatten_event(true);
    let lines = lines.with_current_span(false).with_span_list(false);
    tracing_subscriber::registry().with(lines.with_filter(filter))
}

/// What is wanted, on top of what is quiet; and what was wrong with it. Levels by module, as `Targets` reads them: an
/// `EnvFilter` would bring a regex engine for spans and fields that nobody filters here.
pub fn filter(wanted: &str) -> (Targets, Option<String>) {
    match parse(wanted) {
        Ok(filter) => (filter, None),
        Err(fault) => (quiet(), Some(fault)),
    }
}

/// `debug` or `deployer::plan=trace,info`; what it does not name stays as quiet as it is.
pub fn parse(wanted: &str) -> Result<Targets, String> {
    let wanted = wanted.trim();
    if wanted.is_empty() {
        return Ok(quiet());
    }
    format!("{QUIET},{wanted}")
        .parse()
        .map_err(|fault: tracing_subscriber::filter::ParseError| fault.to_string())
}

fn quiet() -> Targets {
    QUIET.parse().unwrap_or_else(|_| Targets::new().with_default(tracing::Level::INFO))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;
    use crate::plan::Decision;
    use crate::release::{Digest, ReleaseId};
    use crate::report::line::{About, log};

    #[test]
    fn what_is_wanted_comes_on_top_of_what_is_quiet() {
        let (filter, fault) = filter("DEBUG");
        assert!(filter.to_string().contains("aws_sigv4=warn") && fault.is_none(), "{filter}");
        let (filter, fault) = super::filter("deployer=loud");
        assert!(fault.is_some());
        assert_eq!(filter, quiet());
    }

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_decision_is_one_line_with_all_that_it_rests_on() {
        let kept = Kept::default();
        let writer = {
            let kept = kept.clone();
            move || kept.clone()
        };
        let decision = Decision {
            release: Some(ReleaseId::from("0123456789abcdef")),
            what: "point service shop-events at shop-events:42".to_owned(),
            change: "~ task definition shop-events:41 -> shop-events:42".to_owned(),
            why: "v1.4.0 is the newest image that the policy admits".to_owned(),
            next: "wait for ECS".to_owned(),
            undo: Some("point it at shop-events:41".to_owned()),
        };
        let digest = Digest(format!("sha256:{}", "a".repeat(64)));
        tracing::subscriber::with_default(subscriber(filter("").0, writer), || {
            log(&decision, Some(About { tag: Some("v1.4.0"), digest: &digest }), "push of v1.4.0");
            log(&Decision { release: None, undo: None, ..decision.clone() }, None, "the schedule");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        for (field, value) in [
            ("message", "point service shop-events at shop-events:42"),
            ("change", "~ task definition shop-events:41 -> shop-events:42"),
            ("why", "v1.4.0 is the newest image that the policy admits"),
            ("next", "wait for ECS"),
            ("undo", "point it at shop-events:41"),
            ("release", "0123456789abcdef"),
            ("tag", "v1.4.0"),
            ("digest", "aaaaaaaaaaaa"),
            ("woke", "push of v1.4.0"),
            ("level", "INFO"),
        ] {
            assert_eq!(lines[0][field], value, "{text}");
        }
        let absent = ["release", "tag", "digest", "undo"];
        assert!(absent.iter().all(|field| lines[1].get(field).is_none()), "{text}");
    }
}
