//! Line: one structured log line a decision.

use crate::plan::Decision;
use crate::release::Digest;

/// What a decision is about, where it is about a release.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    pub tag: Option<&'a str>,
    pub digest: &'a Digest,
}

/// Says what was decided and the lines of [`crate::plan::text`] as fields: the change with its sign, why, what comes
/// next, and how it is undone. `woke` is [`crate::event::Woken::named`].
pub fn log(decision: &Decision, about: Option<About<'_>>, woke: &str) {
    tracing::info!(
        woke,
        release = decision.release.as_ref().map(|release| release.as_str()),
        tag = about.and_then(|about| about.tag),
        digest = about.map(|about| about.digest.short()),
        change = decision.change,
        why = decision.why,
        next = decision.next,
        undo = decision.undo.as_deref(),
        "{}",
        decision.what
    );
}
