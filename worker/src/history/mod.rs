//! History: the ledger as a person reads it, oldest first, so that the newest stands above the prompt.
//!
//! Order: the log is listed from its head downwards, then read upwards; an entry that cannot be read is a line that
//! says so, because this is what one looks with when something is wrong.
//! Neighbours: the ledger's store and entries; `main` prints. Never: kafka.

mod table;

use std::io::{self, Write};

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use ledger::entry::{LEDGER_PREFIX, Sequence};
use ledger::store::{Store, StoreError};

use self::table::Table;

/// How many entries are shown unless more are asked for.
pub const NEWEST_DEFAULT: usize = 20;
/// One listing's page, as large as S3 gives.
const PAGE: usize = 1000;
/// Entries read at a time.
const READ_AHEAD: usize = 16;

/// Which entries, and how.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// At most so many, the newest; none = [`NEWEST_DEFAULT`], or all when `from` is given.
    pub newest: Option<usize>,
    /// None older than this.
    pub from: Option<Sequence>,
    /// Each entry as it stands in the store, one a line.
    pub json: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error("read the ledger")]
    Store(#[from] StoreError),
    #[error("print the ledger")]
    Output(#[from] io::Error),
}

/// Prints the log to `out`. A reader that goes away (`| head`) is the end, not an error.
pub async fn print(
    store: &dyn Store,
    options: &Options,
    out: &mut (dyn Write + Send),
) -> Result<(), HistoryError> {
    match print_all(store, options, out).await {
        Err(HistoryError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        answer => answer,
    }
}

async fn print_all(
    store: &dyn Store,
    options: &Options,
    out: &mut (dyn Write + Send),
) -> Result<(), HistoryError> {
    let mut sequences = list(store, options).await?;
    let head = sequences.first().copied();
    sequences.reverse();
    let mut bodies = stream::iter(sequences)
        .map(|sequence| async move { Ok::<_, StoreError>((sequence, store.get(&sequence.key()).await?)) })
        .buffered(READ_AHEAD);
    let mut table = Table::default();
    while let Some(read) = bodies.next().await {
        let (sequence, body) = read?;
        match (options.json, body) {
            (true, Some(body)) => write_line(out, &body)?,
            (true, None) => {}
            (false, body) => table.add(sequence, body.as_deref()),
        }
    }
    if !options.json {
        let shown = table.len();
        table.print(out)?;
        match head {
            Some(head) if shown > 0 => writeln!(out, "{shown} of {head} entries of {}", store.url())?,
            _ => writeln!(out, "no entries in {}", store.url())?,
        }
    }
    out.flush()?;
    Ok(())
}

/// The sequences wanted, newest first.
async fn list(store: &dyn Store, options: &Options) -> Result<Vec<Sequence>, StoreError> {
    let newest = options.newest.unwrap_or(if options.from.is_some() { usize::MAX } else { NEWEST_DEFAULT });
    let mut sequences = Vec::new();
    let mut after: Option<String> = None;
    while sequences.len() < newest {
        let page = store.list(LEDGER_PREFIX, after.as_deref(), PAGE.min(newest - sequences.len())).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
        for sequence in page.iter().filter_map(|object| Sequence::from_key(&object.key)) {
            if options.from.is_some_and(|from| sequence < from) {
                return Ok(sequences);
            }
            sequences.push(sequence);
        }
    }
    Ok(sequences)
}

/// JSON has line breaks only between its parts, where a blank is as good.
fn write_line(out: &mut (dyn Write + Send), body: &Bytes) -> io::Result<()> {
    let line: Vec<u8> = body
        .trim_ascii()
        .iter()
        .map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte })
        .collect();
    out.write_all(&line)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests;
