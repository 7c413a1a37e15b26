//! Follow: the ledger as it grows, told entry by entry, and where things stand.
//!
//! Neighbours: watch reads the ledger; acts wait for its totals.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch as channel;
use tokio::time::sleep;

use super::LOOK_EVERY;
use crate::book::Book;
use crate::clock::Stopwatch;
use crate::narrate::{Narrator, Standing};
use crate::producer::Covered;
use crate::watch::{LedgerTail, Totals, WatchError, describe};

/// Between two lines about where things stand, where there is no display.
const STANDING_EVERY: Duration = Duration::from_secs(10);

/// Follows the ledger and shows where things stand, for as long as it is polled.
pub(super) struct Follower {
    pub tail: LedgerTail,
    pub narrator: Narrator,
    pub book: Arc<Mutex<Book>>,
    pub planned: u64,
    pub covered: Covered,
    pub totals: channel::Sender<Totals>,
}

impl Follower {
    pub async fn follow(mut self) -> WatchError {
        let mut since_said = Stopwatch::start();
        loop {
            let entries = match self.tail.look().await {
                Ok(entries) => entries,
                Err(error) => return error,
            };
            for entry in &entries {
                self.narrator.say(describe(entry));
            }
            if !entries.is_empty() {
                self.publish();
            }
            let standing = self.standing();
            self.narrator.show(standing);
            if self.narrator.says_standing() && since_said.elapsed() >= STANDING_EVERY {
                self.narrator.say_standing(standing);
                since_said = Stopwatch::start();
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn publish(&self) {
        let positions = self.tail.totals.positions.clone();
        *self.covered.lock().unwrap_or_else(PoisonError::into_inner) = positions;
        self.totals.send_replace(self.tail.totals.clone());
    }

    fn standing(&self) -> Standing {
        let totals = &self.tail.totals;
        Standing {
            sent: self.book.lock().unwrap_or_else(PoisonError::into_inner).counts().messages(),
            planned: self.planned,
            covered: totals.rows + totals.dead_letters + totals.filtered,
            rows: totals.rows,
            dead_letters: totals.dead_letters,
            files: totals.files,
        }
    }
}
