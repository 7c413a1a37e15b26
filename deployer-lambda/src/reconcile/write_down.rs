//! Write down: a person's command, answered from one look and stored by compare and set.
//!
//! Order: nothing is done here but writing: the loop carries out what the journal then says. Whoever loses the race
//! answers anew, from what the winner wrote.
//! Neighbours: command before it, the loop after it. The simulation runs this very code.

use super::{World, plan_of, see};
use crate::apply::store;
use crate::command::{Answer, Facts, Refusal, answer};
use crate::event::Command;
use crate::journal::{FORMAT, Journal};
use crate::observe::needs::Answered;
use crate::observe::ports::{CallError, CallFault, Written};
use crate::plan::desired;
use crate::release::Digest;
use crate::render::Rendered;

/// Times that a command is answered anew, because others wrote the journal meanwhile.
const RACES_MAX: u32 = 5;

/// What became of a command.
#[derive(Debug)]
pub enum WrittenDown {
    /// There was nothing to write.
    Answered(Answer),
    /// The journal says it; the loop is to carry it out. The answer's journal is taken.
    Written(Answer),
    Refused(Refusal),
}

/// Answers a command, and stores what it changes. `needs`: what tasks need beside their image, as it was asked for
/// `verify`; empty for every other command.
///
/// # Errors
/// The journal cannot be read or written, or others wrote it every time. A [`CallFault::Unknown`] may have been
/// written.
pub async fn write_down(
    world: &World<'_>,
    command: &Command,
    rendered: &(dyn Fn(&Digest) -> Result<Rendered, String> + Sync),
    needs: &[Answered],
) -> Result<WrittenDown, CallError> {
    for _ in 0..RACES_MAX {
        let seen = see(world, true).await?;
        let plan = plan_of(world, &seen, None);
        let blank = Journal { format: FORMAT, ..Journal::default() };
        // What is adopted by this look is known to the command already.
        let planned = plan.journal.as_ref().filter(|_| seen.journal.is_none());
        let journal = seen.journal.as_ref().map(|(journal, _)| journal).or(planned).unwrap_or(&blank);
        let images = seen.observed.images.known().map_or(&[][..], Vec::as_slice);
        let newest = desired::admitted(world.policy, images).first().map(|digest| (world.release_of)(digest));
        let answered = answer(
            command,
            &Facts {
                journal,
                observed: &seen.observed,
                policy: world.policy,
                now: seen.at,
                rendered: &rendered,
                desired: newest.as_ref(),
                decision: Some(&plan.decision),
                // Registered bodies are not read again: where the templates changed, `diff` says so.
                running_task_definition: None,
                needs,
            },
        );
        let mut said = match answered {
            Ok(said) => said,
            Err(refusal) => return Ok(WrittenDown::Refused(refusal)),
        };
        let Some(mut journal) = said.journal.take() else { return Ok(WrittenDown::Answered(said)) };
        journal.format = FORMAT;
        journal.revision += 1;
        journal.updated_at = seen.at;
        let over = seen.journal.as_ref().map(|(_, tag)| tag);
        if store(&mut journal, over, world.act.journals).await? != Written::Changed {
            return Ok(WrittenDown::Written(said));
        }
    }
    Err(CallError {
        what: "write the command down".to_owned(),
        fault: CallFault::Throttled,
        source: "others wrote the journal every time; ask again".into(),
    })
}
