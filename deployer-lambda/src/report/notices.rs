//! Notices: what a person at 3 a.m. is told: what happened, what Landfall did, what to look at, the command to type.

use serde_json::{Value, json};

use crate::clock::rfc3339;
use crate::event::Place;
use crate::journal::{Cause, Notice, Record, Urgency};
use crate::observe::facts::{Scan, Stop};
use crate::policy::Severity;
use crate::release::{Digest, Moment, ReleaseId, RevisionArn};

/// Characters of a subject: SNS takes fewer than 100.
pub const SUBJECT_MAX: usize = 99;

/// Where things are to be looked at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Whereabouts {
    pub pipeline: String,
    /// The Lambda function's name, for the commands to type.
    pub function: String,
    pub place: Place,
    pub logs: Option<Logs>,
}

/// Where the worker's container logs to, by the awslogs driver.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Logs {
    pub group: String,
    /// `<awslogs-stream-prefix>/<container>`; a task's stream is this, a slash and the task's id.
    pub stream_prefix: String,
}

impl Logs {
    /// Of the first container of a rendered task definition; none where it does not log to CloudWatch.
    pub fn of(task_definition: &Value) -> Option<Logs> {
        let container = task_definition.pointer("/containerDefinitions/0")?;
        let options = container.pointer("/logConfiguration/options")?;
        let text = |from: &Value, name: &str| from.get(name).and_then(Value::as_str).map(str::to_owned);
        let (prefix, name) = (text(options, "awslogs-stream-prefix")?, text(container, "name")?);
        Some(Logs { group: text(options, "awslogs-group")?, stream_prefix: format!("{prefix}/{name}") })
    }
}

/// The release that a notice is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub tags: &'a [String],
    pub release: &'a ReleaseId,
    pub digest: &'a Digest,
}

impl<'a> From<&'a Record> for Subject<'a> {
    fn from(record: &'a Record) -> Subject<'a> {
        Subject { tags: &record.tags, release: &record.release, digest: &record.digest }
    }
}

impl Subject<'_> {
    /// As people call it: by its tag, where it has one.
    fn called(&self) -> &str {
        let tag = self.tags.iter().find(|tag| !tag.starts_with("landfall-keep-"));
        tag.map_or_else(|| self.digest.short(), String::as_str)
    }

    fn whole(&self) -> String {
        format!("{} (release {}, image {})", self.called(), self.release, self.digest)
    }
}

/// How a task of the release ended.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    pub task: &'a str,
    pub stop: &'a Stop,
}

/// What is worth a notice. `why` completes "it failed: …".
#[derive(Clone, Copy, Debug)]
pub enum Happening<'a> {
    /// A release began its proof.
    Started {
        release: Subject<'a>,
        before: Option<Subject<'a>>,
    },
    /// A service without a journal was taken over as it is.
    Adopted {
        release: Subject<'a>,
    },
    /// The way back has begun; its end has its own notice.
    GoingBack {
        from: Subject<'a>,
        to: Subject<'a>,
        cause: Cause,
        why: &'a str,
        end: Option<End<'a>>,
    },
    /// The good one runs again. `end` is of the task that tells most.
    RolledBack {
        is_rejected: bool,
        from: Subject<'a>,
        to: Subject<'a>,
        cause: Cause,
        why: &'a str,
        end: Option<End<'a>>,
    },
    /// The release's surroundings are at fault.
    Blocked {
        release: Subject<'a>,
        why: &'a str,
        runs: Option<Subject<'a>>,
        retry_at: Moment,
        end: Option<End<'a>>,
    },
    /// It failed, and nothing proven is left to go back to.
    NoTarget {
        release: Subject<'a>,
        why: &'a str,
        is_stopped: bool,
        end: Option<End<'a>>,
    },
    /// `is_quiet`: complete, but no data came.
    Healthy {
        release: Subject<'a>,
        before: Option<Subject<'a>>,
        is_quiet: bool,
    },
    WaitingForApproval {
        release: Subject<'a>,
    },
    ScanHeld {
        release: Subject<'a>,
        scan: Scan,
        passes: Severity,
    },
    /// ECS went back by itself, by circuit breaker or alarm. `reason` is ECS's.
    EcsRolledBack {
        from: Subject<'a>,
        to: &'a RevisionArn,
        reason: &'a str,
    },
    /// The service was found on a revision that nobody announced.
    Drift {
        expected: Subject<'a>,
        found: &'a RevisionArn,
        is_put_right: bool,
    },
    /// Somebody pointed the service elsewhere while the release was under proof.
    Displaced {
        release: Subject<'a>,
        why: &'a str,
    },
    /// The newest image may not be released, for another reason than approval or scan.
    Held {
        release: Subject<'a>,
        why: &'a str,
    },
    /// A deployment of the proven release failed on the way back.
    WayBackFailed {
        to: Subject<'a>,
        why: &'a str,
        retry_at: Moment,
        /// No other proven release is left to try.
        gives_up: bool,
    },
    RolloutSlow {
        release: Subject<'a>,
        minutes: i64,
        reason: &'a str,
    },
    /// The way back does not come to its end.
    StuckWayBack {
        from: Subject<'a>,
        to: Subject<'a>,
        since: Moment,
        why: &'a str,
    },
    /// A call was understood and refused.
    Refused {
        why: &'a str,
        is_denied: bool,
    },
    /// The image of the release to go back to is no longer in the registry.
    ImageGone {
        release: Subject<'a>,
    },
}

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
        Happening::Started { release, before } => started(at, release, before),
        Happening::Adopted { release } => adopted(at, release),
        Happening::GoingBack { from, to, cause, why, end } => going_back(at, from, to, cause, bare(why), end),
        Happening::RolledBack { is_rejected, from, to, cause, why, end } => {
            rolled_back(at, from, to, (cause, is_rejected), bare(why), end)
        }
        Happening::Blocked { release, why, runs, retry_at, end } => {
            blocked(at, release, bare(why), runs, retry_at, end)
        }
        Happening::NoTarget { release, why, is_stopped, end } => {
            no_target(at, release, bare(why), is_stopped, end)
        }
        Happening::Healthy { release, before, is_quiet } => healthy(at, release, before, is_quiet),
        Happening::WaitingForApproval { release } => waiting(at, release),
        Happening::ScanHeld { release, scan, passes } => scan_held(at, release, scan, passes),
        Happening::EcsRolledBack { from, to, reason } => ecs_rolled_back(at, from, to, reason),
        Happening::Drift { expected, found, is_put_right } => drift(at, expected, found, is_put_right),
        Happening::Displaced { release, why } => displaced(at, release, bare(why)),
        Happening::Held { release, why } => held(at, release, bare(why)),
        Happening::WayBackFailed { to, why, retry_at, gives_up } => {
            way_back_failed(at, to, bare(why), retry_at, gives_up)
        }
        Happening::RolloutSlow { release, minutes, reason } => slow(at, release, minutes, reason),
        Happening::StuckWayBack { from, to, since, why } => stuck(at, from, to, since, bare(why)),
        Happening::Refused { why, is_denied } => refused(at, bare(why), is_denied),
        Happening::ImageGone { release } => image_gone(at, release),
    };
    let subject = subject(&format!("{}: {}", at.pipeline, words.subject));
    Notice { id, at: now, urgency: words.urgency, subject, text: text(&words, at, now) }
}

fn started(at: &Whereabouts, release: Subject<'_>, before: Option<Subject<'_>>) -> Words {
    let before =
        before.map_or_else(String::new, |before| format!(" {} runs until it is up.", before.whole()));
    Words {
        urgency: Urgency::Info,
        subject: format!("{} is being released", release.called()),
        happened: format!("{} is the newest image that the policy admits.", release.whole()),
        did: format!("The service was pointed at it.{before} Its verdict has its own notice."),
        look: looks(at, None),
        commands: vec![("how it stands now", at.status())],
    }
}

fn adopted(at: &Whereabouts, release: Subject<'_>) -> Words {
    Words {
        urgency: Urgency::Info,
        subject: format!("the service was adopted with {}", release.called()),
        happened: format!("The service was there before Landfall, and runs {}.", release.whole()),
        did: "It was taken over as it is; nothing was changed.".to_owned(),
        look: looks(at, None),
        commands: vec![("how it stands now", at.status())],
    }
}

fn going_back(
    at: &Whereabouts,
    from: Subject<'_>,
    to: Subject<'_>,
    cause: Cause,
    why: &str,
    end: Option<End<'_>>,
) -> Words {
    let by_person = cause == Cause::Person;
    Words {
        urgency: if by_person { Urgency::Info } else { Urgency::Warning },
        subject: format!("{} is being rolled back to {}", from.called(), to.called()),
        happened: format!("{} is left: {why}.{}", from.whole(), ended(end)),
        did: format!("{} is being brought back; another notice tells when it runs.", to.whole()),
        look: looks(at, end),
        commands: vec![("how it stands now", at.status())],
    }
}

fn displaced(at: &Whereabouts, release: Subject<'_>, why: &str) -> Words {
    Words {
        urgency: Urgency::Warning,
        subject: format!("{} was taken off the service by somebody", release.called()),
        happened: format!(
            "{} was under proof and is no longer what the service runs: {why}.",
            release.whole()
        ),
        did: "It got no verdict: it is not rejected, and it is not fought for.".to_owned(),
        look: looks(at, None),
        commands: vec![
            ("who called UpdateService", at.who_updated()),
            ("release it again", {
                at.command("operate", &json!({"command": "deploy", "what": release.release}))
            }),
        ],
    }
}

fn held(at: &Whereabouts, release: Subject<'_>, why: &str) -> Words {
    Words {
        urgency: Urgency::Warning,
        subject: format!("{} is not released", release.called()),
        happened: format!("{} is the newest image, and it may not be released: {why}.", release.whole()),
        did: "What runs goes on running.".to_owned(),
        look: Vec::new(),
        commands: vec![("all that is checked", {
            at.command("read", &json!({"command": "verify", "what": release.digest}))
        })],
    }
}

fn refused(at: &Whereabouts, why: &str, is_denied: bool) -> Words {
    let did =
        "Nothing was changed. It is tried again, less and less often, and as soon as something changes.";
    Words {
        urgency: if is_denied { Urgency::Page } else { Urgency::Warning },
        subject: if is_denied {
            "the deployer lacks a permission"
        } else {
            "AWS refused a call of the deployer"
        }
        .to_owned(),
        happened: format!("The next step could not be taken: {why}."),
        did: did.to_owned(),
        look: Vec::new(),
        commands: vec![("how it stands now", at.status())],
    }
}

fn way_back_failed(at: &Whereabouts, to: Subject<'_>, why: &str, retry_at: Moment, gives_up: bool) -> Words {
    let when = rfc3339(retry_at);
    let did = if gives_up {
        format!(
            "No other proven release is left to go back to. It is tried again at {when} and later on; a newer image is \
             released as soon as it is pushed."
        )
    } else {
        format!("It is tried again at {when}, and nothing else is done meanwhile.")
    };
    Words {
        urgency: Urgency::Page,
        subject: format!("going back to {} failed", to.called()),
        happened: format!("{} was proven here before, and did not come up again: {why}.", to.whole()),
        did,
        look: looks(at, None),
        commands: vec![
            ("how it stands now", at.status()),
            ("take all tasks away, so that nothing half-good writes", {
                at.command("operate", &json!({"command": "stop", "reason": "..."}))
            }),
        ],
    }
}

fn rolled_back(
    at: &Whereabouts,
    from: Subject<'_>,
    to: Subject<'_>,
    (cause, is_rejected): (Cause, bool),
    why: &str,
    end: Option<End<'_>>,
) -> Words {
    let by_person = cause == Cause::Person;
    let command = |verb: &str| json!({"command": verb, "what": from.release, "reason": "..."});
    let (so, hint, command) = if is_rejected {
        (
            "The one that was left is rejected: it is not released again, unless a person says so.",
            "let the rejected one be released again, if it was not its fault",
            command("release"),
        )
    } else {
        (
            "The one that was left is not rejected: it is tried again when its surroundings may be well.",
            "give the one that was left up",
            command("reject"),
        )
    };
    Words {
        urgency: if by_person { Urgency::Info } else { Urgency::Warning },
        subject: format!("rolled back from {} to {}", from.called(), to.called()),
        happened: format!("{} was left: {why}.{}", from.whole(), ended(end)),
        did: format!("{} runs again. {so}", to.whole()),
        look: looks(at, end),
        commands: vec![("how it stands now", at.status()), (hint, at.command("operate", &command))],
    }
}

fn blocked(
    at: &Whereabouts,
    release: Subject<'_>,
    why: &str,
    runs: Option<Subject<'_>>,
    retry_at: Moment,
    end: Option<End<'_>>,
) -> Words {
    let keeps = match runs {
        Some(runs) => format!("{} goes on running.", runs.whole()),
        None => "Nothing else was running: the service has no working release now.".to_owned(),
    };
    Words {
        urgency: if runs.is_some() { Urgency::Warning } else { Urgency::Page },
        subject: format!("{} is blocked by its surroundings", release.called()),
        happened: format!(
            "{} did not come up, and it seems not to be its fault: {why}.{}",
            release.whole(),
            ended(end)
        ),
        did: format!("{keeps} It is tried again at {}; it is not rejected.", rfc3339(retry_at)),
        look: looks(at, end),
        commands: vec![
            ("try again at once, when the cause is gone", {
                at.command("operate", &json!({"command": "deploy", "what": release.release}))
            }),
            (
                "give it up",
                at.command(
                    "operate",
                    &json!({"command": "reject", "what": release.release, "reason": "..."}),
                ),
            ),
        ],
    }
}

fn no_target(
    at: &Whereabouts,
    release: Subject<'_>,
    why: &str,
    is_stopped: bool,
    end: Option<End<'_>>,
) -> Words {
    let did = if is_stopped {
        "No proven release is left to go back to. The service was scaled to 0 tasks, as the policy says \
         (on_no_target). Kafka keeps what comes meanwhile, as long as the topic's retention lasts."
    } else {
        "No proven release is left to go back to. It was left running, as the policy says (on_no_target): ECS goes on \
         starting it. Nothing is rejected."
    };
    let command = if is_stopped {
        ("start it again", json!({"command": "start"}))
    } else {
        ("stop it until there is a repaired image", json!({"command": "stop", "reason": "..."}))
    };
    Words {
        urgency: Urgency::Page,
        subject: format!("{} fails and there is nothing to go back to", release.called()),
        happened: format!("{} failed: {why}.{}", release.whole(), ended(end)),
        did: did.to_owned(),
        look: looks(at, end),
        commands: vec![
            (command.0, at.command("operate", &command.1)),
            ("what was ever released here", at.command("read", &json!({"command": "history"}))),
        ],
    }
}

fn healthy(at: &Whereabouts, release: Subject<'_>, before: Option<Subject<'_>>, is_quiet: bool) -> Words {
    let before = before.map_or_else(String::new, |before| format!(" It came after {}.", before.whole()));
    let (subject, happened) = if is_quiet {
        (
            format!("{} runs, unproven by data", release.called()),
            "its deployment completed and nothing failed, but no data came that could have proven it",
        )
    } else {
        (
            format!("{} is healthy", release.called()),
            "its deployment completed and nothing failed through the bake",
        )
    };
    let back = json!({"command": "rollback", "expect": release.release, "reason": "..."});
    Words {
        urgency: Urgency::Info,
        subject,
        happened: format!("{} runs: {happened}.{before}", release.whole()),
        did: "Its image is kept in the registry, as a release to go back to.".to_owned(),
        look: Vec::new(),
        commands: vec![("leave it again, if you see what we do not", at.command("operate", &back))],
    }
}

fn waiting(at: &Whereabouts, release: Subject<'_>) -> Words {
    let approve = json!({"command": "approve", "what": release.digest, "by": "..."});
    Words {
        urgency: Urgency::Info,
        subject: format!("{} waits for approval", release.called()),
        happened: format!("{} was pushed, and the policy asks for a person's approval.", release.whole()),
        did: "Nothing: what runs goes on running.".to_owned(),
        look: Vec::new(),
        commands: vec![
            ("what would change", {
                at.command("read", &json!({"command": "diff", "what": release.digest}))
            }),
            ("approve it", at.command("approve", &approve)),
        ],
    }
}

fn scan_held(at: &Whereabouts, release: Subject<'_>, scan: Scan, passes: Severity) -> Words {
    let passes = severity(passes);
    let found = match scan {
        Scan::Pending => "its scan has not ended in the time that the policy gives it".to_owned(),
        Scan::NoAnswer => "the scan gives no answer for it (failed, not supported or expired)".to_owned(),
        Scan::Done(None) => "its scan ended without a finding".to_owned(),
        Scan::Done(Some(worst)) => format!("its worst finding is {}", severity(worst)),
    };
    let place = &at.place;
    let url = format!(
        "https://{}/ecr/repositories/private/{}/{}?region={}",
        console(&place.region),
        place.account,
        place.repository,
        place.region
    );
    Words {
        urgency: Urgency::Warning,
        subject: format!("{} is held back by its scan", release.called()),
        happened: format!("{} is not released: {found}, and the policy lets {passes} pass.", release.whole()),
        did: "What runs goes on running. A newer image, or another answer of the scan, lets releases go on."
            .to_owned(),
        look: vec![format!("its findings: {url}")],
        commands: vec![("the findings as text", {
            format!(
                "aws ecr describe-image-scan-findings --region {} --repository-name {} --image-id imageDigest={}",
                place.region, place.repository, release.digest
            )
        })],
    }
}

fn ecs_rolled_back(at: &Whereabouts, from: Subject<'_>, to: &RevisionArn, reason: &str) -> Words {
    Words {
        urgency: Urgency::Warning,
        subject: format!("ECS rolled {} back by itself", from.called()),
        happened: format!(
            "ECS gave {} up and went back to {}: {}.",
            from.whole(),
            to.short(),
            bare(reason)
        ),
        did: "Nothing while ECS is at it. When it has ended, the release gets its verdict, and a notice tells it."
            .to_owned(),
        look: looks(at, None),
        commands: vec![("how it stands now", at.status())],
    }
}

fn drift(at: &Whereabouts, expected: Subject<'_>, found: &RevisionArn, is_put_right: bool) -> Words {
    let did = if is_put_right {
        format!("The service was pointed at {} again.", expected.called())
    } else {
        "Nothing: it came back after it had been put right before, and two who fight over a service do harm."
            .to_owned()
    };
    let found_name = found.short();
    Words {
        urgency: if is_put_right { Urgency::Warning } else { Urgency::Page },
        subject: format!("the service ran {found_name}, which nobody announced"),
        happened: format!(
            "The service was to run {} and was found on {found_name}. Somebody changed it past Landfall: by hand, or \
             by a CloudFormation stack or a Terraform plan that owns the service's task definition.",
            expected.whole()
        ),
        did,
        look: looks(at, None),
        commands: vec![("who called UpdateService", at.who_updated()), ("how it stands now", at.status())],
    }
}

fn slow(at: &Whereabouts, release: Subject<'_>, minutes: i64, reason: &str) -> Words {
    let back = json!({"command": "rollback", "expect": release.release, "reason": "..."});
    let says = if reason.is_empty() {
        "ECS says nothing about it".to_owned()
    } else {
        format!("ECS says: {reason}")
    };
    Words {
        urgency: Urgency::Warning,
        subject: format!("the rollout of {} takes long", release.called()),
        happened: format!(
            "{} has been rolling out for {minutes} minutes and is not complete. {}.",
            release.whole(),
            bare(&says)
        ),
        did: "Nothing: slow is not failed. It is called failed when ECS or its tasks say so.".to_owned(),
        look: looks(at, None),
        commands: vec![("leave it, if you know that it will not come up", at.command("operate", &back))],
    }
}

fn stuck(at: &Whereabouts, from: Subject<'_>, to: Subject<'_>, since: Moment, why: &str) -> Words {
    Words {
        urgency: Urgency::Page,
        subject: format!("the way back from {} to {} is stuck", from.called(), to.called()),
        happened: format!(
            "Since {} Landfall has been going back from {} to {}, and it does not come to an end: {why}.",
            rfc3339(since),
            from.whole(),
            to.whole()
        ),
        did: "It goes on trying, and does nothing else meanwhile.".to_owned(),
        look: looks(at, None),
        commands: vec![
            ("how it stands now", at.status()),
            (
                "take all tasks away, so that nothing half-good writes",
                at.command("operate", &json!({"command": "stop", "reason": "..."})),
            ),
        ],
    }
}

fn image_gone(at: &Whereabouts, release: Subject<'_>) -> Words {
    Words {
        urgency: Urgency::Warning,
        subject: format!("the image of {} is gone", release.called()),
        happened: format!(
            "{} was proven here and could have been gone back to, but its image is no longer in the registry.",
            release.whole()
        ),
        did: "It is passed over: an older proven release is taken, if there is one.".to_owned(),
        look: vec![format!(
            "the lifecycle rules of the repository {}: the first is to keep tags that start with `landfall-keep-`",
            at.place.repository
        )],
        commands: vec![("what there is to go back to", {
            at.command("read", &json!({"command": "history"}))
        })],
    }
}

impl Whereabouts {
    fn status(&self) -> String {
        self.command("read", &json!({"command": "status"}))
    }

    fn who_updated(&self) -> String {
        format!(
            "aws cloudtrail lookup-events --region {} --max-results 10 \
             --lookup-attributes AttributeKey=EventName,AttributeValue=UpdateService",
            self.place.region
        )
    }

    /// A command as it is typed into a shell.
    fn command(&self, alias: &str, payload: &Value) -> String {
        format!(
            "aws lambda invoke --region {} --function-name {} --qualifier {alias} \
             --cli-binary-format raw-in-base64-out --payload '{payload}' /dev/stdout",
            self.place.region, self.function
        )
    }
}

/// ECS's page and the logs.
fn looks(at: &Whereabouts, end: Option<End<'_>>) -> Vec<String> {
    let place = &at.place;
    let mut looks = vec![format!(
        "the service: https://{}/ecs/v2/clusters/{}/services/{}/deployments?region={}",
        console(&place.region),
        place.cluster_name(),
        place.service_name(),
        place.region
    )];
    if let Some(logs) = &at.logs {
        let stream = match end {
            Some(end) => format!("{}/{}", logs.stream_prefix, end.task),
            None => logs.stream_prefix.clone(),
        };
        looks.push(format!("its log: group {}, stream {stream}", logs.group));
        looks.push(format!(
            "the same as text: aws logs tail {} --region {} --since 1h --log-stream-name-prefix {stream}",
            logs.group, place.region
        ));
    }
    looks
}

fn console(region: &str) -> String {
    let domain = match region.split('-').next() {
        Some("cn") => "console.amazonaws.cn",
        _ if region.starts_with("us-gov-") => "console.amazonaws-us-gov.com",
        _ => "console.aws.amazon.com",
    };
    format!("{region}.{domain}")
}

/// How a task ended, as a sentence with a space before it.
fn ended(end: Option<End<'_>>) -> String {
    let Some(End { task, stop }) = end else { return String::new() };
    let mut said = format!(" Task {task} stopped at {}", rfc3339(stop.at));
    if let Some(code) = stop.exit_code {
        said.push_str(&format!(" with exit code {code}{}", exit_code(code)));
    }
    for words in [&stop.reason, &stop.container_reason] {
        if !words.is_empty() {
            said.push_str(&format!("; ECS says: {}", bare(words)));
        }
    }
    said.push('.');
    said
}

/// README's table of the worker's exit codes, in a few words.
fn exit_code(code: i32) -> &'static str {
    match code {
        0 => " (it left by itself)",
        64 => " (its command line is wrong)",
        65 => " (it refused the data, or is rejected)",
        66 => " (no such topic, or not the one that the ledger knows)",
        69 => " (Kafka or S3 cannot be reached)",
        70 => " (a bug)",
        75 => " (a passing fault that did not pass)",
        77 => " (Kafka or S3 denied it)",
        78 => " (its settings or schema are wrong)",
        137 => " (killed: out of memory, or it did not stop in time)",
        139 => " (it crashed: segmentation fault)",
        143 => " (it was told to stop)",
        _ => "",
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Undefined => "UNDEFINED",
        Severity::Informational => "INFORMATIONAL",
        Severity::Low => "LOW",
        Severity::Medium => "MEDIUM",
        Severity::High => "HIGH",
        Severity::Critical => "CRITICAL",
    }
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
#[path = "notices_tests.rs"]
mod tests;
