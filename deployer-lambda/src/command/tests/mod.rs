use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::journal::{Approval, Cause, Freeze, GoingBack, Pin, Record, Stopped, Verdict, Wanted};
use crate::observe::facts::{Child, Health, Image, Rollout, RolloutState, Scan, Service, Task, TaskState};
use crate::policy::Severity;
use crate::release::RevisionArn;

const NOW: Moment = Moment(1_795_744_860_000);

fn digest(letter: char) -> Digest {
    Digest(format!("sha256:{}", letter.to_string().repeat(64)))
}

/// What the templates make of an image here: sixteen times the digest's first digit.
fn release(letter: char) -> ReleaseId {
    ReleaseId(letter.to_string().repeat(16))
}

fn revision(number: u32) -> RevisionArn {
    RevisionArn(format!("arn:aws:ecs:eu-west-1:123456789012:task-definition/shop:{number}"))
}

fn render(digest: &Digest) -> Result<Rendered, String> {
    let letter = digest.as_str().chars().nth(7).unwrap();
    let container = json!({"name": "worker", "image": digest, "cpu": 256});
    Ok(Rendered {
        release: release(letter),
        task_definition: json!({
            "family": "shop",
            "runtimePlatform": {"cpuArchitecture": "ARM64"},
            "containerDefinitions": [container],
        }),
        service: json!({"platformVersion": "1.4.0"}),
    })
}

fn policy() -> Policy {
    Policy::parse("[scan]\npasses = \"high\"").unwrap()
}

fn image(letter: char, tag: &str) -> Image {
    let pushed_at = Moment(1_000 * i64::from(u32::from(letter)));
    let child = Child { digest: digest(letter.to_ascii_uppercase()), platform: "linux/arm64/v8".to_owned() };
    let tags = vec![tag.to_owned()];
    Image { digest: digest(letter), tags, pushed_at, children: Some(vec![child]), scan: Scan::Done(None) }
}

fn record(letter: char, tag: &str, number: u32, verdict: Verdict) -> Record {
    Record {
        release: release(letter),
        digest: digest(letter),
        children: Vec::new(),
        tags: vec![tag.to_owned()],
        version: Some(tag.trim_start_matches('v').to_owned()),
        pushed_at: Moment(1_000 * i64::from(u32::from(letter))),
        revision: Some(revision(number)),
        verdict,
        reason: "why".to_owned(),
        picked_at: Moment(i64::from(number)),
        pointed_at: None,
        running_at: None,
        completed_at: Some(Moment(1)),
        verdict_at: Some(Moment(i64::from(number))),
        blocked_times: 0,
        retry_at: None,
        alarms_before: Vec::new(),
        keep: None,
        mirrored: None,
        catalogued: false,
    }
}

fn pin(letter: char, by: &str) -> Pin {
    Pin { release: release(letter), digest: Some(digest(letter)), by: by.to_owned(), at: NOW }
}

struct World {
    journal: Journal,
    observed: Observed,
    policy: Policy,
    desired: Option<ReleaseId>,
    decision: Option<Decision>,
    running_task_definition: Option<Value>,
    needs: Vec<Answered>,
}

impl World {
    /// v1 and v2 were healthy, v3 runs and is healthy too; v4 was pushed and is what the policy asks for.
    fn new() -> World {
        let journal = Journal {
            current: Some(release('c')),
            releases: vec![
                record('a', "v1.0.0", 1, Verdict::Healthy),
                record('b', "v2.0.0", 2, Verdict::Healthy),
                record('c', "v3.0.0", 3, Verdict::Healthy),
            ],
            ..Journal::default()
        };
        let images =
            vec![image('a', "v1.0.0"), image('b', "v2.0.0"), image('c', "v3.0.0"), image('d', "v4.0.0")];
        let observed = Observed {
            images: Known::Known(images),
            service: Known::Known(Some(Service {
                revision: revision(3),
                desired: 1,
                running: 1,
                own_rollback: true,
                rollouts: Vec::new(),
            })),
            tasks: Known::Known(Vec::new()),
            alarms: Known::Known(Vec::new()),
            rejected: Known::Known(BTreeSet::new()),
            revisions: Known::Known(Vec::new()),
            inactive: Known::Known(Vec::new()),
        };
        let desired = Some(release('d'));
        World {
            journal,
            observed,
            policy: policy(),
            desired,
            decision: None,
            running_task_definition: None,
            needs: Vec::new(),
        }
    }

    fn ask(&self, command: Value) -> Result<Answer, Refusal> {
        let verb: Verb = serde_json::from_value(command).unwrap();
        let facts = Facts {
            journal: &self.journal,
            observed: &self.observed,
            policy: &self.policy,
            now: NOW,
            rendered: &render,
            desired: self.desired.as_ref(),
            decision: self.decision.as_ref(),
            running_task_definition: self.running_task_definition.as_ref(),
            needs: &self.needs,
        };
        answer(&Command { verb, by: "ada".to_owned() }, &facts)
    }

    /// Asks, and stores what the answer wants stored.
    fn told(&mut self, command: Value) -> Answer {
        let answer = self.ask(command.clone()).unwrap_or_else(|refusal| panic!("{command}: {refusal}"));
        if let Some(journal) = &answer.journal {
            self.journal = journal.clone();
        }
        answer
    }

    fn refused(&self, command: Value) -> Refusal {
        match self.ask(command.clone()) {
            Err(refusal) => refusal,
            Ok(answer) => panic!("{command}: {answer:?}"),
        }
    }

    fn verdict(&mut self, letter: char, verdict: Verdict) {
        self.journal.record_mut(&release(letter)).unwrap().verdict = verdict;
    }

    fn images(&mut self) -> &mut Vec<Image> {
        match &mut self.observed.images {
            Known::Known(images) => images,
            Known::Unknown { .. } => panic!("unknown"),
        }
    }

    fn ledger_rejects(&mut self, what: &str) {
        self.observed.rejected = Known::Known(BTreeSet::from([what.to_owned()]));
    }
}

fn rollback() -> Value {
    json!({"command": "rollback", "reason": "totals are wrong"})
}

mod back;
mod people;
mod show;
