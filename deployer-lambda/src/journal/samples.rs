//! Samples: any journal, for property tests.

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::*;

fn release() -> impl Strategy<Value = ReleaseId> {
    "[0-9a-f]{16}".prop_map(ReleaseId)
}

fn digest() -> impl Strategy<Value = Digest> {
    "sha256:[0-9a-f]{64}".prop_map(Digest)
}

fn revision() -> impl Strategy<Value = RevisionArn> {
    "arn:aws:ecs:eu-west-1:123456789012:task-definition/[a-z]{1,8}:[1-9][0-9]{0,3}".prop_map(RevisionArn)
}

fn moment() -> impl Strategy<Value = Moment> {
    (0..4_000_000_000_000_i64).prop_map(Moment)
}

pub(crate) fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        release().prop_map(|release| Action::Register { release }),
        (release(), revision()).prop_map(|(release, revision)| Action::Create { release, revision }),
        (release(), revision(), any::<bool>(), any::<bool>()).prop_map(
            |(release, revision, own_rollback, force)| Action::Point {
                release,
                revision,
                own_rollback,
                force
            }
        ),
        any::<bool>().prop_map(|on| Action::OwnRollback { on }),
        any::<u32>().prop_map(|desired| Action::Scale { desired }),
        Just(Action::Delete),
        any::<(String, String)>().prop_map(|(what, reason)| Action::Reject { what, reason }),
        any::<(String, String)>().prop_map(|(what, reason)| Action::Release { what, reason }),
    ]
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop::sample::select(vec![
        Verdict::Proving,
        Verdict::Healthy,
        Verdict::Quiet,
        Verdict::Rejected,
        Verdict::Blocked,
        Verdict::Superseded,
    ])
}

fn cause() -> impl Strategy<Value = Cause> {
    prop::sample::select(Cause::ALL.to_vec())
}

pub(crate) fn record() -> impl Strategy<Value = Record> {
    let child = (digest(), "linux/[a-z0-9]{1,6}").prop_map(|(digest, platform)| Child { digest, platform });
    let keep = ("landfall-keep-[0-9]{1,3}", any::<bool>()).prop_map(|(tag, done)| Keep { tag, done });
    let named = (release(), digest(), vec(child, 0..3), vec(any::<String>(), 0..3), of(any::<String>()));
    let known = (moment(), of(revision()), verdict(), any::<String>(), moment());
    let times = (of(moment()), of(moment()), of(moment()), of(moment()), of(moment()), any::<u32>());
    let shown = (vec(any::<String>(), 0..3), of(keep), of(verdict()), any::<bool>());
    (named, known, times, shown).prop_map(|(named, known, times, shown)| {
        let (release, digest, children, tags, version) = named;
        let (pushed_at, revision, verdict, reason, picked_at) = known;
        let (pointed_at, running_at, completed_at, verdict_at, retry_at, blocked_times) = times;
        let (alarms_before, keep, mirrored, catalogued) = shown;
        let mut record = Record::of(release, digest, picked_at);
        record.children = children;
        record.tags = tags;
        record.version = version;
        record.pushed_at = pushed_at;
        record.revision = revision;
        record.verdict = verdict;
        record.reason = reason;
        record.pointed_at = pointed_at;
        record.running_at = running_at;
        record.completed_at = completed_at;
        record.verdict_at = verdict_at;
        record.retry_at = retry_at;
        record.blocked_times = blocked_times;
        record.alarms_before = alarms_before;
        record.keep = keep;
        record.mirrored = mirrored;
        record.catalogued = catalogued;
        record
    })
}

pub(crate) fn notice() -> impl Strategy<Value = Notice> {
    let urgency = prop::sample::select(vec![Urgency::Info, Urgency::Warning, Urgency::Page]);
    (any::<u64>(), moment(), urgency, any::<String>(), any::<String>())
        .prop_map(|(id, at, urgency, subject, text)| Notice { id, at, urgency, subject, text })
}

fn going_back() -> impl Strategy<Value = GoingBack> {
    let ends = (release(), release(), of(any::<String>()), any::<String>(), cause(), vec(release(), 0..3));
    (ends, moment(), of(moment()), any::<u32>(), of(moment())).prop_map(
        |((from, to, rejects, reason, cause, failed), begun_at, pointed_at, failed_times, retry_at)| {
            GoingBack {
                from,
                to,
                rejects,
                reason,
                cause,
                begun_at,
                pointed_at,
                failed_times,
                retry_at,
                failed,
            }
        },
    )
}

fn wanted() -> impl Strategy<Value = Wanted> {
    any::<(String, String)>().prop_map(|(what, reason)| Wanted { what, reason })
}

/// Within its bounds, and of this build's format.
pub(crate) fn journal() -> impl Strategy<Value = Journal> {
    let intent = (any::<u64>(), action(), moment()).prop_map(|(id, action, announced_at)| Intent {
        id,
        action,
        announced_at,
    });
    let pin = (release(), of(digest()), any::<String>(), moment())
        .prop_map(|(release, digest, by, at)| Pin { release, digest, by, at });
    let freeze = (any::<String>(), moment(), of(moment()), any::<String>())
        .prop_map(|(by, at, until, reason)| Freeze { by, at, until, reason });
    let stopped = (any::<(String, String)>(), moment(), any::<u32>())
        .prop_map(|((by, reason), at, desired)| Stopped { by, at, desired, reason });
    let approval =
        (digest(), any::<String>(), moment()).prop_map(|(digest, by, at)| Approval { digest, by, at });
    let error = (action(), any::<String>(), any::<bool>(), moment(), any::<u32>())
        .prop_map(|(action, text, denied, at, times)| LastError { action, text, denied, at, times });
    let state = (any::<u64>(), moment(), of(intent), of(release()), of(release()), of(going_back()));
    let people =
        (of(pin), of(freeze), of(stopped), vec(approval, 0..3), vec(wanted(), 0..3), vec(wanted(), 0..3));
    let lists = (vec(record(), 0..4), vec(digest(), 0..4), vec(notice(), 0..4), vec(moment(), 0..4));
    let retired = (any::<String>(), moment(), any::<bool>())
        .prop_map(|(stack, at, leaves_service)| Retired { stack, at, leaves_service });
    let scaling = any::<(u32, u32, bool)>().prop_map(|(tasks_max, lag_seconds, done)| Scaled {
        scaling: Scaling { tasks_max, lag_seconds },
        done,
    });
    let rest =
        (any::<u64>(), vec(any::<String>(), 0..3), of(any::<u32>()), of(error), of(retired), of(scaling));
    (state, people, lists, rest).prop_map(|(state, people, lists, rest)| {
        let (revision, updated_at, intent, current, candidate, going_back) = state;
        let (pin, freeze, stopped, approvals, wanted_rejects, wanted_releases) = people;
        let (releases, pushes, outbox, drifts) = lists;
        let (keep_next, told, scale_to, last_error, retired, scaling) = rest;
        Journal {
            format: FORMAT,
            revision,
            updated_at,
            intent,
            current,
            candidate,
            going_back,
            pin,
            freeze,
            stopped,
            retired,
            approvals,
            releases,
            pushes,
            outbox,
            keep_next,
            drifts,
            told,
            scale_to,
            scaling,
            wanted_rejects,
            wanted_releases,
            last_error,
        }
    })
}
