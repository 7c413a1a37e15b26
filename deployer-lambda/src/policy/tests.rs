use chrono::TimeZone;
use proptest::prelude::*;

use super::*;

fn policy(text: &str) -> Policy {
    Policy::parse(text).unwrap_or_else(|faults| panic!("{faults}"))
}

fn faults(text: &str) -> String {
    Policy::parse(text).expect_err("it is wrong").to_string()
}

fn admitted(policy: &Policy, tag: &str) -> Admitted {
    policy.admits(tag).unwrap_or_else(|| panic!("{tag} is admitted"))
}

/// A wall clock in UTC.
fn utc(text: &str) -> Moment {
    let at = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").expect("a time");
    Moment(Utc.from_utc_datetime(&at).timestamp_millis())
}

const COMMITTED: &str = include_str!("../../../taskdefs/policy.toml");

#[test]
fn an_empty_file_is_the_default_policy() {
    for text in ["", COMMITTED] {
        let policy = policy(text);
        assert_eq!(format!("{policy:?}"), format!("{:?}", Policy::default()));
    }
}

#[test]
fn what_the_committed_file_shows_as_default_is_the_default() {
    let no_defaults = ["repository", "pattern", "passes", "[[freeze]]", "cron", "lasts", "zone", "reason"];
    let shown: String = COMMITTED
        .lines()
        .filter_map(|line| match line.strip_prefix("# ") {
            Some(code) if code.contains(" = ") || code.starts_with("[[") => {
                (!no_defaults.iter().any(|word| code.starts_with(word))).then(|| format!("{code}\n"))
            }
            Some(_) => None,
            None => Some(format!("{line}\n")),
        })
        .collect();
    assert!(shown.contains("bake = \"10m\"") && shown.contains("versions = \"*\""), "{shown}");
    assert_eq!(format!("{:?}", policy(&shown)), format!("{:?}", Policy::default()));
}

#[test]
fn every_line_that_the_committed_file_shows_is_understood() {
    let shown: String = COMMITTED
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(code) if code.contains(" = ") && !code.starts_with("versions") => format!("{code}\n"),
            Some(code) if code.starts_with("[[") => format!("{code}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let policy = policy(&shown);
    assert_eq!(policy.repository.as_deref(), Some("shop-events"));
    assert_eq!(policy.scan.passes, Some(Severity::Medium));
    assert_eq!(policy.freezes.len(), 1);
    assert_eq!((policy.freezes[0].minutes, policy.freezes[0].reason.as_str()), (62 * 60, "weekend"));
}

#[test]
fn any_release_is_admitted_by_default_and_what_moves_is_not() {
    let policy = Policy::default();
    for tag in ["1.2.3", "v1.2.3", "v0.0.1", "1.2.3_build.7"] {
        assert!(policy.admits(tag).is_some(), "{tag}");
    }
    for tag in ["latest", "1", "v1.2", "1.2.3-rc.1", "main-7", "", "vv1.2.3", "01.2.3", "landfall-keep-3"] {
        assert_eq!(policy.admits(tag), None, "{tag}");
    }
}

#[test]
fn a_pre_release_counts_only_where_the_range_names_one() {
    assert_eq!(policy("[images]\nversions = \">=1.2\"").admits("1.3.0-rc.1"), None);
    let policy = policy("[images]\nversions = \">=1.3.0-rc.1\"");
    assert!(policy.admits("v1.3.0-rc.2").is_some());
    assert_eq!(policy.admits("1.4.0-rc.1"), None);
    assert_eq!(policy.admits("1.2.9"), None);
}

#[test]
fn a_keep_tag_of_our_own_names_no_release_whatever_the_pattern() {
    assert_eq!(policy("[images]\npattern = \"*\"").admits("landfall-keep-12"), None);
}

#[test]
fn versions_are_ordered_as_numbers_and_then_by_the_push() {
    let policy = Policy::default();
    let newer = |a: (&str, i64), b: (&str, i64)| {
        policy.newer((&admitted(&policy, a.0), Moment(a.1)), (&admitted(&policy, b.0), Moment(b.1)))
    };
    assert_eq!(newer(("1.10.0", 1), ("v1.9.0", 2)), Ordering::Greater);
    assert_eq!(newer(("v1.2.3", 1), ("1.2.3", 1)), Ordering::Equal);
    assert_eq!(newer(("1.2.3_9", 1), ("1.2.3_10", 2)), Ordering::Less, "build metadata does not count");
    assert_eq!(newer(("1.2.3_9", 2), ("1.2.3_10", 1)), Ordering::Greater);
}

#[test]
fn by_push_time_a_version_says_nothing() {
    let policy = policy("[images]\norder = \"push-time\"");
    let (old, new) = (admitted(&policy, "2.0.0"), admitted(&policy, "1.0.0"));
    assert_eq!(policy.newer((&old, Moment(1)), (&new, Moment(2))), Ordering::Less);
}

#[test]
fn a_pattern_is_ordered_by_push_time_unless_it_asks_for_versions() {
    let by_time = policy("[images]\npattern = \"main-*\"");
    assert_eq!((by_time.order, by_time.admits("main-1a2b")), (Order::PushTime, Some(Admitted::Name)));
    assert_eq!(by_time.admits("1.2.3"), None);
    let by_version = policy("[images]\npattern = \"v*-prod\"\norder = \"version\"");
    assert!(matches!(by_version.admits("v1.2.3-prod"), Some(Admitted::Version(_))));
    assert_eq!(by_version.admits("vx-prod"), None);
}

#[test]
fn of_an_images_tags_the_highest_version_counts() {
    let policy = Policy::default();
    let highest = policy.admits_any(["latest", "1.2.3", "v1.3.0", "landfall-keep-9"]);
    assert_eq!(highest, Some(Admitted::Version(semver::Version::new(1, 3, 0))));
    assert_eq!(policy.admits_any(["latest"]), None);
}

#[test]
fn notices_below_the_wanted_urgency_are_not_sent() {
    let policy = policy("[notify]\nat_least = \"warning\"");
    assert!(!policy.notifies(Urgency::Info));
    assert!(policy.notifies(Urgency::Warning) && policy.notifies(Urgency::Page));
    assert!(Policy::default().notifies(Urgency::Info));
}

fn freeze(cron: &str, lasts: &str, zone: &str) -> Policy {
    policy(&format!("[[freeze]]\ncron = \"{cron}\"\nlasts = \"{lasts}\"\nzone = \"{zone}\"\n"))
}

fn frozen_until(policy: &Policy, at: &str) -> Option<Moment> {
    policy.frozen(utc(at)).map(|frozen| frozen.until)
}

#[test]
fn a_freeze_is_on_from_its_start_until_its_end() {
    // Friday, 20 November 2026, 18:00 in Berlin is 17:00 UTC.
    let policy = freeze("0 18 * * FRI", "62h", "Europe/Berlin");
    assert_eq!(frozen_until(&policy, "2026-11-20 16:59"), None);
    let ends = Some(utc("2026-11-23 07:00"));
    assert_eq!(frozen_until(&policy, "2026-11-20 17:00"), ends);
    assert_eq!(policy.frozen(Moment(utc("2026-11-20 17:00").0 + 999)).map(|frozen| frozen.until), ends);
    assert_eq!(frozen_until(&policy, "2026-11-23 06:59"), ends);
    assert_eq!(frozen_until(&policy, "2026-11-23 07:00"), None);
    assert_eq!(
        policy.frozen(utc("2026-11-21 00:00")).map(|f| f.window.reason.as_str()),
        Some("cron 0 18 * * FRI")
    );
}

#[test]
fn of_two_freezes_the_one_that_ends_last_is_told() {
    let text = "[[freeze]]\ncron = \"0 0 * * *\"\nlasts = \"1h\"\n[[freeze]]\ncron = \"0 0 * * *\"\nlasts = \"3h\"\n";
    let policy = policy(text);
    assert_eq!(frozen_until(&policy, "2026-11-20 00:30"), Some(utc("2026-11-20 03:00")));
}

#[test]
fn a_freeze_whose_start_the_clock_skips_begins_right_after() {
    // On 29 March 2026 Berlin goes from 02:00 (01:00 UTC) to 03:00.
    let policy = freeze("30 2 * * *", "30m", "Europe/Berlin");
    assert_eq!(frozen_until(&policy, "2026-03-29 00:59"), None);
    assert_eq!(frozen_until(&policy, "2026-03-29 01:00"), Some(utc("2026-03-29 01:30")));
    assert_eq!(frozen_until(&policy, "2026-03-29 01:30"), None);
    assert_eq!(frozen_until(&policy, "2026-03-28 01:30"), Some(utc("2026-03-28 02:00")), "the day before");
}

#[test]
fn a_freeze_whose_start_the_clock_repeats_begins_once() {
    // On 25 October 2026 Berlin goes from 03:00 (01:00 UTC) back to 02:00: 02:30 is at 00:30 and 01:30 UTC.
    let policy = freeze("30 2 * * *", "30m", "Europe/Berlin");
    assert_eq!(frozen_until(&policy, "2026-10-25 00:30"), Some(utc("2026-10-25 01:00")));
    assert_eq!(frozen_until(&policy, "2026-10-25 01:00"), None);
    assert_eq!(frozen_until(&policy, "2026-10-25 01:30"), None, "the second 02:30 is no start");
    assert_eq!(frozen_until(&policy, "2026-10-25 01:45"), None);
}

#[test]
fn a_freeze_across_a_change_of_the_clock_lasts_as_long_as_it_says() {
    for (start, end) in [("2026-10-24 22:00", "2026-10-25 04:00"), ("2026-03-28 23:00", "2026-03-29 05:00")] {
        let policy = freeze("0 0 * * SUN", "6h", "Europe/Berlin");
        assert_eq!(frozen_until(&policy, start), Some(utc(end)));
        assert_eq!(frozen_until(&policy, end), None);
    }
}

#[test]
fn a_freeze_on_a_29_february_is_found_years_later() {
    let policy = freeze("0 0 29 2 *", "24h", "UTC");
    assert_eq!(frozen_until(&policy, "2028-02-29 12:00"), Some(utc("2028-03-01 00:00")));
    assert_eq!(frozen_until(&policy, "2027-03-01 00:00"), None);
}

#[test]
fn all_faults_are_told_at_once_each_with_its_line_and_what_would_be_right() {
    let text = faults(
        "[images]\nversion = \"1\"\norder = \"newest\"\n[proof]\nbake = 10\nrollout_slow = \"2d\"\n[retry]\nfirst = \"3h\"\n\
         [[freeze]]\ncron = \"0 18 * * FRY\"\nzone = \"Europe/Berln\"\n[scann]\n",
    );
    for expected in [
        "policy.toml:2:1: `images.version` is not a setting\n  2 | version = \"1\"\n    | ^^^^^^^\n  did you mean `versions`?",
        "policy.toml:3:9: `images.order` is \"newest\"",
        "write one of \"version\", \"push-time\"",
        "policy.toml:5:8: `proof.bake` is a number",
        "policy.toml:6:16: `proof.rollout_slow` is 2d",
        "it may be 1m to 1d",
        "policy.toml:8:9: `retry.first` (3h) is longer than `retry.longest` (1h)",
        "policy.toml:10:8: \"0 18 * * FRY\" is no cron line",
        "policy.toml:9:1: `freeze[0].lasts` is missing",
        "policy.toml:11:8: \"Europe/Berln\" is no time zone",
        "did you mean \"Europe/Berlin\"?",
        "policy.toml:12:2: `scann` is not a setting",
        "did you mean `scan`?",
        "9 faults",
    ] {
        assert!(text.contains(expected), "{expected}\n---\n{text}");
    }
}

#[test]
fn broken_syntax_is_told_without_guesses_about_the_rest() {
    let text = faults("[images]\nversions = *\nnonsense = 1\n");
    assert!(text.contains("policy.toml:2:12: not TOML"), "{text}");
    assert!(!text.contains("nonsense"), "{text}");
}

#[test]
fn what_reads_and_is_still_wrong_is_refused() {
    for (text, expected) in [
        ("[images]\nversions = \"1.x.y\"", "no range of versions"),
        ("[images]\nversions = \"main-*\"", "goes into `pattern`"),
        ("[images]\npattern = \"a[\"", "write a shell pattern"),
        ("[images]\npattern = \"\"", "is empty"),
        ("[images]\npattern = \"a\"\nversions = \"1\"", "leave one out"),
        ("[images]\nrepository = \"1.dkr.ecr.x.amazonaws.com/Shop\"", "cannot name a repository"),
        ("[[freeze]]\ncron = \"0 0 30 2 *\"\nlasts = \"1h\"", "never comes"),
        ("[[freeze]]\ncron = \"0 0 0 1 1 *\"\nlasts = \"1h\"", "write five fields"),
        ("[[freeze]]\ncron = \"0 0 1 1 *\"\nlasts = \"90s\"", "no whole number of minutes"),
        ("[[freeze]]\ncron = \"0 0 1 1 *\"\nlasts = \"32d\"", "it may be 1m to 31d"),
        ("freeze = true", "`[[freeze]]`"),
        ("images = 1", "make it a section: `[images]`"),
        ("[proof]\nbake = \"10\"", "with its unit"),
    ] {
        let told = faults(text);
        assert!(told.contains(expected), "{text}: {told}");
        assert!(told.ends_with("1 fault"), "{text}: {told}");
    }
}

proptest! {
    #[test]
    fn any_text_is_answered_without_a_panic(text in "[a-z\\[\\]=\"0-9 \n.*<>#]{0,80}") {
        let _ = Policy::parse(&text);
    }

    #[test]
    fn newer_is_a_total_order(tags in prop::collection::vec((0_u64..3, 0_u64..3, 0_i64..3), 3)) {
        let policy = Policy::default();
        let of = |(minor, patch, at): (u64, u64, i64)| {
            (admitted(&policy, &format!("v1.{minor}.{patch}")), Moment(at))
        };
        let [a, b, c] = [of(tags[0]), of(tags[1]), of(tags[2])];
        let newer = |a: &(Admitted, Moment), b: &(Admitted, Moment)| policy.newer((&a.0, a.1), (&b.0, b.1));
        prop_assert_eq!(newer(&a, &b), newer(&b, &a).reverse());
        if newer(&a, &b).is_le() && newer(&b, &c).is_le() {
            prop_assert!(newer(&a, &c).is_le());
        }
    }

    #[test]
    fn a_freeze_is_on_exactly_while_a_start_lies_within_its_length(
        minutes in 1_i64..600, at in 0_i64..(2 * 366 * 24 * 60), zone in 0_usize..4, cron in 0_usize..4
    ) {
        // The start of 2026 on; held against a search minute by minute, in zones with and without changes.
        let zone = [chrono_tz::UTC, chrono_tz::Europe::Berlin, chrono_tz::America::New_York, chrono_tz::Asia::Kolkata][zone];
        let cron = ["30 2 * * *", "*/20 1-3 * * *", "0 18 * * FRI", "15 0 1 * *"][cron];
        let policy = freeze(cron, &format!("{minutes}m"), zone.name());
        let start = utc("2026-01-01 00:00").0;
        let now = start + at * MINUTE_MS;
        let fixed = !cron.contains('/');
        let begins = |ms: i64| {
            let at = DateTime::<Utc>::from_timestamp_millis(ms).unwrap().with_timezone(&zone);
            let matches = policy.freezes[0].cron.is_time_matching(&at).unwrap();
            // A repeated time starts once where the line names one time a day.
            let first = zone.from_local_datetime(&at.naive_local()).earliest();
            matches && (!fixed || first == Some(at))
        };
        let skipped = |ms: i64| {
            // The minute right after a gap, where a named time lies in the gap.
            let at = DateTime::<Utc>::from_timestamp_millis(ms).unwrap().with_timezone(&zone);
            let before = DateTime::<Utc>::from_timestamp_millis(ms - MINUTE_MS).unwrap().with_timezone(&zone);
            let gap = (at.naive_local() - before.naive_local()).num_minutes();
            fixed && cron == "30 2 * * *" && gap > 1
        };
        let expected = (0..minutes).any(|back| {
            let ms = now - back * MINUTE_MS;
            begins(ms) || skipped(ms)
        });
        prop_assert_eq!(policy.frozen(Moment(now)).is_some(), expected);
    }
}
