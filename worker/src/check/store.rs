//! Store: whether it is there and can be read, and how its log stands. Nothing is written to find out.
//!
//! Neighbours: check; the ledger crate reads.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ledger::entry::{DATA_PREFIX, DEAD_LETTER_PREFIX};
use ledger::head::View;
use ledger::store::file::FileError;
use ledger::store::memory::MemoryStore;
use ledger::store::{OpenError, Store};
use rustix::fs::{Access, access};

use super::advice;
use super::report::{Line, Report, Verdict};
use super::show::counted;
use crate::chain;
use crate::exit::Exit;
use crate::run::s3_options;
use crate::settings::OutputSettings;

const STEP: &str = "store";

/// The log, where there is a store to read it from.
pub async fn look(output: &OutputSettings, report: &mut Report) -> Option<View> {
    let store = match ledger::store::open_existing(&output.path, &s3_options(output)).await {
        Ok(store) => store,
        Err(OpenError::File { source: FileError::RootMissing(root), .. }) => {
            let line = to_be_made(&root);
            let is_well = line.verdict == Verdict::Ok;
            report.add(line);
            // What is not there yet is as an empty log.
            return if is_well { View::open(Arc::new(MemoryStore::new())).await.ok() } else { None };
        }
        Err(error) => {
            let exit = Exit::from(&error);
            report.add(Line::problem(STEP, exit, chain(&error).to_string(), advice::store(exit)));
            return None;
        }
    };
    let view = match View::open(store.clone()).await {
        Ok(view) => view,
        Err(error) => {
            let exit = Exit::from(&error);
            report.add(Line::problem(STEP, exit, chain(&error).to_string(), advice::store(exit)));
            return None;
        }
    };
    report.add(match output.path.strip_prefix("file:") {
        Some(path) => writable(Path::new(path.strip_prefix("//").unwrap_or(path))),
        None => {
            Line::ok(STEP, format!("read {}; whether it can be written shows at the first run", store.url()))
        }
    });
    if let Some(line) = uploads(store.as_ref()).await {
        report.add(line);
    }
    Some(view)
}

/// Uploads under way: of a worker that runs, or left behind. Only listing them needs a right of its own.
async fn uploads(store: &dyn Store) -> Option<Line> {
    let mut open = 0;
    for prefix in [DATA_PREFIX, DEAD_LETTER_PREFIX] {
        match store.list_uploads(prefix).await {
            Ok(uploads) => open += uploads.len(),
            Err(error) => {
                let what = format!("abandoned uploads cannot be found and swept: {}", chain(&error));
                return Some(Line::warning(STEP, what, "grant s3:ListBucketMultipartUploads on the bucket"));
            }
        }
    }
    let what = format!(
        "{} open: a worker is at it, or left them; what no entry names is swept after a day",
        counted(open, "upload")
    );
    (open > 0).then(|| Line::ok(STEP, what))
}

/// The first run makes the directory, where it may.
fn to_be_made(root: &Path) -> Line {
    let parent = root.ancestors().skip(1).find(|parent| parent.exists());
    let parent = parent.map_or_else(|| PathBuf::from("/"), Path::to_owned);
    let line = writable(&parent);
    match line.verdict {
        Verdict::Ok => {
            Line::ok(STEP, format!("`{}` is not there yet: the first run makes it", root.display()))
        }
        Verdict::Warning | Verdict::Problem(_) | Verdict::Skipped => {
            Line { what: format!("make `{}`: {}", root.display(), line.what), ..line }
        }
    }
}

fn writable(directory: &Path) -> Line {
    let shown = directory.display();
    if !directory.is_dir() {
        let what = format!("`{shown}` is not a directory");
        return Line::problem(STEP, Exit::Settings, what, advice::store(Exit::Settings));
    }
    match access(directory, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Line::ok(STEP, format!("`{shown}` can be read and written")),
        Err(error) => {
            let why = std::io::Error::from(error);
            let what = format!("write to `{shown}`: {why}");
            let advice = "check who owns the directory, who runs this program, and how it is mounted";
            Line::problem(STEP, Exit::Denied, what, advice)
        }
    }
}
