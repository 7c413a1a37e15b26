//! Notices: what a person at 3 a.m. is told: what happened, what Landfall did, what to look at, the command to type.
//!
//! Neighbours: happening is what comes in; progress, back, trouble and people find the words; whereabouts knows where
//! to look. Pure.

mod back;
mod happening;
mod people;
mod progress;
mod trouble;
mod whereabouts;

pub use happening::{End, Happening, Subject};
pub use whereabouts::{Logs, Whereabouts};
use whereabouts::{console, ended, looks};

use crate::clock::rfc3339;
use crate::journal::{Notice, Urgency};
use crate::release::Moment;

/// Characters of a subject: SNS takes fewer than 100.
pub const SUBJECT_MAX: usize = 99;

/// What is told, by parts.
struct Words {
    urgency: Urgency,
    subject: String,
    happened: String,
    did: String,
    look: Vec<String>,
    /// What it does, and the command.
    commands: Vec<(&'static str, String)>,
}

/// The notice of a happening. `id` tells a repetition.
pub fn notice(happening: &Happening<'_>, at: &Whereabouts, id: u64, now: Moment) -> Notice {
    let words = match *happening {
        Happening::Started { release, before } => progress::started(at, release, before),
        Happening::Adopted { release } => progress::adopted(at, release),
        Happening::GoingBack { from, to, cause, why, end } => {
            back::going_back(at, from, to, cause, bare(why), end)
        }
        Happening::RolledBack { is_rejected, from, to, cause, why, end } => {
            back::rolled_back(at, from, to, (cause, is_rejected), bare(why), end)
        }
        Happening::Blocked { release, why, runs, retry_at, end } => {
            trouble::blocked(at, release, bare(why), runs, retry_at, end)
        }
        Happening::NoTarget { release, why, is_stopped, is_rejected, end } => {
            back::no_target(at, release, bare(why), (is_stopped, is_rejected), end)
        }
        Happening::NothingRuns { release, why, is_tried_again } => {
            trouble::nothing_runs(at, release, bare(why), is_tried_again)
        }
        Happening::Healthy { release, before, is_quiet } => progress::healthy(at, release, before, is_quiet),
        Happening::WaitingForApproval { release } => people::waiting(at, release),
        Happening::ScanHeld { release, scan, passes } => people::scan_held(at, release, scan, passes),
        Happening::EcsRolledBack { from, to, reason } => back::ecs_rolled_back(at, from, to, reason),
        Happening::Drift { expected, found, is_put_right } => {
            trouble::drift(at, expected, found, is_put_right)
        }
        Happening::Displaced { release, why } => trouble::displaced(at, release, bare(why)),
        Happening::Held { release, why } => people::held(at, release, bare(why)),
        Happening::WayBackFailed { to, why, retry_at, gives_up } => {
            back::way_back_failed(at, to, bare(why), retry_at, gives_up)
        }
        Happening::RolloutSlow { release, minutes, reason } => trouble::slow(at, release, minutes, reason),
        Happening::Refused { why, is_denied } => trouble::refused(at, bare(why), is_denied),
    };
    let subject = subject(&format!("{}: {}", at.pipeline, words.subject));
    Notice { id, at: now, urgency: words.urgency, subject, text: text(&words, at, now) }
}

/// Without a full stop: it gets one where it stands.
fn bare(sentence: &str) -> &str {
    sentence.trim().trim_end_matches('.')
}

/// What SNS takes as a mail's subject: printable ASCII without line breaks.
fn subject(text: &str) -> String {
    let ascii = text.chars().map(|letter| match letter {
        ' '..='~' => letter,
        _ if letter.is_whitespace() => ' ',
        _ => '?',
    });
    ascii.take(SUBJECT_MAX).collect::<String>().trim_end().to_owned()
}

fn text(words: &Words, at: &Whereabouts, now: Moment) -> String {
    let mut text = format!("What happened\n  {}\n\nWhat Landfall did\n  {}\n", words.happened, words.did);
    if !words.look.is_empty() {
        text.push_str("\nWhat to look at\n");
        for look in &words.look {
            text.push_str(&format!("  {look}\n"));
        }
    }
    text.push_str("\nWhat to type\n");
    for (what, command) in &words.commands {
        text.push_str(&format!("  # {what}\n  {command}\n"));
    }
    let place = &at.place;
    text.push_str(&format!(
        "\nPipeline {}, service {} in cluster {}, account {}, {}; decided at {}\n",
        at.pipeline,
        place.service_name(),
        place.cluster_name(),
        place.account,
        place.region,
        rfc3339(now)
    ));
    text
}

#[cfg(test)]
mod tests;
