//! The scheduler: one turn brings a service one step nearer to what is wanted.
//!
//! Order: what was asked for begins; time passes over the tasks; breaker and alarms are asked, tasks stopped and
//! started, until neither changes anything; then what is empty goes, and what is steady completes.
//! Neighbours: tasks and deployment do what is decided here.
//!
//! Sources: *Amazon ECS Developer Guide*, "Deploy Amazon ECS services by replacing tasks", "Amazon ECS service throttle
//! logic"; *DeploymentConfiguration* in the ECS API Reference; What's New, November 2025, "Amazon ECS improves service
//! availability during rolling deployments".

use super::deployment;
use super::model::{Context, Health, Ms, RolloutState, Service, Task};
use super::tasks;

/// A failure starts a rollback, which may stop and start tasks; nothing goes round more often than this.
const ROUNDS_MOST: usize = 8;

pub fn turn(s: &mut Service, ctx: &mut Context<'_>) {
    if s.draining {
        tasks::timers(s, ctx);
        stop_all(s, ctx);
        return;
    }
    deployment::begin(s, ctx);
    tasks::timers(s, ctx);
    for _ in 0..ROUNDS_MOST {
        let failed = deployment::judge(s, ctx);
        let acted = place(s, ctx);
        if !failed && !acted {
            break;
        }
    }
    deployment::retire(s, ctx);
    deployment::settle(s, ctx);
}

/// When time alone changes something, if nobody calls or reports before.
pub fn due(s: &Service, ctx: &Context<'_>) -> Option<Ms> {
    let killed = s.tasks.iter().filter_map(|task| task.kill_at);
    if s.draining {
        return killed.filter(|at| *at > ctx.now).min();
    }
    let primary = s.primary();
    let begins = (!primary.begun).then(|| primary.created_at + ctx.config.variants.pending_ms);
    let bakes = primary.steady_since.filter(|_| primary.state == RolloutState::InProgress);
    let bakes = bakes.map(|since| since + deployment::bake_ms(primary, ctx));
    let steady = ctx.config.steady_again_ms.filter(|_| s.steady).map(|again| s.steady_told_at + again);
    let tasks = s.tasks.iter().flat_map(|task| [task.kill_at, tasks::settles_at(task, ctx)]).flatten();
    let starts = s.deployments.iter().map(|it| it.start_after);
    [begins, bakes, steady].into_iter().flatten().chain(tasks).chain(starts).filter(|at| *at > ctx.now).min()
}

fn stop_all(s: &mut Service, ctx: &mut Context<'_>) {
    for at in 0..s.tasks.len() {
        if s.tasks[at].is_live() {
            tasks::stop_surplus(s, at, ctx);
        }
    }
}

/// True if a task was started or stopped.
fn place(s: &mut Service, ctx: &mut Context<'_>) -> bool {
    let before = ctx.out.len();
    shed_old(s, ctx);
    replace_old(s, ctx);
    shed_primary(s, ctx);
    fill_primary(s, ctx);
    ctx.out.len() != before
}

/// How many tasks the deployments before the PRIMARY still have to provide.
fn old_needed(s: &Service) -> u32 {
    s.desired.saturating_sub(s.count(s.primary().id, Task::is_ready))
}

fn old_count(s: &Service, which: fn(&Task) -> bool) -> u32 {
    s.count_all(which) - s.count(s.primary().id, which)
}

/// What the PRIMARY's healthy tasks make superfluous.
fn shed_old(s: &mut Service, ctx: &mut Context<'_>) {
    while old_count(s, Task::is_live) > old_needed(s) {
        let Some(victim) = old_victim(s) else { break };
        stop_old(s, victim, ctx);
    }
}

/// The old task that is missed least: not healthy ones first, then those of the newest deployment. A healthy one only
/// while enough healthy ones remain.
fn old_victim(s: &Service) -> Option<usize> {
    let primary = s.primary();
    let fewest = primary.settings.fewest(s.desired);
    let spare = s.count_all(Task::is_ready) > fewest;
    let rank = |task: &Task| s.deployments.iter().position(|it| it.id == task.deployment);
    s.tasks
        .iter()
        .enumerate()
        .filter(|(_, task)| task.is_live() && task.deployment != primary.id && (spare || !task.is_ready()))
        .min_by_key(|(_, task)| (task.is_ready(), rank(task), std::cmp::Reverse(task.id)))
        .map(|(at, _)| at)
}

/// Stopped on purpose, it is not replaced.
fn stop_old(s: &mut Service, at: usize, ctx: &mut Context<'_>) {
    let of = s.tasks[at].deployment;
    if let Some(of) = s.deployments.iter_mut().find(|it| it.id == of) {
        of.keep = of.keep.saturating_sub(1);
    }
    tasks::stop_surplus(s, at, ctx);
}

/// Old tasks that died are replaced by their like, as long as they are needed and there is room.
fn replace_old(s: &mut Service, ctx: &mut Context<'_>) {
    if !ctx.config.variants.old_is_replaced {
        return;
    }
    for at in 1..s.deployments.len() {
        while s.deployments[at].keep > s.count(s.deployments[at].id, Task::is_fit)
            && old_count(s, Task::is_fit) < old_needed(s)
            && ctx.now >= s.deployments[at].start_after
            && room(s, ctx) > 0
        {
            tasks::start(s, at, ctx);
        }
    }
}

/// Scale-in, and unhealthy tasks that have been replaced.
fn shed_primary(s: &mut Service, ctx: &mut Context<'_>) {
    let primary = s.primary().id;
    while s.count(primary, Task::is_fit) > s.desired {
        let fit = |task: &Task| task.deployment == primary && task.is_fit();
        let found = s.tasks.iter().enumerate().filter(|(_, task)| fit(task));
        let Some((victim, _)) = found.min_by_key(|(_, task)| (task.is_ready(), std::cmp::Reverse(task.id)))
        else {
            break;
        };
        tasks::stop_surplus(s, victim, ctx);
    }
    while s.count(primary, Task::is_ready) >= s.desired {
        let Some(victim) = unhealthy_of_primary(s) else { break };
        tasks::stop_unhealthy(s, victim, ctx);
    }
}

fn unhealthy_of_primary(s: &Service) -> Option<usize> {
    let primary = s.primary().id;
    s.tasks
        .iter()
        .position(|task| task.deployment == primary && task.is_live() && task.health == Health::Unhealthy)
}

/// Starts what is missing, and where there is no room makes it: first of unhealthy tasks, then of old ones.
fn fill_primary(s: &mut Service, ctx: &mut Context<'_>) {
    let primary = s.primary();
    if !primary.begun || primary.state == RolloutState::Failed || ctx.now < primary.start_after {
        return;
    }
    let id = primary.id;
    let most = primary.settings.most(s.desired);
    let missing = s.desired.saturating_sub(s.count(id, Task::is_fit));
    let started = missing.min(room(s, ctx));
    for _ in 0..started {
        tasks::start(s, 0, ctx);
    }
    // Those that are stopping already will make room by themselves.
    let cramped = (s.count_all(Task::is_live) + missing - started).saturating_sub(most);
    for _ in 0..cramped {
        if let Some(victim) = unhealthy_of_primary(s) {
            tasks::stop_unhealthy(s, victim, ctx);
        } else if let Some(victim) = old_victim(s) {
            stop_old(s, victim, ctx);
        } else {
            break;
        }
    }
}

/// How many tasks may be started.
fn room(s: &Service, ctx: &Context<'_>) -> u32 {
    let stopping_counts = ctx.config.variants.stopping_takes_room;
    let taken = if stopping_counts { s.count_all(|_| true) } else { s.count_all(Task::is_live) };
    s.primary().settings.most(s.desired).saturating_sub(taken)
}
