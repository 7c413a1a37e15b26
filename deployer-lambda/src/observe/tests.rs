use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;

use super::facts::{Alarm, RolloutState};
use super::ports::CallFault;
use super::*;
use crate::journal::{Cause, GoingBack, Intent, Record};
use crate::policy::Severity;
use crate::release::{Moment, ReleaseId};

/// Everything that can be asked. Counts what was, and fails where told.
#[derive(Default)]
struct Asked {
    images: Vec<Image>,
    children: BTreeMap<Digest, Vec<Child>>,
    scans: BTreeMap<Digest, Scan>,
    service: Option<Service>,
    rollouts: Vec<Rollout>,
    rejected: BTreeSet<String>,
    failing: Option<&'static str>,
    calls: Mutex<Vec<String>>,
}

impl Asked {
    fn ask(&self, call: &'static str, about: &str) -> Result<(), CallError> {
        self.calls.lock().unwrap().push(format!("{call} {about}").trim_end().to_owned());
        if self.failing == Some(call) {
            let source = "connection reset".into();
            return Err(CallError { what: call.to_owned(), fault: CallFault::Unknown, source });
        }
        Ok(())
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}

fn named<T: ToString>(names: &[T]) -> String {
    names.iter().map(T::to_string).collect::<Vec<_>>().join(" ")
}

#[async_trait]
impl Registry for Asked {
    async fn images(&self) -> Result<Vec<Image>, CallError> {
        self.ask("images", "")?;
        Ok(self.images.clone())
    }

    async fn children(&self, indexes: &[Digest]) -> Result<BTreeMap<Digest, Vec<Child>>, CallError> {
        self.ask("children", &named(indexes))?;
        let found =
            indexes.iter().filter_map(|index| Some((index.clone(), self.children.get(index)?.clone())));
        Ok(found.collect())
    }

    async fn scans(&self, digests: &[Digest]) -> Result<BTreeMap<Digest, Scan>, CallError> {
        self.ask("scans", &named(digests))?;
        Ok(digests.iter().filter_map(|digest| Some((digest.clone(), *self.scans.get(digest)?))).collect())
    }
}

#[async_trait]
impl Cluster for Asked {
    async fn service(&self) -> Result<Option<Service>, CallError> {
        self.ask("service", "")?;
        Ok(self.service.clone())
    }

    async fn rollouts(&self) -> Result<Vec<Rollout>, CallError> {
        self.ask("rollouts", "")?;
        Ok(self.rollouts.clone())
    }

    async fn tasks(&self) -> Result<Vec<Task>, CallError> {
        self.ask("tasks", "")?;
        Ok(Vec::new())
    }

    async fn revisions(&self) -> Result<Vec<Revision>, CallError> {
        self.ask("revisions", "")?;
        Ok(Vec::new())
    }

    async fn is_ours(&self, _: &RevisionArn) -> Result<bool, CallError> {
        Ok(true)
    }

    async fn inactive(&self, revisions: &[RevisionArn]) -> Result<Vec<RevisionArn>, CallError> {
        self.ask("inactive", &named(revisions))?;
        Ok(Vec::new())
    }
}

#[async_trait]
impl Alarms for Asked {
    async fn alarms(&self, names: &[String]) -> Result<Vec<Alarm>, CallError> {
        self.ask("alarms", &named(names))?;
        Ok(names.iter().map(|name| Alarm { name: name.clone(), in_alarm: false, since: Moment(0) }).collect())
    }
}

#[async_trait]
impl Rejections for Asked {
    async fn rejected(&self) -> Result<BTreeSet<String>, CallError> {
        self.ask("rejected", "")?;
        Ok(self.rejected.clone())
    }
}

fn image(digest: &str, tag: &str, pushed: i64) -> Image {
    let tags = if tag.is_empty() { Vec::new() } else { vec![tag.to_owned()] };
    let (pushed_at, children) = (Moment(pushed), Some(Vec::new()));
    Image { digest: digest.into(), tags, pushed_at, children, scan: Scan::Pending }
}

fn index(digest: &str, tag: &str, pushed: i64) -> Image {
    Image { children: None, ..image(digest, tag, pushed) }
}

fn child(digest: &str) -> Child {
    Child { digest: digest.into(), platform: "linux/arm64".to_owned() }
}

/// As a policy does: tags that begin with `v`, by the time of their push.
fn admits(images: &[Image]) -> Vec<Digest> {
    let mut admitted: Vec<&Image> =
        images.iter().filter(|image| image.tags.iter().any(|tag| tag.starts_with('v'))).collect();
    admitted.sort_by_key(|image| std::cmp::Reverse(image.pushed_at));
    admitted.into_iter().map(|image| image.digest.clone()).collect()
}

fn record(release: &str, digest: &str, children: &[&str]) -> Record {
    let mut record = Record::of(ReleaseId::from(release), Digest::from(digest), Moment(0));
    record.children = children.iter().map(|digest| child(digest)).collect();
    record.verdict = Verdict::Healthy;
    record.revision = Some(RevisionArn(format!("rev:{release}")));
    record
}

fn journal(records: Vec<Record>) -> Journal {
    Journal {
        current: records.last().map(|record| record.release.clone()),
        releases: records,
        ..Journal::default()
    }
}

async fn look(asked: &Asked, journal: Option<&Journal>, scans: bool) -> Observed {
    let world = World { registry: asked, cluster: asked, alarms: asked, rejections: asked };
    let names = ["damage".to_owned()];
    let (platform, details) = ("linux/arm64", false);
    let look = Look { journal, admits: &admits, alarm_names: &names, platform, scans, details };
    observe(&world, &look).await
}

fn kept(observed: &Observed) -> Vec<&str> {
    observed.images.known().unwrap().iter().map(|image| image.digest.as_str()).collect()
}

fn service() -> Service {
    let (revision, rollouts) = (RevisionArn::from("rev:1"), vec![rollout("ecs-svc/1")]);
    Service { revision, desired: 1, running: 1, own_rollback: true, rollouts }
}

fn rollout(id: &str) -> Rollout {
    let (revision, state) = (RevisionArn::from("rev:1"), RolloutState::Successful);
    Rollout {
        id: id.to_owned(),
        revision,
        state,
        reason: String::new(),
        created_at: Moment(0),
        failed_tasks: 0,
    }
}

#[tokio::test]
async fn an_idle_look_asks_for_no_more_than_it_needs() {
    let asked = Asked { images: vec![index("i1", "v1", 1), image("c1", "", 1)], ..Asked::default() };
    let journal = journal(vec![record("r1", "i1", &["c1"])]);
    let observed = look(&asked, Some(&journal), false).await;
    let mut calls = asked.calls();
    calls.sort();
    // One call of AWS each, but for the ledger's two; the journal's is the sixth.
    assert_eq!(calls, ["alarms damage", "images", "rejected", "service"]);
    assert_eq!(observed.images.known().unwrap()[0].children, Some(vec![child("c1")]));
}

#[tokio::test]
async fn details_are_read_while_something_is_under_way_or_nobody_knows() {
    let idle = journal(vec![record("r1", "i1", &["c1"])]);
    let candidate = Journal { candidate: Some(ReleaseId::from("r2")), ..idle.clone() };
    let intent =
        |action| Journal { intent: Some(Intent { id: 1, action, announced_at: Moment(0) }), ..idle.clone() };
    let back = GoingBack {
        from: ReleaseId::from("r2"),
        to: ReleaseId::from("r1"),
        rejects: None,
        reason: String::new(),
        cause: Cause::Crash,
        begun_at: Moment(0),
        pointed_at: None,
        failed_times: 0,
        retry_at: None,
        failed: Vec::new(),
    };
    let back = Journal { going_back: Some(back), ..idle.clone() };
    for (journal, expected) in [
        (Some(candidate), &["inactive rev:r1", "rollouts", "tasks"][..]),
        (Some(back), &["inactive rev:r1", "rollouts", "tasks"]),
        (Some(intent(Action::Scale { desired: 1 })), &["rollouts", "tasks"]),
        (
            Some(intent(Action::Register { release: ReleaseId::from("r1") })),
            &["revisions", "rollouts", "tasks"],
        ),
        (None, &["revisions", "rollouts", "tasks"]),
        (Some(idle), &[]),
    ] {
        let asked = Asked::default();
        look(&asked, journal.as_ref(), false).await;
        let mut calls = asked.calls();
        calls.retain(|call| !["alarms damage", "images", "rejected", "service"].contains(&call.as_str()));
        calls.sort();
        assert_eq!(calls, expected, "{journal:?}");
    }
}

#[tokio::test]
async fn a_service_that_stands_elsewhere_is_looked_at_closely() {
    let asked = Asked { service: Some(service()), rollouts: vec![rollout("sd/7")], ..Asked::default() };
    let here = journal(vec![record("1", "i1", &[])]);
    look(&asked, Some(&here), false).await;
    assert!(!asked.calls().contains(&"rollouts".to_owned()));
    let elsewhere = journal(vec![record("2", "i2", &[])]);
    let observed = look(&asked, Some(&elsewhere), false).await;
    assert!(asked.calls().contains(&"rollouts".to_owned()));
    let service = observed.service.known().unwrap().as_ref().unwrap();
    assert_eq!(service.rollouts[0].id, "sd/7");
}

#[tokio::test]
async fn what_could_not_be_read_is_unknown_and_never_empty() {
    for (failing, unknown) in [
        ("images", "the repository"),
        ("children", "the repository"),
        ("scans", "the repository"),
        ("service", "the service"),
        ("rollouts", "the service"),
        ("tasks", "the service's tasks"),
        ("alarms", "the alarms"),
        ("rejected", "who is rejected"),
        ("revisions", "the task definition's revisions"),
    ] {
        let asked = Asked {
            images: vec![index("i1", "v1", 1)],
            children: BTreeMap::from([("i1".into(), vec![child("c1")])]),
            service: Some(service()),
            failing: Some(failing),
            ..Asked::default()
        };
        let observed = look(&asked, None, true).await;
        let text = format!("{observed:?}");
        assert_eq!(text.matches("Unknown { what").count(), 1, "{failing}: {text}");
        let expected = format!("Unknown {{ what: \"{unknown}\", why: \"{failing}: connection reset\" }}");
        assert!(text.contains(&expected), "{failing}: {text}");
    }
}

#[tokio::test]
async fn deployments_that_ecs_lists_are_the_better_account() {
    let mut asked =
        Asked { service: Some(service()), rollouts: vec![rollout("arn:…")], ..Asked::default() };
    let ids = |observed: &Observed| {
        let service = observed.service.known().unwrap().as_ref().unwrap();
        service.rollouts.iter().map(|rollout| rollout.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&look(&asked, None, false).await), ["arn:…"]);
    asked.rollouts.clear();
    assert_eq!(ids(&look(&asked, None, false).await), ["ecs-svc/1"]);
}

#[tokio::test]
async fn a_service_that_is_not_there_has_no_deployments_and_tasks_whatever_asking_for_them_says() {
    for failing in ["rollouts", "tasks"] {
        let asked = Asked { failing: Some(failing), ..Asked::default() };
        let observed = look(&asked, None, false).await;
        assert_eq!((observed.service, observed.tasks), (Known::Known(None), Known::Known(Vec::new())));
    }
}

#[tokio::test]
async fn kept_is_what_the_policy_admits_and_what_records_name() {
    let images =
        vec![image("m1", "v1", 1), image("m2", "main-2", 2), image("m3", "main-3", 3), image("m4", "", 4)];
    let asked = Asked { images, ..Asked::default() };
    let journal = journal(vec![record("r2", "m2", &[])]);
    assert_eq!(kept(&look(&asked, Some(&journal), false).await), ["m1", "m2"]);
}

#[tokio::test]
async fn only_the_newest_unrejected_indexes_are_read() {
    let name = |n: i64| format!("i{n:02}");
    let images = (1..=30).map(|n| index(&name(n), &format!("v{n}"), n)).collect();
    let children = (1..=30).map(|n| (Digest(name(n)), vec![child(&format!("c{n}"))])).collect();
    let rejected = BTreeSet::from(["i30".to_owned(), "r29".to_owned()]);
    let asked = Asked { images, children, rejected, ..Asked::default() };
    let records =
        vec![record("r27", "i27", &["c27"]), record("r29", "i29", &["c29"]), record("r1", "i01", &[])];
    let observed = look(&asked, Some(&journal(records)), false).await;
    // 30 and 29 are rejected, 27 is known; 1 runs and its record does not know its platforms.
    let read: Vec<String> = [1].into_iter().chain(9..=26).chain([28]).map(name).collect();
    assert!(asked.calls().contains(&format!("children {}", read.join(" "))));
    let known: Vec<&str> = observed
        .images
        .known()
        .unwrap()
        .iter()
        .filter(|image| image.children.is_some())
        .map(|image| image.digest.as_str())
        .collect();
    let expected: Vec<String> = [1].into_iter().chain(9..=29).map(name).collect();
    assert_eq!(known, expected);
}

/// Indexes `i1` to `i6`; the oldest alone runs here.
fn five_that_run_elsewhere() -> Asked {
    let on = |n: i64, platform: &str| {
        let platform = platform.to_owned();
        (Digest(format!("i{n}")), vec![Child { digest: format!("c{n}").as_str().into(), platform }])
    };
    let elsewhere = (2..=6).map(|n| on(n, "linux/amd64"));
    Asked {
        images: (1..=6).map(|n| index(&format!("i{n}"), &format!("v{n}"), n)).collect(),
        children: elsewhere.chain([on(1, "linux/arm64")]).collect(),
        service: Some(service()),
        ..Asked::default()
    }
}

#[tokio::test]
async fn five_newest_images_for_other_machines_do_not_hide_a_sixth_for_ours() {
    let asked = five_that_run_elsewhere();
    let journal = journal(vec![record("1", "i0", &[])]);
    let observed = look(&asked, Some(&journal), false).await;
    let calls = asked.calls();
    assert_eq!(calls.iter().filter(|call| call.starts_with("children")).count(), 1, "{calls:?}");
    let sixth = observed.images.known().unwrap().iter().find(|image| image.digest.as_str() == "i1").unwrap();
    assert!(sixth.children.iter().flatten().any(|child| child.runs_on("linux/arm64")));
}

#[tokio::test]
async fn scans_are_asked_for_where_an_image_could_run_and_of_few() {
    let mut asked = five_that_run_elsewhere();
    look(&asked, Some(&journal(Vec::new())), true).await;
    assert!(asked.calls().contains(&"scans c1".to_owned()));
    for children in asked.children.values_mut().flatten() {
        children.platform = "linux/arm64".to_owned();
    }
    look(&asked, Some(&journal(Vec::new())), true).await;
    assert!(asked.calls().contains(&"scans c4 c5 c6".to_owned()));
}

#[tokio::test]
async fn an_index_that_went_while_we_looked_is_no_image() {
    let images = vec![index("i1", "v1", 1), image("m2", "v2", 2)];
    let asked = Asked { images, ..Asked::default() };
    assert_eq!(kept(&look(&asked, None, false).await), ["m2"]);
}

fn scanned(digest: &str, scan: Scan) -> Image {
    Image { scan, ..image(digest, "", 1) }
}

#[tokio::test]
async fn an_indexs_scan_is_the_worst_of_its_listed_platforms() {
    let (clean, low) = (Scan::Done(None), Scan::Done(Some(Severity::Low)));
    let critical = Scan::Done(Some(Severity::Critical));
    for (one, other, worst) in [
        (clean, low, low),
        (critical, low, critical),
        (low, Scan::Pending, Scan::Pending),
        (Scan::NoAnswer, Scan::Pending, Scan::NoAnswer),
        (Scan::NoAnswer, critical, Scan::NoAnswer),
    ] {
        let own = Image { scan: Scan::NoAnswer, ..index("i1", "v1", 1) };
        let asked = Asked {
            images: vec![own, scanned("c1", one), scanned("c2", other)],
            children: BTreeMap::from([("i1".into(), vec![child("c1"), child("c2"), child("gone")])]),
            ..Asked::default()
        };
        let observed = look(&asked, None, false).await;
        assert_eq!(observed.images.known().unwrap()[0].scan, worst);
    }
}

#[tokio::test]
async fn scans_that_the_list_does_not_tell_are_asked_for_where_they_matter() {
    let found = Scan::Done(Some(Severity::High));
    let asked = Asked {
        images: vec![
            index("i1", "v1", 1),
            image("c1", "", 1),
            scanned("m2", Scan::Done(None)),
            image("m3", "x", 3),
        ],
        children: BTreeMap::from([("i1".into(), vec![child("c1")])]),
        scans: BTreeMap::from([("c1".into(), found)]),
        ..Asked::default()
    };
    let observed = look(&asked, None, true).await;
    assert!(asked.calls().contains(&"scans c1".to_owned()));
    assert_eq!(observed.images.known().unwrap()[0].scan, found);
    let observed = look(&asked, None, false).await;
    assert!(!asked.calls().iter().any(|call| call.starts_with("scans")));
    assert_eq!(observed.images.known().unwrap()[0].scan, Scan::Pending);
}
