//! Parse: the text of policy.toml into a [`Policy`], or all that is wrong with it.
//!
//! Order: a key is taken out of its table when it is read; what is left is unknown. A file whose syntax is broken says
//! nothing of unknown keys: they may only be misplaced.
//! Neighbours: fault.

use std::ops::Range;

use chrono::{TimeZone, Utc};
use croner::parser::{CronParser, Seconds, Year};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::*;
use crate::fault::{Fault, did_you_mean, nearest, shown};

const SECOND_MS: i64 = 1_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

pub(super) fn parse(source: &Source) -> Result<Policy, Faults> {
    let (document, syntax) = DeTable::parse_recoverable(&source.text);
    let mut reader = Reader { source, faults: Vec::new(), is_broken: !syntax.is_empty() };
    reader.syntax(syntax);
    let mut root = Section::new(String::new(), Some(document.get_ref()));
    let mut policy = Policy::default();
    reader.images(&mut root, &mut policy);
    reader.proof(&mut root, &mut policy);
    reader.rollback(&mut root, &mut policy);
    reader.retry(&mut root, &mut policy);
    reader.scan(&mut root, &mut policy);
    reader.notify(&mut root, &mut policy);
    reader.freezes(&mut root, &mut policy);
    reader.close(root);
    Faults::unless(reader.faults, Some(policy))
}

/// One table of the file.
struct Section<'d> {
    /// `images`; empty for the root.
    path: String,
    table: Option<&'d DeTable<'d>>,
    asked: Vec<&'static str>,
}

impl<'d> Section<'d> {
    fn new(path: String, table: Option<&'d DeTable<'d>>) -> Section<'d> {
        Section { path, table, asked: Vec::new() }
    }

    fn full(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn take(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.asked.push(key);
        self.table?.get(key)
    }
}

struct Reader<'a> {
    source: &'a Source,
    faults: Vec<Fault>,
    is_broken: bool,
}

/// A value and where it stands.
type Read<T> = Option<(T, Range<usize>)>;

impl Reader<'_> {
    fn images(&mut self, root: &mut Section<'_>, policy: &mut Policy) {
        let mut images = self.section(root, "images");
        if let Some((name, span)) = self.text(&mut images, "repository") {
            match check_repository(&name) {
                Ok(()) => policy.repository = Some(name),
                Err(right) => {
                    self.wrong(span, format!("{} cannot name a repository", shown(&name)), right);
                }
            }
        }
        let versions = self.text(&mut images, "versions");
        let pattern = self.text(&mut images, "pattern");
        if let (Some(_), Some((_, span))) = (&versions, &pattern) {
            self.wrong(
                span.clone(),
                "`images.pattern` stands beside `images.versions`",
                "leave one out: tags are chosen by a range of versions or by a pattern",
            );
        }
        if let Some((range, span)) = versions {
            match semver::VersionReq::parse(&range) {
                Ok(range) => policy.tags = TagRule::Semver(range),
                Err(error) => self.wrong(
                    span,
                    format!("`images.versions` is {}, which is no range of versions: {error}", shown(&range)),
                    "write \"*\", \"^1.4\", \">=1.2, <3\" or \"~1.2.3\"; a pattern such as \"main-*\" goes into `pattern`",
                ),
            }
        }
        if let Some((pattern, span)) = pattern {
            match glob::Pattern::new(&pattern) {
                Ok(glob) if !pattern.is_empty() => {
                    policy.tags = TagRule::Pattern(glob);
                    policy.order = Order::PushTime;
                }
                Ok(_) => self.wrong(span, "`images.pattern` is empty", "write a pattern: \"main-*\""),
                Err(error) => self.wrong(
                    span,
                    format!("`images.pattern` is {}: {}", shown(&pattern), error.msg),
                    "write a shell pattern of `*`, `?` and `[…]`: \"main-*\"",
                ),
            }
        }
        let orders = [("version", Order::Version), ("push-time", Order::PushTime)];
        if let Some(order) = self.choice(&mut images, "order", &orders) {
            policy.order = order;
        }
        if let Some(approval) = self.flag(&mut images, "approval") {
            policy.approval = approval;
        }
        self.close(images);
    }

    fn proof(&mut self, root: &mut Section<'_>, policy: &mut Policy) {
        let mut proof = self.section(root, "proof");
        self.duration(&mut proof, "bake", 0..=DAY_MS, &mut policy.bake_ms);
        self.duration(&mut proof, "rollout_slow", MINUTE_MS..=DAY_MS, &mut policy.rollout_slow_ms);
        let choices = [("after-verdict", Supersede::AfterVerdict), ("at-once", Supersede::AtOnce)];
        if let Some(supersede) = self.choice(&mut proof, "supersede", &choices) {
            policy.supersede = supersede;
        }
        self.close(proof);
    }

    fn rollback(&mut self, root: &mut Section<'_>, policy: &mut Policy) {
        let mut rollback = self.section(root, "rollback");
        if let Some(enabled) = self.flag(&mut rollback, "enabled") {
            policy.rollback = enabled;
        }
        let choices = [("keep", OnNoTarget::Keep), ("stop", OnNoTarget::Stop)];
        if let Some(on_no_target) = self.choice(&mut rollback, "on_no_target", &choices) {
            policy.on_no_target = on_no_target;
        }
        self.close(rollback);
    }

    fn retry(&mut self, root: &mut Section<'_>, policy: &mut Policy) {
        let mut retry = self.section(root, "retry");
        let bounds = MINUTE_MS..=7 * DAY_MS;
        let first = self.duration(&mut retry, "first", bounds.clone(), &mut policy.retry_first_ms);
        let longest = self.duration(&mut retry, "longest", bounds, &mut policy.retry_max_ms);
        if policy.retry_first_ms > policy.retry_max_ms
            && let Some(span) = longest.or(first)
        {
            self.wrong(
                span,
                format!(
                    "`retry.first` ({}) is longer than `retry.longest` ({})",
                    show_ms(policy.retry_first_ms),
                    show_ms(policy.retry_max_ms)
                ),
                "the wait begins at `first` and doubles up to `longest`",
            );
        }
        self.close(retry);
    }

    fn scan(&mut self, root: &mut Section<'_>, policy: &mut Policy) {
        let mut scan = self.section(root, "scan");
        let choices = [
            ("undefined", Severity::Undefined),
            ("informational", Severity::Informational),
            ("low", Severity::Low),
            ("medium", Severity::Medium),
            ("high", Severity::High),
            ("critical", Severity::Critical),
        ];
        if let Some(passes) = self.choice(&mut scan, "passes", &choices) {
            policy.scan.passes = Some(passes);
        }
        self.duration(&mut scan, "wait", MINUTE_MS..=7 * DAY_MS, &mut policy.scan.wait_ms);
        self.close(scan);
    }

    fn notify(&mut self, root: &mut Section<'_>, policy: &mut Policy) {
        let mut notify = self.section(root, "notify");
        let choices = [("info", Urgency::Info), ("warning", Urgency::Warning), ("page", Urgency::Page)];
        if let Some(at_least) = self.choice(&mut notify, "at_least", &choices) {
            policy.notify = at_least;
        }
        self.close(notify);
    }

    fn freezes(&mut self, root: &mut Section<'_>, policy: &mut Policy) {
        let Some(value) = root.take("freeze") else { return };
        let right = "write each freeze as a section of its own: `[[freeze]]`";
        let DeValue::Array(items) = value.get_ref() else {
            return self.wrong(value.span(), format!("`freeze` is {}", kind_of(value.get_ref())), right);
        };
        for (index, item) in items.iter().enumerate() {
            let DeValue::Table(table) = item.get_ref() else {
                self.wrong(item.span(), format!("`freeze[{index}]` is {}", kind_of(item.get_ref())), right);
                continue;
            };
            let section = Section::new(format!("freeze[{index}]"), Some(table));
            if let Some(window) = self.freeze(section, item.span()) {
                policy.freezes.push(window);
            }
        }
    }

    fn freeze(&mut self, mut section: Section<'_>, header: Range<usize>) -> Option<FreezeWindow> {
        let text = self.text(&mut section, "cron");
        let cron = text.clone().and_then(|(text, span)| self.cron(&text, span));
        let mut lasts_ms = 0;
        let mut lasts = self.duration(&mut section, "lasts", MINUTE_MS..=31 * DAY_MS, &mut lasts_ms);
        if lasts_ms % MINUTE_MS != 0
            && let Some(span) = lasts.take()
        {
            self.wrong(span, format!("`{}` is no whole number of minutes", section.full("lasts")), "");
        }
        let zone = match self.text(&mut section, "zone") {
            None => chrono_tz::UTC,
            Some((name, span)) => match name.parse() {
                Ok(zone) => zone,
                Err(_) => {
                    let known = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
                    let right = match nearest(&name, known) {
                        Some(near) => format!("did you mean \"{near}\"?"),
                        None => "write a name of the IANA database: \"Europe/Berlin\"".to_owned(),
                    };
                    self.wrong(span, format!("{} is no time zone", shown(&name)), right);
                    chrono_tz::UTC
                }
            },
        };
        let reason = self.text(&mut section, "reason").map(|(text, _)| text);
        for (key, example) in [("cron", "\"0 18 * * FRI\""), ("lasts", "\"62h\"")] {
            if section.table.is_some_and(|table| table.get(key).is_none()) && !self.is_broken {
                let path = section.full(key);
                self.wrong(
                    header.clone(),
                    format!("`{path}` is missing"),
                    format!("write `{key} = {example}`"),
                );
            }
        }
        self.close(section);
        let cron = cron?;
        lasts?;
        let reason = reason.or(text.map(|(text, _)| format!("cron {text}"))).unwrap_or_default();
        Some(FreezeWindow { minutes: lasts_ms / MINUTE_MS, zone, reason, cron })
    }

    /// Five fields, no seconds and years, and it comes at all: then looking for its last start cannot go wrong.
    fn cron(&mut self, text: &str, span: Range<usize>) -> Option<croner::Cron> {
        let right = "write five fields, minute, hour, day of month, month and day of week: \"0 18 * * FRI\"";
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = match parser.parse(text) {
            Ok(cron) => cron,
            Err(error) => {
                self.wrong(span, format!("{} is no cron line: {error}", shown(text)), right);
                return None;
            }
        };
        // Within forty years there is a 29 February on each day of the week.
        let from = Utc.with_ymd_and_hms(2000, 1, 1, 0, 0, 0).single()?;
        let until = Utc.with_ymd_and_hms(2040, 1, 1, 0, 0, 0).single()?;
        if !cron.find_next_occurrence(&from, true).is_ok_and(|next| next < until) {
            self.wrong(span, format!("{} names a time that never comes", shown(text)), right);
            return None;
        }
        Some(cron)
    }

    fn syntax(&mut self, errors: Vec<toml::de::Error>) {
        // One slip often makes the parser complain several times; the first complaint of a line is the useful one.
        let mut told = None;
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            let line = self.source.place(span.clone()).line;
            if told == Some(line) {
                continue;
            }
            told = Some(line);
            let right = match error.message() {
                "duplicate key" => "leave one out",
                _ => {
                    "write strings in quotes, keys as `name = value`, sections as `[name]` (https://toml.io)"
                }
            };
            let wrong = format!("not TOML: {}", error.message().trim().replace('\n', ", "));
            self.faults.push(self.source.fault(span, wrong, right));
        }
    }

    fn wrong(&mut self, span: Range<usize>, wrong: impl Into<String>, right: impl Into<String>) {
        self.faults.push(self.source.fault(span, wrong, right));
    }

    fn section<'d>(&mut self, parent: &mut Section<'d>, key: &'static str) -> Section<'d> {
        let path = parent.full(key);
        let table = parent.take(key).and_then(|value| match value.get_ref() {
            DeValue::Table(table) => Some(table),
            other => {
                let wrong = format!("`{path}` is {}", kind_of(other));
                self.wrong(value.span(), wrong, format!("make it a section: `[{path}]`"));
                None
            }
        });
        Section::new(path, table)
    }

    /// Every key of this section has been asked for: tells of those that nobody knows.
    fn close(&mut self, section: Section<'_>) {
        let Some(table) = section.table else { return };
        if self.is_broken {
            return;
        }
        for key in table.keys().filter(|key| !section.asked.contains(&key.get_ref().as_ref())) {
            let right = did_you_mean(key.get_ref(), section.asked.iter().copied());
            self.wrong(key.span(), format!("`{}` is not a setting", section.full(key.get_ref())), right);
        }
    }

    fn parsed<T>(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        right: &str,
        read: impl Fn(&DeValue<'_>) -> Option<T>,
    ) -> Read<T> {
        let path = section.full(key);
        let value = section.take(key)?;
        match read(value.get_ref()) {
            Some(read) => Some((read, value.span())),
            None => {
                let what = match value.get_ref() {
                    DeValue::String(text) => shown(text),
                    other => kind_of(other).to_owned(),
                };
                self.wrong(value.span(), format!("`{path}` is {what}"), right);
                None
            }
        }
    }

    fn text(&mut self, section: &mut Section<'_>, key: &'static str) -> Read<String> {
        self.parsed(section, key, "write it as a string, in quotes", |value| {
            value.as_str().map(str::to_owned)
        })
    }

    fn flag(&mut self, section: &mut Section<'_>, key: &'static str) -> Option<bool> {
        let read = self.parsed(section, key, "write `true` or `false`", |value| value.as_bool());
        read.map(|(flag, _)| flag)
    }

    fn choice<T: Copy>(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let right = format!("write one of {}", names.join(", "));
        let pick = |value: &DeValue<'_>| {
            let text = value.as_str()?;
            choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice)
        };
        self.parsed(section, key, &right, pick).map(|(choice, _)| choice)
    }

    /// Writes milliseconds into `into`, unless the key is absent or wrong; answers where it stood.
    fn duration(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        bounds: std::ops::RangeInclusive<i64>,
        into: &mut i64,
    ) -> Option<Range<usize>> {
        let right = "write a duration with its unit: \"90s\", \"10m\", \"1h30m\", \"2d\"";
        let (ms, span) = self.parsed(section, key, right, |value| duration_ms(value.as_str()?))?;
        if !bounds.contains(&ms) {
            let wrong = format!("`{}` is {}", section.full(key), show_ms(ms));
            let right = format!("it may be {} to {}", show_ms(*bounds.start()), show_ms(*bounds.end()));
            self.wrong(span, wrong, right);
            return None;
        }
        *into = ms;
        Some(span)
    }
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// `"90s"`, `"1h30m"`; whole numbers with units only.
fn duration_ms(text: &str) -> Option<i64> {
    let mut rest = text.trim();
    let mut total = 0_i64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let scale = match unit {
            "s" => SECOND_MS,
            "m" => MINUTE_MS,
            "h" => HOUR_MS,
            "d" => DAY_MS,
            _ => return None,
        };
        total = total.checked_add(number.parse::<i64>().ok()?.checked_mul(scale)?)?;
        rest = after.trim_start();
    }
    Some(total)
}

fn show_ms(ms: i64) -> String {
    let parts = [
        (ms / DAY_MS, "d"),
        (ms % DAY_MS / HOUR_MS, "h"),
        (ms % HOUR_MS / MINUTE_MS, "m"),
        (ms % MINUTE_MS / SECOND_MS, "s"),
    ];
    let shown: String = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, unit)| format!("{number}{unit}"))
        .collect();
    if shown.is_empty() { "0s".to_owned() } else { shown }
}

/// ECR's own rule for repository names.
pub(crate) fn check_repository(name: &str) -> Result<(), &'static str> {
    let right = "write the name alone, without registry and tag: 2 to 256 lower-case letters, digits and `/`, `-`, \
                 `_`, `.` between them";
    let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let part_reads = |part: &str| {
        ends(part.bytes().next())
            && ends(part.bytes().last())
            && part.bytes().all(|b| ends(Some(b)) || matches!(b, b'-' | b'_' | b'.'))
    };
    if (2..=256).contains(&name.len()) && name.split('/').all(part_reads) { Ok(()) } else { Err(right) }
}
