//! Tasks: from start to stop, and what their reports mean.
//!
//! Order: a stop is recorded before the command goes out, so that the exit that follows is known as asked for.
//! Neighbours: scheduler starts and stops, deployment is told of failures and of health.

use std::sync::Arc;

use super::deployment;
use super::error::ReportError;
use super::events::{Action, Event};
use super::ids::TaskId;
use super::model::{
    Context, Health, Ms, Output, Service, StartFailure, StopCode, Task, TaskCommand, TaskReport, TaskStatus,
};

/// After so many tasks in a row that never ran, ECS says that it cannot start them.
const IMPAIRED_AFTER: u32 = 3;

pub fn start(s: &mut Service, deployment: usize, ctx: &mut Context<'_>) {
    let of = &s.deployments[deployment];
    let task = Task {
        id: TaskId(ctx.ids.fresh()),
        deployment: of.id,
        started_by: of.id,
        revision: of.revision,
        definition: of.definition,
        status: TaskStatus::Provisioning,
        health: Health::Unknown,
        stopping: false,
        was_healthy: false,
        failed_checks: 0,
        pulled_digest: None,
        created_at: ctx.now,
        pulled_at: None,
        started_at: None,
        stopping_at: None,
        stopped_at: None,
        kill_at: None,
        stop_code: None,
        stopped_reason: None,
        exit_code: None,
        container_reason: None,
        version: 1,
    };
    ctx.out.push(Output::Task(TaskCommand::Start {
        service: s.name.clone(),
        task: task.id,
        definition: of.definition,
        deployment: of.id,
    }));
    let text = format!("(service {}) has started 1 tasks: (task {}).", s.name, task.id);
    deployment::message(s, text, ctx);
    tell(s, &task, ctx);
    s.tasks.push(task);
}

pub fn stop(s: &mut Service, at: usize, code: StopCode, reason: Arc<str>, ctx: &mut Context<'_>) {
    let task = &mut s.tasks[at];
    let kill_at = ctx.now + ctx.definitions.get(task.definition).stop_timeout_ms;
    task.stopping = true;
    task.status = TaskStatus::Deactivating;
    task.stopping_at = Some(ctx.now);
    task.kill_at = Some(kill_at);
    task.stop_code = Some(code);
    task.stopped_reason = Some(reason);
    task.version += 1;
    let task = task.clone();
    ctx.out.push(Output::Task(TaskCommand::Stop { task: task.id, kill_at }));
    let text = format!("(service {}) has stopped 1 running tasks: (task {}).", s.name, task.id);
    deployment::message(s, text, ctx);
    tell(s, &task, ctx);
}

/// Stops a task that fails its health checks; that is a failure of its deployment.
pub fn stop_unhealthy(s: &mut Service, at: usize, ctx: &mut Context<'_>) {
    let of = s.tasks[at].deployment;
    stop(s, at, StopCode::ServiceSchedulerInitiated, "Task failed container health checks".into(), ctx);
    deployment::count_failure(s, of, ctx);
    delay(s, at, ctx);
}

/// Stops a task that its deployment, or the service, does not need any more.
pub fn stop_surplus(s: &mut Service, at: usize, ctx: &mut Context<'_>) {
    let reason = format!("Scaling activity initiated by (deployment {})", s.primary().id);
    stop(s, at, StopCode::ServiceSchedulerInitiated, reason.into(), ctx);
}

/// What time alone brings: 40 s without a health check are healthy, and after the stop timeout comes SIGKILL.
pub fn timers(s: &mut Service, ctx: &mut Context<'_>) {
    for at in 0..s.tasks.len() {
        let task = &mut s.tasks[at];
        if task.kill_at.is_some_and(|kill_at| kill_at <= ctx.now) {
            task.kill_at = None;
            ctx.out.push(Output::Task(TaskCommand::Kill { task: task.id }));
        }
        if settles_at(task, ctx).is_some_and(|settles_at| settles_at <= ctx.now) {
            task.was_healthy = true;
            let of = task.deployment;
            deployment::one_is_healthy(s, of);
        }
    }
    let kept = ctx.config.stopped_kept_ms;
    while s.stopped.front().and_then(|task| task.stopped_at).is_some_and(|at| at + kept <= ctx.now) {
        s.stopped.pop_front();
    }
}

/// When time alone makes this task healthy.
pub fn settles_at(task: &Task, ctx: &Context<'_>) -> Option<Ms> {
    let waits = task.is_live() && !task.was_healthy && task.status == TaskStatus::Running;
    let checked = ctx.definitions.get(task.definition).health.is_some();
    task.started_at.filter(|_| waits && !checked).map(|started_at| started_at + ctx.config.settle_ms)
}

pub fn report(
    s: &mut Service,
    at: usize,
    report: TaskReport,
    ctx: &mut Context<'_>,
) -> Result<(), ReportError> {
    let (id, status, stopping) = (s.tasks[at].id, s.tasks[at].status, s.tasks[at].stopping);
    let odd = |what| Err(ReportError::OutOfOrder(id, what));
    match report {
        // Whoever runs tasks may be behind: what a task does that is told to stop matters no more, but for its end.
        TaskReport::Pulled { .. }
        | TaskReport::Running
        | TaskReport::Checked { .. }
        | TaskReport::HealthChanged(_)
        | TaskReport::Interrupted { .. }
            if stopping => {}
        TaskReport::Pulled { .. } if status != TaskStatus::Provisioning => return odd("Pulled"),
        TaskReport::Pulled { digest } => pulled(s, at, digest, ctx),
        TaskReport::Running if status == TaskStatus::Running => return odd("Running"),
        TaskReport::Running => running(s, at, ctx),
        TaskReport::Checked { passed } => {
            let Some(verdict) = verdict(&mut s.tasks[at], passed, ctx) else { return odd("Checked") };
            health_is(s, at, verdict);
        }
        TaskReport::HealthChanged(health) => {
            let checked = ctx.definitions.get(s.tasks[at].definition).health.is_some();
            if status != TaskStatus::Running || !checked {
                return odd("HealthChanged");
            }
            health_is(s, at, health);
        }
        TaskReport::Exited { code, reason } => exited(s, at, code, reason, ctx),
        TaskReport::FailedToStart { .. } if status == TaskStatus::Running => return odd("FailedToStart"),
        TaskReport::FailedToStart { what, reason } => failed_to_start(s, at, what, reason, ctx),
        TaskReport::Interrupted { code, reason } => {
            stop(s, at, code, reason, ctx);
            delay(s, at, ctx);
        }
    }
    Ok(())
}

fn pulled(s: &mut Service, at: usize, digest: Option<Arc<str>>, ctx: &mut Context<'_>) {
    let task = &mut s.tasks[at];
    let named = ctx.definitions.get(task.definition).containers.first().and_then(|it| it.digest.clone());
    task.status = TaskStatus::Pending;
    task.pulled_at = Some(ctx.now);
    task.pulled_digest = digest.or(named);
    task.version += 1;
    let (revision, digest) = (task.revision, task.pulled_digest.clone());
    let task = task.clone();
    if let Some(revision) = s.revisions.iter_mut().find(|it| it.id == revision)
        && let Some(resolved) = revision.digests.first_mut()
    {
        // "Container image resolution": the first task resolves the tag, and the others run the same image.
        *resolved = resolved.take().or(digest);
    }
    tell(s, &task, ctx);
}

fn running(s: &mut Service, at: usize, ctx: &mut Context<'_>) {
    if s.tasks[at].pulled_at.is_none() {
        pulled(s, at, None, ctx);
    }
    let task = &mut s.tasks[at];
    task.status = TaskStatus::Running;
    task.started_at = Some(ctx.now);
    task.version += 1;
    let task = task.clone();
    if let Some(of) = s.deployments.iter_mut().find(|it| it.id == task.deployment) {
        of.failed_starts = 0;
    }
    tell(s, &task, ctx);
}

/// What one more run of the health check makes of the task; None if it has no health check or does not run.
/// *HealthCheck*, ECS API Reference: failures in the start period do not count, unless it was healthy before.
fn verdict(task: &mut Task, passed: bool, ctx: &Context<'_>) -> Option<Health> {
    let check = ctx.definitions.get(task.definition).health.as_ref()?;
    let started_at = task.started_at.filter(|_| task.status == TaskStatus::Running)?;
    if passed {
        task.failed_checks = 0;
        return Some(Health::Healthy);
    }
    if ctx.now >= started_at + check.start_period_ms || task.was_healthy {
        task.failed_checks += 1;
    }
    Some(if task.failed_checks >= check.retries { Health::Unhealthy } else { task.health })
}

fn health_is(s: &mut Service, at: usize, health: Health) {
    let task = &mut s.tasks[at];
    let turned_healthy = health == Health::Healthy && task.health != Health::Healthy;
    task.health = health;
    if turned_healthy {
        task.was_healthy = true;
        let of = task.deployment;
        deployment::one_is_healthy(s, of);
    }
}

fn exited(s: &mut Service, at: usize, code: i32, reason: Option<Arc<str>>, ctx: &mut Context<'_>) {
    let task = &mut s.tasks[at];
    let (asked_for, late) = (task.stopping, task.was_healthy);
    task.exit_code = Some(code);
    task.container_reason = reason;
    if !asked_for {
        task.stop_code = Some(StopCode::EssentialContainerExited);
        task.stopped_reason = Some("Essential container in task exited".into());
        let of = task.deployment;
        if !late || ctx.config.variants.late_exit_counts {
            deployment::count_failure(s, of, ctx);
        }
        delay(s, at, ctx);
    }
    gone(s, at, ctx);
}

fn failed_to_start(s: &mut Service, at: usize, what: StartFailure, reason: Arc<str>, ctx: &mut Context<'_>) {
    let task = &mut s.tasks[at];
    let (asked_for, of) = (task.stopping, task.deployment);
    if !asked_for {
        task.stop_code = Some(StopCode::TaskFailedToStart);
        task.stopped_reason = Some(reason.clone());
        if what == StartFailure::Resources || ctx.config.variants.placement_counts {
            deployment::count_failure(s, of, ctx);
        }
        back_off(s, at, ctx);
    }
    match what {
        StartFailure::Resources => gone(s, at, ctx),
        StartFailure::Placement => {
            s.tasks.remove(at);
            let text = format!("(service {}) was unable to place a task. Reason: {reason}.", s.name);
            deployment::message(s, text, ctx);
            deployment::act(s, Action::PlacementFailure(reason), ctx);
        }
    }
}

fn gone(s: &mut Service, at: usize, ctx: &mut Context<'_>) {
    let mut task = s.tasks.remove(at);
    task.status = TaskStatus::Stopped;
    task.stopping = true;
    task.kill_at = None;
    task.stopping_at = task.stopping_at.or(Some(ctx.now));
    task.stopped_at = Some(ctx.now);
    task.version += 1;
    tell(s, &task, ctx);
    s.stopped.push_back(task);
}

/// The next task of its deployment waits a little.
fn delay(s: &mut Service, at: usize, ctx: &Context<'_>) {
    let of = s.tasks[at].deployment;
    if let Some(of) = s.deployments.iter_mut().find(|it| it.id == of) {
        of.start_after = of.start_after.max(ctx.now + ctx.config.restart_delay_ms);
    }
}

/// The next task of its deployment waits the longer, the more of them never ran.
fn back_off(s: &mut Service, at: usize, ctx: &mut Context<'_>) {
    let of = s.tasks[at].deployment;
    let Some(of) = s.deployments.iter_mut().find(|it| it.id == of) else { return };
    of.failed_starts += 1;
    let doubled = ctx.config.backoff_first_ms.saturating_mul(1 << (of.failed_starts - 1).min(20));
    of.start_after = of.start_after.max(ctx.now + doubled.min(ctx.config.backoff_most_ms));
    if of.failed_starts == IMPAIRED_AFTER {
        let text = format!("(service {}) is unable to consistently start tasks successfully.", s.name);
        deployment::message(s, text, ctx);
        deployment::act(s, Action::TaskStartImpaired, ctx);
    }
}

fn tell(s: &Service, task: &Task, ctx: &mut Context<'_>) {
    let event = Event::task(ctx.ids.fresh(), ctx.now, s.name.clone(), task);
    ctx.out.push(Output::Event(event));
}
