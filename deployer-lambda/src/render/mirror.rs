//! Mirror: what the journal says of a release, as tags for ECS's console.
//!
//! AWS refuses a whole request for one letter in a tag, so that nothing goes in that it might not take.
//! Neighbours: journal before it; apply sends the tags. Pure.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::journal::{Record, Verdict};
use crate::release::Moment;

/// The tag by which a revision is known as a release's.
pub const RELEASE_TAG: &str = "landfall:release";
/// Characters that a tag's value may have.
const VALUE_CHARS_MAX: usize = 256;

/// `landfall:release`, `:digest`, `:tag`, `:verdict`, `:pushed-at`, `:reason`. Empty ones are left out.
pub fn mirror_tags(record: &Record) -> Vec<(String, String)> {
    let tags = [
        (RELEASE_TAG, record.release.to_string()),
        ("landfall:digest", record.digest.to_string()),
        ("landfall:tag", record.tags.join(" ")),
        ("landfall:verdict", verdict(record.verdict).to_owned()),
        ("landfall:pushed-at", iso(record.pushed_at)),
        ("landfall:reason", record.reason.clone()),
    ];
    tags.into_iter()
        .map(|(key, value)| (key.to_owned(), sanitised(&value)))
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

/// As the journal spells it.
fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Proving => "proving",
        Verdict::Healthy => "healthy",
        Verdict::Quiet => "quiet",
        Verdict::Rejected => "rejected",
        Verdict::Blocked => "blocked",
        Verdict::Superseded => "superseded",
    }
}

fn iso(moment: Moment) -> String {
    let at = DateTime::<Utc>::from_timestamp_millis(moment.0);
    at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)).unwrap_or_default()
}

/// What AWS does not take becomes a space; quotes and backticks go; runs of spaces become one.
fn sanitised(text: &str) -> String {
    let mut plain = String::new();
    for c in text.chars().filter(|c| !matches!(c, '`' | '"' | '\'')) {
        let c = if is_taken(c) { c } else { ' ' };
        if c != ' ' || !(plain.is_empty() || plain.ends_with(' ')) {
            plain.push(c);
        }
    }
    let plain = plain.trim_end();
    if plain.chars().count() <= VALUE_CHARS_MAX {
        return plain.to_owned();
    }
    let cut: String = plain.chars().take(VALUE_CHARS_MAX - 3).collect();
    format!("{}...", cut.trim_end())
}

/// AWS takes `[\p{L}\p{Z}\p{N}_.:/=+\-@]`. Of other alphabets only blocks of letters throughout: a mark is no letter.
fn is_taken(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(c, ' ' | '_' | '.' | ':' | '/' | '=' | '+' | '-' | '@')
        || matches!(c, 'À'..='Ö' | 'Ø'..='ö' | 'ø'..='ɏ' | 'Ѐ'..='ҁ' | 'Ҋ'..='ԯ')
        || matches!(c, 'ぁ'..='ゖ' | 'ァ'..='ヺ' | '一'..='龥' | '가'..='힣')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::release::{Digest, ReleaseId};

    fn record() -> Record {
        serde_json::from_value(serde_json::json!({
            "release": "0123456789abcdef", "digest": format!("sha256:{}", "a".repeat(64)), "tags": ["v1.2.3", "stable"],
            "pushed_at": 1_795_590_000_000_i64, "verdict": "rejected", "picked_at": 0,
            "reason": "the worker ended with 78 (`settings`), twice; it's \"over\""
        }))
        .expect("a record")
    }

    #[test]
    fn the_console_shows_what_the_journal_says() {
        let tags = mirror_tags(&record());
        let told: Vec<_> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(
            told,
            [
                ("landfall:release", "0123456789abcdef"),
                ("landfall:digest", &*format!("sha256:{}", "a".repeat(64))),
                ("landfall:tag", "v1.2.3 stable"),
                ("landfall:verdict", "rejected"),
                ("landfall:pushed-at", "2026-11-25T07:00:00Z"),
                ("landfall:reason", "the worker ended with 78 settings twice its over"),
            ]
        );
    }

    #[test]
    fn every_verdict_is_spelled_as_in_the_journal() {
        for each in [
            Verdict::Proving,
            Verdict::Healthy,
            Verdict::Quiet,
            Verdict::Rejected,
            Verdict::Blocked,
            Verdict::Superseded,
        ] {
            assert_eq!(serde_json::to_value(each).expect("a word"), verdict(each));
        }
    }

    #[test]
    fn an_empty_reason_is_no_tag() {
        let record = Record { reason: " ,; ".to_owned(), tags: Vec::new(), ..record() };
        let keys: Vec<String> = mirror_tags(&record).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["landfall:release", "landfall:digest", "landfall:verdict", "landfall:pushed-at"]);
    }

    proptest! {
        #[test]
        fn tags_have_only_what_aws_takes(reason in ".{0,600}", tag in ".{0,200}") {
            let record = Record {
                release: ReleaseId("r".into()), digest: Digest("d".into()), reason, tags: vec![tag], ..record()
            };
            for (key, value) in mirror_tags(&record) {
                prop_assert!(key.len() <= 128);
                prop_assert!((1..=VALUE_CHARS_MAX).contains(&value.chars().count()));
                prop_assert!(value.encode_utf16().count() <= VALUE_CHARS_MAX);
                prop_assert!(value.chars().all(is_taken), "{value}");
                prop_assert_eq!(value.trim(), &value);
            }
        }
    }
}
