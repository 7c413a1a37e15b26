//! Apply: makes the announced call, and writes what came of it.
//!
//! Order: the journal with the intent is stored first; then the call; then the journal without the intent. A call
//! whose outcome nobody knows leaves its intent: the next look decides.
//! Neighbours: plan and journal before it; the ports are kept by aws.

pub mod ports;
