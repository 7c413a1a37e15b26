//! Wake: lets anyone rouse the polling thread, from librdkafka's callbacks too, which must not block.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

/// The end that rouses.
#[derive(Clone)]
pub(super) struct Wake(Sender<()>);

/// The end that sleeps.
pub(super) struct Sleep(Receiver<()>);

pub(super) fn wake_pair() -> (Wake, Sleep) {
    // One place: being woken twice before one looks is being woken once.
    let (sender, receiver) = bounded(1);
    (Wake(sender), Sleep(receiver))
}

impl Wake {
    pub(super) fn wake(&self) {
        // Full = a wake-up is already on its way; disconnected = the thread is gone.
        let _ = self.0.try_send(());
    }
}

impl Sleep {
    /// Until woken, but no longer than this.
    pub(super) fn sleep(&self, longest: Duration) {
        let _ = self.0.recv_timeout(longest);
    }
}
