//! Logs: JSON lines for machines, short lines for people; on stderr, because stdout belongs to the commands' answers.
//!
//! What is logged never holds a secret: settings show secrets as `<secret>`, and the crates that could show headers
//! or tokens stay at `warn` unless they are named.
//! Neighbours: none.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Filters as tracing-subscriber writes them (`debug`, `worker::commit=trace`). `RUST_LOG` is asked after it.
pub const VARIABLE: &str = "LANDFALL_LOG";

/// Crates that say much, or may say too much. Naming one in the variable lifts its limit.
const QUIET: &str = "info,aws_config=warn,aws_runtime=warn,aws_sdk_cloudwatch=warn,aws_sdk_s3=warn,aws_sigv4=warn,\
    aws_smithy_http_client=warn,aws_smithy_runtime=warn,aws_smithy_runtime_api=warn,h2=warn,hyper=warn,\
    hyper_util=warn,librdkafka=warn,rdkafka=warn,rustls=warn,tower=warn";

/// Sets logging up for the process; to be called once, first. Panics are logged as errors from here on.
pub fn init() {
    let wanted = std::env::var(VARIABLE).or_else(|_| std::env::var("RUST_LOG")).unwrap_or_default();
    let is_terminal = std::io::stderr().is_terminal();
    let colours = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let (filter, fault) = filter(&wanted);
    subscribe(filter, is_terminal, colours, std::io::stderr);
    if let Some(fault) = fault {
        tracing::warn!(fault, "{VARIABLE} is not understood; logging as if it were not set");
    }
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::force_capture();
        tracing::error!(%panic, %backtrace, "panic: this is a bug");
    }));
}

fn subscribe<W>(filter: EnvFilter, for_people: bool, colours: bool, writer: W)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    // Nobody else may have set a subscriber; in tests somebody may, and theirs stays.
    let _ = if for_people {
        builder.with_ansi(colours).with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    };
}

/// What is wanted, on top of what is quiet; and what was wrong with it.
fn filter(wanted: &str) -> (EnvFilter, Option<String>) {
    let parse = |text: &str| EnvFilter::builder().parse(text).map_err(|error| error.to_string());
    let quiet = || EnvFilter::new(QUIET);
    if wanted.trim().is_empty() {
        return (quiet(), None);
    }
    match parse(&format!("{QUIET},{wanted}")) {
        Ok(filter) => (filter, None),
        Err(fault) => (quiet(), Some(fault)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_comes_on_top_of_what_is_quiet() {
        let (filter, fault) = filter("debug");
        let text = filter.to_string();
        assert!(text.contains("rdkafka=warn") && text.ends_with("debug") && fault.is_none(), "{text}");
        let (named, _) = super::filter("rdkafka=trace");
        let named = named.to_string();
        assert!(named.contains("rdkafka=trace") && !named.contains(",rdkafka=warn"), "{named}");
    }

    #[test]
    fn a_filter_that_does_not_read_is_told_and_not_obeyed() {
        let (filter, fault) = filter("worker=loud");
        assert!(fault.is_some());
        assert_eq!(filter.to_string(), EnvFilter::new(QUIET).to_string());
    }
}
