//! Sns: tells a person.
//!
//! Order: what SNS would refuse is made fit first, so that no notice is lost for its form.
//! Neighbours: aws.

use async_trait::async_trait;

use super::{Aws, Call};
use crate::apply::ports::Notifier;
use crate::observe::ports::CallError;

/// Under 100 printable ASCII characters. Source: "Publish".
const SUBJECT_MAX: usize = 99;
/// Under 256 KiB. Source: "Publish".
const TEXT_BYTES_MAX: usize = 200 * 1024;

#[async_trait]
impl Notifier for Aws {
    async fn notify(&self, subject: &str, text: &str) -> Result<(), CallError> {
        let Some(topic) = &self.target.topic else {
            tracing::info!(subject, text, "no topic is set: this notice stands only here");
            return Ok(());
        };
        self.sns
            .publish()
            .topic_arn(topic)
            .subject(fit_subject(subject))
            .message(fit_text(text))
            .send()
            .await
            .map_err(|error| Call::Publish.failed(topic, error))?;
        Ok(())
    }
}

/// One line of printable ASCII that begins with a letter, a digit or a sign and is never empty.
fn fit_subject(subject: &str) -> String {
    let plain = subject.trim().chars().map(|c| match c {
        '→' => '>',
        '–' | '—' => '-',
        '…' => '.',
        '‘' | '’' => '\'',
        '\t' | '\n' | '\r' => ' ',
        ' '..='~' => c,
        _ => '?',
    });
    let fit: String = plain.take(SUBJECT_MAX).collect();
    if fit.is_empty() { "Landfall".to_owned() } else { fit }
}

fn fit_text(text: &str) -> String {
    if text.is_empty() {
        return "(no text)".to_owned();
    }
    if text.len() <= TEXT_BYTES_MAX {
        return text.to_owned();
    }
    let end = (0..=TEXT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}\n… cut: the rest is in the deployer's log", &text[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_subject_and_text_are_made_fit(subject in any::<String>(), text in any::<String>()) {
            let subject = fit_subject(&subject);
            prop_assert!(!subject.is_empty() && subject.len() < 100);
            prop_assert!(subject.bytes().all(|b| (b' '..=b'~').contains(&b)));
            prop_assert!(!fit_text(&text).is_empty());
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_says_so() {
        let fit = fit_text(&"ä".repeat(TEXT_BYTES_MAX));
        assert!(fit.len() < 256 * 1024 && fit.ends_with("in the deployer's log"));
        assert_eq!(fit_subject("shop: v1 → v2\nrolled back"), "shop: v1 > v2 rolled back");
    }
}
