//! Deployments: how they begin, fail, roll back, are superseded and complete.
//!
//! Order: a deployment fails or completes once; alarms and breaker are asked before completion is. A rollback goes to
//! what completed last, never to what was merely there before.
//! Neighbours: api starts them, scheduler drives them, tasks report to them.
//!
//! Sources: *Amazon ECS Developer Guide*, "How the Amazon ECS deployment circuit breaker detects failures", "How
//! CloudWatch alarms detect Amazon ECS deployment failures", "View service history using Amazon ECS service
//! deployments", "Stopping Amazon ECS service deployments", "Amazon ECS service revisions".

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::config::{Rollback, Stall};
use super::events::{Action, DeploymentEvent, Event};
use super::ids::{DefinitionId, DeploymentId, RevisionId, RolloutId};
use super::model::{
    Cause, Context, Deployment, Ms, Output, Revision, Rollout, RolloutState, Service, Status, Task,
};

/// A service describes its newest messages only. *Service*, ECS API Reference: up to 100.
const MESSAGES_KEPT: usize = 100;

/// Makes a revision, a service deployment and a PRIMARY deployment of `definition`; what was under way is superseded.
pub fn start(s: &mut Service, definition: DefinitionId, ctx: &mut Context<'_>) {
    supersede(s, ctx.now);
    let revision = RevisionId(ctx.ids.fresh());
    let digests = ctx.definitions.get(definition).containers.iter().map(|it| it.digest.clone()).collect();
    let body = revision_body(&s.body);
    s.revisions.push(Revision { id: revision, definition, created_at: ctx.now, body, digests });
    let rollout = RolloutId(ctx.ids.fresh());
    let sources: BTreeSet<RevisionId> =
        s.tasks.iter().filter(|task| task.is_live()).map(|it| it.revision).collect();
    s.rollouts.push(Rollout {
        id: rollout,
        status: Status::Pending,
        reason: String::new(),
        created_at: ctx.now,
        started_at: None,
        stopped_at: None,
        finished_at: None,
        updated_at: ctx.now,
        sources: sources.into_iter().collect(),
        target: revision,
        settings: s.settings.clone(),
        rollback: None,
        failed_by: None,
        failures: 0,
        triggered_alarms: BTreeSet::new(),
        baking: false,
    });
    let id = DeploymentId(ctx.ids.fresh());
    let mut new = blank(s, id, revision, rollout, ctx);
    new.reason = format!("ECS deployment {id} in progress.");
    s.deployments.insert(0, new);
    s.current.push((ctx.now, rollout));
    s.steady = false;
}

/// What of a service's settings a revision records: all that starts a deployment when it changes.
fn revision_body(body: &Map<String, Value>) -> Map<String, Value> {
    super::api::STARTS_DEPLOYMENT
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), body.get(*key)?.clone())))
        .collect()
}

fn blank(
    s: &Service,
    id: DeploymentId,
    revision: RevisionId,
    rollout: RolloutId,
    ctx: &Context<'_>,
) -> Deployment {
    Deployment {
        id,
        revision,
        definition: s.revision(revision).definition,
        rollout,
        is_rollback: false,
        begun: false,
        state: RolloutState::InProgress,
        reason: String::new(),
        created_at: ctx.now,
        updated_at: ctx.now,
        settings: s.settings.clone(),
        failed: 0,
        ignored_alarms: ringing(s, ctx),
        keep: 0,
        failed_starts: 0,
        start_after: 0,
        steady_since: None,
    }
}

/// The service's alarms that are in ALARM.
fn ringing(s: &Service, ctx: &Context<'_>) -> BTreeSet<Arc<str>> {
    s.settings.alarms.names.intersection(ctx.alarms).cloned().collect()
}

fn supersede(s: &mut Service, now: Ms) {
    let desired = s.desired;
    let Some(primary) = s.deployments.first_mut() else { return };
    // Only what has proved itself is kept up meanwhile.
    let proved = primary.state == RolloutState::Completed || primary.is_rollback;
    primary.keep = if proved { desired } else { 0 };
    let rollout = primary.rollout;
    let rollout = s.rollout_mut(rollout);
    if !rollout.status.is_final() {
        rollout.status = Status::StopRequested;
        rollout.updated_at = now;
    }
}

/// What was asked for since the last step gets under way.
pub fn begin(s: &mut Service, ctx: &mut Context<'_>) {
    for rollout in s.rollouts.iter_mut().rev().take_while(|rollout| !rollout.status.is_final()) {
        if rollout.status != Status::StopRequested {
            continue;
        }
        let failed = rollout.rollback.is_some() && ctx.config.variants.superseded_rollback_failed;
        let status = if failed { Status::RollbackFailed } else { Status::Stopped };
        finish(rollout, status, "Superseded by a newer service deployment.", ctx.now);
        rollout.stopped_at = Some(ctx.now);
    }
    let primary = s.primary();
    let (rollout, is_rollback) = (primary.rollout, primary.is_rollback);
    if !primary.begun && ctx.now >= primary.created_at + ctx.config.variants.pending_ms {
        s.deployments[0].begun = true;
        let it = s.rollout_mut(rollout);
        it.started_at = Some(ctx.now);
        it.updated_at = ctx.now;
        if it.status == Status::Pending {
            it.status = Status::InProgress;
        }
        tell(s, DeploymentEvent::InProgress, s.primary().reason.clone(), ctx);
    }
    if s.rollout(rollout).status == Status::RollbackRequested && !is_rollback {
        fail(s, Cause::Requested, ctx);
    }
}

/// Asks breaker and alarms; true if the deployment has failed.
pub fn judge(s: &mut Service, ctx: &mut Context<'_>) -> bool {
    let primary = s.primary();
    if !is_watched(primary, ctx) {
        return false;
    }
    let breaker = primary.settings.breaker;
    let alarms = &primary.settings.alarms;
    let rings = alarms.names.iter().any(|it| ctx.alarms.contains(it) && !primary.ignored_alarms.contains(it));
    if breaker.enable && primary.failed >= breaker.threshold.failures(s.desired) {
        fail(s, Cause::Breaker, ctx);
        true
    } else if alarms.enable && rings {
        fail(s, Cause::Alarm, ctx);
        true
    } else {
        false
    }
}

fn is_watched(primary: &Deployment, ctx: &Context<'_>) -> bool {
    let rollback_is_watched = ctx.config.variants.rollback_can_fail;
    primary.begun
        && primary.state == RolloutState::InProgress
        && (!primary.is_rollback || rollback_is_watched)
}

/// One task of this deployment failed.
pub fn count_failure(s: &mut Service, of: DeploymentId, ctx: &Context<'_>) {
    let Some(primary) = s.deployments.first_mut() else { return };
    let over = primary.steady_since.is_some() && !ctx.config.variants.breaker_in_bake;
    if primary.id != of || primary.state != RolloutState::InProgress || over {
        return;
    }
    primary.failed += 1;
    primary.updated_at = ctx.now;
    let (rollout, failed) = (primary.rollout, primary.failed);
    s.rollout_mut(rollout).failures = failed;
}

/// One task of this deployment turned healthy.
pub fn one_is_healthy(s: &mut Service, of: DeploymentId) {
    let Some(it) = s.deployments.iter_mut().find(|it| it.id == of) else { return };
    if it.settings.breaker.reset_on_healthy && it.state == RolloutState::InProgress {
        it.failed = 0;
    }
}

fn fail(s: &mut Service, cause: Cause, ctx: &mut Context<'_>) {
    let (state, event) = match cause {
        Cause::Breaker => (
            "ECS deployment circuit breaker: tasks failed to start.",
            "ECS deployment circuit breaker: task failed to start.",
        ),
        Cause::Alarm => {
            ("ECS deployment failed: alarm detected.", "ECS deployment alarms: an alarm went into ALARM.")
        }
        Cause::Requested => {
            ("ECS deployment was stopped on request.", "ECS deployment was stopped on request.")
        }
    };
    let ringing = ringing(s, ctx);
    let primary = &mut s.deployments[0];
    primary.state = RolloutState::Failed;
    primary.reason = state.into();
    primary.updated_at = ctx.now;
    primary.keep = 0;
    let (was_rollback, id, rollout) = (primary.is_rollback, primary.id, primary.rollout);
    let wanted = match cause {
        Cause::Breaker => primary.settings.breaker.rollback,
        Cause::Alarm => primary.settings.alarms.rollback,
        Cause::Requested => true,
    };
    let rings = &ringing - &primary.ignored_alarms;
    tell(s, DeploymentEvent::Failed, event.into(), ctx);
    message(s, format!("(service {}) (deployment {id}) deployment failed: {state}", s.name), ctx);
    let target = s.last_completed;
    let it = s.rollout_mut(rollout);
    it.failed_by = Some(cause);
    it.triggered_alarms = if cause == Cause::Alarm { rings } else { BTreeSet::new() };
    let stalls = ctx.config.variants.stall == Stall::InProgress;
    match (was_rollback, wanted, target) {
        (true, _, _) => finish(it, Status::RollbackFailed, state, ctx.now),
        (false, true, Some(target)) => roll_back(s, cause, target, ctx),
        (false, true, None) if cause == Cause::Requested || !stalls => {
            finish(it, Status::RollbackFailed, "There is no completed deployment to roll back to.", ctx.now);
        }
        (false, false, _) if !stalls => finish(it, Status::Stopped, state, ctx.now),
        (false, true, None) | (false, false, _) => it.reason = state.into(),
    }
}

fn roll_back(s: &mut Service, cause: Cause, target: (DeploymentId, RevisionId), ctx: &mut Context<'_>) {
    let (completed, revision) = target;
    let what = match cause {
        Cause::Breaker => "ECS deployment circuit breaker",
        Cause::Alarm => "ECS deployment alarms",
        Cause::Requested => "ECS deployment stopped on request",
    };
    let reason = format!("{what}: rolling back to deploymentId {completed}.");
    let rollout = s.primary().rollout;
    let it = s.rollout_mut(rollout);
    it.status = Status::RollbackInProgress;
    it.updated_at = ctx.now;
    it.rollback = Some((ctx.now, reason.clone(), revision));
    it.baking = false;
    let way = ctx.config.variants.rollback;
    let id = match way {
        Rollback::OldId => completed,
        Rollback::NewIdSameTasks | Rollback::NewIdNewTasks => DeploymentId(ctx.ids.fresh()),
    };
    let mut new = blank(s, id, revision, rollout, ctx);
    new.is_rollback = true;
    new.begun = true;
    new.settings = s.primary().settings.clone();
    new.reason = reason.clone();
    if let Some(at) = s.deployments.iter().position(|it| it.id == id) {
        new.created_at = s.deployments.remove(at).created_at;
    }
    if way == Rollback::NewIdSameTasks {
        let its = |task: &&mut Task| task.is_live() && task.revision == revision;
        s.tasks.iter_mut().filter(its).for_each(|task| task.deployment = id);
    }
    s.deployments.insert(0, new);
    s.steady = false;
    message(s, format!("(service {}) rolling back to deployment {completed}.", s.name), ctx);
    tell(s, DeploymentEvent::InProgress, reason, ctx);
}

/// Steady state, bake and completion.
pub fn settle(s: &mut Service, ctx: &mut Context<'_>) {
    let steady = is_steady(s);
    if steady && !s.steady {
        announce_steady(s, ctx);
    }
    s.steady = steady;
    if let Some(again) = ctx.config.steady_again_ms
        && steady
        && ctx.now >= s.steady_told_at + again
    {
        announce_steady(s, ctx);
    }
    if !steady || s.primary().state != RolloutState::InProgress {
        return;
    }
    let bake = bake_ms(s.primary(), ctx);
    let since = *s.deployments[0].steady_since.get_or_insert(ctx.now);
    if ctx.now >= since + bake {
        complete(s, ctx);
    } else {
        let rollout = s.primary().rollout;
        s.rollout_mut(rollout).baking = bake > ctx.config.steady_ms;
    }
}

/// How long a deployment is steady before it completes. A rollback does not bake.
pub fn bake_ms(of: &Deployment, ctx: &Context<'_>) -> Ms {
    let by_alarms = if of.settings.alarms.enable { ctx.config.variants.alarm_bake_ms } else { 0 };
    let bake = if of.is_rollback { 0 } else { of.settings.bake_ms.max(by_alarms) };
    bake.max(ctx.config.steady_ms)
}

/// All that is wanted is healthy, and nothing else is left.
fn is_steady(s: &Service) -> bool {
    let primary = s.primary();
    primary.begun
        && s.count(primary.id, Task::is_ready) == s.desired
        && s.count(primary.id, Task::is_live) == s.desired
        && s.tasks.iter().all(|task| task.deployment == primary.id)
}

fn announce_steady(s: &mut Service, ctx: &mut Context<'_>) {
    s.steady_told_at = ctx.now;
    message(s, format!("(service {}) has reached a steady state.", s.name), ctx);
    act(s, Action::SteadyState, ctx);
}

fn complete(s: &mut Service, ctx: &mut Context<'_>) {
    let primary = &mut s.deployments[0];
    primary.state = RolloutState::Completed;
    primary.reason = format!("ECS deployment {} completed.", primary.id);
    primary.updated_at = ctx.now;
    let (id, revision, rollout, reason) =
        (primary.id, primary.revision, primary.rollout, primary.reason.clone());
    let status = if primary.is_rollback { Status::RollbackSuccessful } else { Status::Successful };
    s.last_completed = Some((id, revision));
    let it = s.rollout_mut(rollout);
    finish(it, status, "", ctx.now);
    message(s, format!("(service {}) (deployment {id}) deployment completed.", s.name), ctx);
    tell(s, DeploymentEvent::Completed, reason, ctx);
}

fn finish(rollout: &mut Rollout, status: Status, reason: &str, now: Ms) {
    rollout.status = status;
    rollout.finished_at = Some(now);
    rollout.updated_at = now;
    rollout.baking = false;
    if !reason.is_empty() {
        rollout.reason = reason.into();
    }
}

/// Deployments that have no task left, and are to have none, are not listed any more.
pub fn retire(s: &mut Service, ctx: &Context<'_>) {
    let wanted = s.desired.saturating_sub(s.count(s.primary().id, Task::is_ready)) > 0;
    let replaced = ctx.config.variants.old_is_replaced;
    let (primary, tasks) = (s.primary().id, &s.tasks);
    s.deployments.retain(|it| {
        it.id == primary
            || tasks.iter().any(|task| task.deployment == it.id)
            || (replaced && wanted && it.keep > 0)
    });
}

/// One of the service's `events[]`.
pub fn message(s: &mut Service, text: String, ctx: &mut Context<'_>) {
    s.messages.push_front((ctx.now, ctx.ids.fresh(), text));
    s.messages.truncate(MESSAGES_KEPT);
}

pub fn act(s: &Service, action: Action, ctx: &mut Context<'_>) {
    let event = Event::action(ctx.ids.fresh(), ctx.now, s.name.clone(), action);
    ctx.out.push(Output::Event(event));
}

fn tell(s: &Service, what: DeploymentEvent, reason: String, ctx: &mut Context<'_>) {
    let of = s.primary().id;
    let event = Event::deployment(ctx.ids.fresh(), ctx.now, s.name.clone(), what, of, reason);
    ctx.out.push(Output::Event(event));
}
