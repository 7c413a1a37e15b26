//! Verify: whether an image could be released: what was observed of it, and what its tasks need beside it.
//!
//! Order: a fault is a fault whatever else is unknown; nothing that could not be looked at is called good.
//! Neighbours: observe's needs were asked before it. Pure; nothing is changed here.

use serde_json::{Value, json};

use super::back::rejection_of;
use super::name::{Named, find};
use super::{Answer, Facts, Refusal, known};
use crate::clock::rfc3339;
use crate::observe::facts::{Image, Scan};
use crate::observe::needs::{Answered, Need, State, TASKS, Want};
use crate::plan::target::is_rejected;

/// Whether an image could be released, as far as it can be told from here.
pub fn verify(facts: &Facts<'_>, what: Option<&str>) -> Result<Answer, Refusal> {
    let desired = facts.desired.map(|release| release.0.clone());
    let Some(what) = what.map(str::to_owned).or(desired) else {
        return Ok(Answer::nothing("the policy asks for nothing, or it is not known: name an image"));
    };
    let named = find(facts, &what)?;
    let ledger = known(&facts.observed.rejected)?;
    let children = named.image.iter().filter_map(|image| image.children.as_deref()).flatten();
    let rejected = is_rejected(facts.journal, ledger, &named.release, &named.digest, children);
    let rejection = match rejected {
        true => Check::Fault(rejection_of(facts.journal, &named.release, &named.digest)),
        false => Check::Good("not rejected".to_owned()),
    };
    let checks = [
        ("image", image_check(&named)),
        ("platform", platform_check(facts, &named)),
        ("scan", scan_check(facts, named.image)),
        ("rejection", rejection),
    ];
    let mut sorted = Sorted::default();
    checks.iter().for_each(|(name, check)| sorted.add(check.weight(), (*name).to_owned()));
    facts.needs.iter().for_each(|it| sorted.add(weight(&it.state), shown(&it.need)));
    let (verdict, said) = sorted.verdict(checks.len() + facts.needs.len());
    let checks: Vec<Value> = checks.iter().map(|(name, check)| check.json(name)).collect();
    let needs: Vec<Value> = facts.needs.iter().map(told).collect();
    let details = json!({"release": named.release, "digest": named.digest, "verdict": verdict,
        "checks": checks, "needs": needs});
    Ok(Answer::shows(format!("{}: {said}", named.shown()), details))
}

/// The names of what was not found good.
#[derive(Default)]
struct Sorted {
    faults: Vec<String>,
    open: Vec<String>,
}

impl Sorted {
    fn add(&mut self, weight: Weight, name: String) {
        match weight {
            Weight::Good => {}
            Weight::Fault => self.faults.push(name),
            Weight::Open => self.open.push(name),
        }
    }

    /// For machines, and in a sentence.
    fn verdict(&self, all: usize) -> (&'static str, String) {
        let (faults, open) = (self.faults.join(", "), self.open.join(", "));
        match (self.faults.len(), self.open.len()) {
            (0, 0) => ("good", "no fault was found".to_owned()),
            (0, _) => ("unknown", format!("no fault was found, but not all could be checked: {open}")),
            (count, 0) => ("fault", format!("{count} of {all} checks found a fault: {faults}")),
            (count, _) => {
                ("fault", format!("{count} of {all} checks found a fault: {faults}; not checked: {open}"))
            }
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Weight {
    Good,
    Fault,
    /// Nobody looked: neither of both.
    Open,
}

fn weight(state: &State) -> Weight {
    match state {
        State::There(_) => Weight::Good,
        State::Missing(_) | State::Unfit(_) => Weight::Fault,
        State::Denied(_) | State::Unknown(_) => Weight::Open,
    }
}

/// One line: what it is, where it is named, what was found, and what to do.
fn told(answered: &Answered) -> Value {
    let Answered { need, state } = answered;
    let (result, why) = match state {
        State::There(why) => ("ok", why),
        State::Missing(why) => ("missing", why),
        State::Unfit(why) => ("unfit", why),
        State::Denied(why) => ("denied", why),
        State::Unknown(why) => ("unknown", why),
    };
    let mut told = json!({"need": kind(&need.want), "name": need.name, "where": need.places,
        "result": result, "why": why});
    if let Some(remedy) = remedy(need, state) {
        told["remedy"] = remedy.into();
    }
    told
}

fn shown(need: &Need) -> String {
    format!("{} `{}`", kind(&need.want), need.name)
}

fn kind(want: &Want) -> &'static str {
    match want {
        Want::Role { .. } => "role",
        Want::Secret { .. } => "secret",
        Want::Parameter { .. } => "parameter",
        Want::LogGroup { .. } => "log group",
        Want::Other => "other",
    }
}

/// What a person does about it; none: there is nothing to do.
fn remedy(need: &Need, state: &State) -> Option<String> {
    let other = match &need.hole {
        Some(hole) => format!("or fill `${{{hole}}}` with another"),
        None => "or name another in the task definition".to_owned(),
    };
    match state {
        State::There(_) => None,
        State::Missing(_) => Some(format!("{}, {other}", creation(&need.want))),
        State::Unfit(_) => Some(format!("{}, {other}", repair(&need.want))),
        State::Denied(_) => Some(format!("allow it, or look by hand: {}", by_hand(need))),
        State::Unknown(_) => Some(format!("ask again, or look by hand: {}", by_hand(need))),
    }
}

fn creation(want: &Want) -> String {
    match want {
        Want::Role { name, .. } => format!("create the role `{name}` with a trust policy for {TASKS}"),
        Want::Secret { id, .. } => format!("create the secret `{id}` (a new one has a new ARN)"),
        Want::Parameter { names, .. } => {
            format!("create the parameter: `aws ssm put-parameter --name {}`", names.join(" or "))
        }
        Want::LogGroup { name, region, .. } => {
            format!(
                "create the log group: `aws logs create-log-group --log-group-name {name}{}`",
                in_region(region)
            )
        }
        Want::Other => "correct it".to_owned(),
    }
}

fn repair(want: &Want) -> String {
    match want {
        Want::Role { name, .. } => {
            format!(
                "let {TASKS} `sts:AssumeRole` in the trust policy of `{name}`, and name it by its own ARN"
            )
        }
        Want::Secret { id, region, .. } => format!(
            "`aws secretsmanager restore-secret --secret-id {id}{0}`, or give it a value by `put-secret-value`",
            in_region(region)
        ),
        Want::Parameter { .. } | Want::LogGroup { .. } | Want::Other => "correct it".to_owned(),
    }
}

/// What shows it to a person who may.
fn by_hand(need: &Need) -> String {
    match &need.want {
        Want::Role { name, .. } => format!("`aws iam get-role --role-name {name}`"),
        Want::Secret { id, region, .. } => {
            format!("`aws secretsmanager describe-secret --secret-id {id}{}`", in_region(region))
        }
        Want::Parameter { names, region, .. } => format!(
            "`aws ssm describe-parameters --parameter-filters Key=Name,Values={}{}`",
            names.join(","),
            in_region(region)
        ),
        Want::LogGroup { name, region, .. } => {
            format!("`aws logs describe-log-groups --log-group-name-prefix {name}{}`", in_region(region))
        }
        Want::Other => format!("what is `{}`?", need.name),
    }
}

fn in_region(region: &Option<String>) -> String {
    region.as_ref().map(|region| format!(" --region {region}")).unwrap_or_default()
}

enum Check {
    Good(String),
    Fault(String),
    Unknown(String),
}

impl Check {
    fn weight(&self) -> Weight {
        match self {
            Check::Good(_) => Weight::Good,
            Check::Fault(_) => Weight::Fault,
            Check::Unknown(_) => Weight::Open,
        }
    }

    fn json(&self, name: &str) -> Value {
        let (result, why) = match self {
            Check::Good(why) => ("good", why),
            Check::Fault(why) => ("fault", why),
            Check::Unknown(why) => ("unknown", why),
        };
        json!({"check": name, "result": result, "why": why})
    }
}

fn image_check(named: &Named<'_>) -> Check {
    match named.image {
        Some(image) => Check::Good(format!("in the registry since {}", rfc3339(image.pushed_at))),
        None => Check::Fault("no longer in the registry: push it again".to_owned()),
    }
}

/// The task definition's CPU architecture against the index's platforms.
fn platform_check(facts: &Facts<'_>, named: &Named<'_>) -> Check {
    let rendered = match (facts.rendered)(&named.digest) {
        Ok(rendered) => rendered,
        Err(why) => return Check::Fault(format!("render its task definition: {why}")),
    };
    let architecture = rendered.task_definition.pointer("/runtimePlatform/cpuArchitecture");
    let platform = match architecture.and_then(Value::as_str) {
        Some("ARM64") => "linux/arm64",
        Some("X86_64") | None => "linux/amd64",
        Some(other) => return Check::Unknown(format!("the task definition asks for {other}")),
    };
    match named.image.and_then(|image| image.children.as_deref()) {
        None => Check::Unknown("the index was not read".to_owned()),
        Some([]) => Check::Unknown(format!("one manifest, no index: it is to be for {platform}")),
        Some(children) if children.iter().any(|child| child.runs_on(platform)) => {
            Check::Good(format!("has {platform}"))
        }
        Some(children) => {
            let has: Vec<&str> = children.iter().map(|child| child.platform.as_str()).collect();
            Check::Fault(format!("the task definition asks for {platform}, the image has {}", has.join(", ")))
        }
    }
}

fn scan_check(facts: &Facts<'_>, image: Option<&Image>) -> Check {
    let Some(passes) = facts.policy.scan.passes else {
        return Check::Good("the policy asks for no scan".to_owned());
    };
    match image.map(|image| image.scan) {
        None => Check::Unknown("the image is gone".to_owned()),
        Some(Scan::Pending) => Check::Unknown("the scan is under way".to_owned()),
        Some(Scan::NoAnswer) => Check::Fault("the scan gives no answer for it".to_owned()),
        Some(Scan::Done(None)) => Check::Good("no findings".to_owned()),
        Some(Scan::Done(Some(worst))) if worst <= passes => Check::Good(format!("worst finding {worst:?}")),
        Some(Scan::Done(Some(worst))) => {
            Check::Fault(format!("a finding is {worst:?}, the policy lets {passes:?} pass"))
        }
    }
}
