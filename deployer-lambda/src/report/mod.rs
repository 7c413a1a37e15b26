//! Report: says what was decided: a log line, metrics, notices for people.
//!
//! Order: after the journal is written: what is counted and told did happen. A metric or a notice that cannot be sent
//! never undoes anything: notices stay in the journal's outbox, metrics are lost.
//! Neighbours: plan and journal before it. Pure, but for the line.

pub mod line;
pub mod metrics;
pub mod names;
pub mod notices;

pub use line::log;
pub use metrics::{Batch, Beside, Datum, batch};
pub use notices::{End, Happening, Subject, Whereabouts, notice};
