//! What one look of the deployer costs, and how few rollouts a hundred pushes become: the real binary, behind the
//! runtime API of Lambda, against a stand-in for AWS in this process.
//!
//! Ends with 0 only if every bar holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bench::aws::ecr::{Scan, digest, multi_arch};
use bench::aws::lambda::{Function, pushed, scanned, schedule, taskdefs};
use bench::aws::{Aws, Dice, SERVICE};
use bench::clock::{Stopwatch, machine, now_ms};
use clap::Parser;
use local::ecs::RolloutState;
use serde_json::Value;

const TURN: Duration = Duration::from_millis(100);
const INIT_BAR_MS: f64 = 50.0;
const LOOK_BAR_MS: f64 = 300.0;
const CALLS_BAR: u64 = 12;
/// Megabytes, of 10^6 bytes.
const BINARY_MB: f64 = 12.0;
const ROLLOUTS_BAR: usize = 2;
/// Scanned as they are pushed, so that the burst begins with a release: the others come while it is rolled out.
const EARLY: u64 = 5;
/// Processes of the function in the burst, as Lambda would start them.
const CONCURRENT: usize = 3;
/// No version is pushed later than this after the last push: its scan is not waited for longer.
const SCAN_LATEST_MS: u64 = 30_000;

#[derive(Parser)]
struct Args {
    /// The deployer's binary; else the one that the profile `lambda` made.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Releases in the repository, of four manifests each.
    #[arg(long, default_value_t = 250)]
    releases: u64,
    /// Looks without a change.
    #[arg(long, default_value_t = 1000)]
    looks: usize,
    /// Pushes of the burst; 0 leaves it out.
    #[arg(long, default_value_t = 100)]
    pushes: u64,
    /// Seconds that the burst takes.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Of a hundred calls to ECS and ECR, so many are throttled in the burst.
    #[arg(long, default_value_t = 10)]
    throttled: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    // This program is target/release/deployer.
    let here = std::env::current_exe()?;
    let target = here.ancestors().nth(2).context("find the target directory")?;
    let binary = args.binary.clone().unwrap_or_else(|| target.join("lambda/deployer-lambda"));
    if !binary.exists() {
        bail!(
            "{} is not there: `cargo build --profile lambda --package deployer-lambda`, or name it by --binary",
            binary.display()
        );
    }
    let scratch = tempfile::tempdir()?;
    let size_mb = megabytes(&binary)?;
    println!("{}, {size_mb:.1} MB, on {}", binary.display(), machine());
    let mut missed = Vec::new();
    if size_mb >= BINARY_MB {
        missed.push(format!("the binary is to be smaller than {BINARY_MB} MB"));
    }
    missed.extend(looks(&args, &binary, scratch.path())?);
    if args.pushes > 0 {
        missed.extend(burst(&args, &binary, scratch.path())?);
    }
    if missed.is_empty() {
        println!("every bar holds");
        return Ok(ExitCode::SUCCESS);
    }
    for bar in missed {
        println!("missed: {bar}");
    }
    // What the function said is worth more than this program's word.
    println!("its log is in {}", scratch.keep().display());
    Ok(ExitCode::FAILURE)
}

fn megabytes(file: &Path) -> Result<f64> {
    Ok(std::fs::metadata(file)?.len() as f64 / 1e6)
}

/// The model's time goes on by itself until the benchmark ends.
struct Ticking(Arc<AtomicBool>);

impl Ticking {
    fn start(aws: &Aws) -> Ticking {
        let stop = Arc::new(AtomicBool::new(false));
        let (aws, stopped) = (aws.clone(), stop.clone());
        thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                aws.world().cluster.turn(now_ms());
                thread::sleep(TURN);
            }
        });
        Ticking(stop)
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Puts a release into the registry, as its push does.
fn push(aws: &Aws, number: u64, tag: &str, scan: Scan) -> String {
    let images = multi_arch(number, tag, now_ms(), scan);
    let index = images.last().map(|image| image.digest.clone()).unwrap_or_default();
    let mut world = aws.world();
    if let [amd64, ..] = images.as_slice() {
        world.cluster.ecs.set_child(&index, &amd64.digest);
    }
    world.ecr.push(images);
    index
}

/// Looks again and again until the newest release is proven.
fn prove(aws: &Aws, function: &mut Function) -> Result<()> {
    for _ in 0..60 {
        function.invoke("events", schedule())?;
        let journal = aws.world().journal();
        let proven = |journal: &Value| journal["current"].is_string() && journal["candidate"].is_null();
        if journal.as_ref().is_some_and(proven) {
            return Ok(());
        }
        thread::sleep(Duration::from_secs(1));
    }
    bail!("the first release was not proven within a minute: {:?}", aws.world().journal())
}

fn looks(args: &Args, binary: &Path, scratch: &Path) -> Result<Vec<String>> {
    let aws = Aws::start()?;
    let _ticking = Ticking::start(&aws);
    let templates = scratch.join("looks");
    taskdefs(&templates, "[proof]\nbake = \"0s\"\n")?;
    for number in 1..=args.releases {
        push(&aws, number, &format!("v0.{number}.0"), Scan::Passed);
    }
    let log = scratch.join("looks.log");
    let start = || Function::start(binary, &aws.endpoint(), &templates, &log);

    let mut inits = Vec::new();
    for _ in 0..20 {
        inits.push(start()?.init);
    }
    let mut function = start()?;
    prove(&aws, &mut function)?;
    let mut function = start()?;
    let (_, cold) = function.invoke("events", schedule())?;
    let (mut took, mut calls_most) = (Vec::new(), 0);
    let before = aws.world().calls.clone();
    for _ in 0..args.looks {
        let asked: u64 = aws.world().calls.values().sum();
        let (answer, wall) = function.invoke("events", schedule())?;
        if answer["decisions"][0]["what"] != "nothing" {
            bail!("a look without a change decided: {answer}");
        }
        took.push(wall);
        calls_most = calls_most.max(aws.world().calls.values().sum::<u64>() - asked);
    }
    let after = aws.world().calls.clone();
    let made: BTreeMap<String, u64> = after
        .iter()
        .map(|(call, count)| (call.clone(), count - before.get(call).copied().unwrap_or(0)))
        .filter(|(_, count)| *count > 0)
        .collect();
    let reads = ["Describe", "List", "Get", "BatchGet"];
    let is_read =
        |call: &str| reads.iter().any(|verb| call.split(':').nth(1).unwrap_or("").starts_with(verb));
    // A skip is counted, and counting it is one call.
    let changes: Vec<&String> =
        made.keys().filter(|call| !is_read(call) && *call != "cloudwatch:PutMetricData").collect();

    let (inits, took) = (Spread::of(&inits), Spread::of(&took));
    println!("\ninit, 20 starts: {inits}");
    println!("first look of a process, {} images: {:.1} ms", args.releases * 4, ms(cold));
    println!("{} looks without a change: {took}", args.looks);
    println!("calls a look, at most {calls_most}:");
    for (call, count) in &made {
        println!("  {:<32} {:.2}", call, *count as f64 / args.looks as f64);
    }
    let mut missed = Vec::new();
    let mut bar = |holds: bool, what: String| {
        if !holds {
            missed.push(what);
        }
    };
    bar(inits.median < INIT_BAR_MS, format!("init under {INIT_BAR_MS} ms: {inits}"));
    bar(took.p99 < LOOK_BAR_MS, format!("a look without a change under {LOOK_BAR_MS} ms: {took}"));
    bar(calls_most <= CALLS_BAR, format!("at most {CALLS_BAR} calls a look: {calls_most}"));
    bar(changes.is_empty(), format!("looks without a change change nothing: {changes:?}"));
    Ok(missed)
}

/// Milliseconds.
struct Spread {
    least: f64,
    median: f64,
    p99: f64,
    most: f64,
}

impl Spread {
    fn of(walls: &[Duration]) -> Spread {
        let mut sorted: Vec<f64> = walls.iter().copied().map(ms).collect();
        sorted.sort_by(f64::total_cmp);
        let at =
            |part: usize| sorted.get(sorted.len().saturating_sub(1) * part / 100).copied().unwrap_or(0.0);
        Spread { least: at(0), median: at(50), p99: at(99), most: at(100) }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Spread { least, median, p99, most } = self;
        write!(f, "{least:.1} / {median:.1} / {p99:.1} / {most:.1} ms (least, median, 99 %, most)")
    }
}

fn ms(wall: Duration) -> f64 {
    wall.as_secs_f64() * 1000.0
}

/// What is to happen in the burst, and when.
enum Due {
    Push { number: u64, version: u64, scan_after_ms: u64, scan: Scan },
    Scan { number: u64, tag: String, scan: Scan },
    Event(Value),
}

/// By time; who takes something waits for nobody.
#[derive(Clone, Default)]
struct Agenda(Arc<Mutex<Vec<(u64, Due)>>>);

impl Agenda {
    fn add(&self, at: u64, due: Due) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((at, due));
    }

    fn take(&self, now: u64) -> Option<Due> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = (0..all.len()).filter(|&at| all[at].0 <= now).min_by_key(|&at| all[at].0)?;
        Some(all.swap_remove(next).1)
    }
}

/// The first few are the lowest versions and clean at once; the others come in any order, one in seven with findings,
/// the newest among them, and their scans end late.
fn script(args: &Args, from: u64, dice: &mut Dice) -> (Agenda, u64) {
    let agenda = Agenda::default();
    let mut versions: Vec<u64> = (1..=args.pushes).collect();
    let early = versions.len().min(EARLY as usize);
    dice.shuffle(&mut versions[early..]);
    let mut newest = 0;
    for (nth, version) in (0..args.pushes).zip(versions) {
        let is_early = nth < EARLY;
        let bad = version == args.pushes || (!is_early && dice.below(7) == 0);
        let scan = if bad { Scan::Critical } else { Scan::Passed };
        if !bad {
            newest = newest.max(version);
        }
        // Most scans take seconds, some as long as half the burst.
        let late = dice.below(10) == 0;
        let scan_after_ms = match (is_early, late) {
            (true, _) => 0,
            (false, true) => 10_000 + dice.below(SCAN_LATEST_MS - 10_000),
            (false, false) => 1_000 + dice.below(5_000),
        };
        let at = from + nth * args.seconds * 1000 / args.pushes;
        agenda.add(at, Due::Push { number: 1_000_000 + version, version, scan_after_ms, scan });
    }
    (agenda, newest)
}

fn tag_of(version: u64) -> String {
    format!("v1.0.{version}")
}

/// Does what is due; an event is the caller's.
fn act(aws: &Aws, agenda: &Agenda, due: Due, now: u64, dice: &Mutex<Dice>, told: &Told) -> Option<Value> {
    let mut dice = dice.lock().unwrap_or_else(PoisonError::into_inner);
    match due {
        Due::Event(event) => return Some(event),
        Due::Push { number, version, scan_after_ms, scan } => {
            let tag = tag_of(version);
            let at_once = scan_after_ms == 0;
            let index = push(aws, number, &tag, if at_once { scan } else { Scan::Pending });
            if !at_once {
                agenda.add(now + scan_after_ms, Due::Scan { number, tag: tag.clone(), scan });
            }
            let parts = multi_arch(number, &tag, now, scan);
            for part in &parts {
                let part_tag = if part.digest == index { tag.as_str() } else { "" };
                // Lost, once or twice; a little later each, and so in any order.
                let times = match dice.below(100) {
                    0..=2 => 0,
                    3..=12 => 2,
                    _ => 1,
                };
                for _ in 0..times {
                    let at = now + dice.below(1_500);
                    if part.digest == index {
                        told.note(&index, at);
                    }
                    agenda.add(at, Due::Event(pushed(&part.digest, part_tag)));
                }
            }
        }
        Due::Scan { number, tag, scan } => {
            aws.world().ecr.scanned(number, scan);
            agenda.add(now + dice.below(1_000), Due::Event(scanned(&digest(number, 0), &tag)));
        }
    }
    None
}

/// When the first event of each push was due.
#[derive(Default)]
struct Told(Mutex<BTreeMap<String, u64>>);

impl Told {
    fn note(&self, digest: &str, at: u64) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = told.entry(digest.to_owned()).or_insert(at);
        *first = at.min(*first);
    }

    fn at(&self, digest: &str) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(digest).copied()
    }
}

fn burst(args: &Args, binary: &Path, scratch: &Path) -> Result<Vec<String>> {
    let aws = Aws::start()?;
    let _ticking = Ticking::start(&aws);
    let log = scratch.join("burst.log");
    let templates = scratch.join("before");
    taskdefs(&templates, "[proof]\nbake = \"0s\"\n")?;
    push(&aws, 1, "v0.9.0", Scan::Passed);
    prove(&aws, &mut Function::start(binary, &aws.endpoint(), &templates, &log)?)?;

    // The bake outlasts the burst, as ten minutes outlast a minute.
    let bake = args.seconds + 30;
    let templates = scratch.join("burst");
    taskdefs(
        &templates,
        &format!("[proof]\nbake = \"{bake}s\"\n[scan]\npasses = \"medium\"\nwait = \"10m\"\n"),
    )?;
    let mut dice = Dice(args.seed);
    let started = now_ms();
    let (agenda, newest) = script(args, started, &mut dice);
    let (dice, told, failed) = (Mutex::new(dice), Told::default(), AtomicBool::new(false));
    let winner = digest(1_000_000 + newest, 0);
    {
        let mut world = aws.world();
        world.throttled_percent = args.throttled;
        world.pointed.clear();
        world.calls.clear();
        world.cluster.events.clear();
    }
    let over = AtomicBool::new(false);
    let invocations = Mutex::new(Vec::new());
    let watch = Stopwatch::start();
    thread::scope(|scope| -> Result<()> {
        for _ in 0..CONCURRENT {
            let mut function = Function::start(binary, &aws.endpoint(), &templates, &log)?;
            let (aws, agenda, dice, told) = (&aws, &agenda, &dice, &told);
            let (over, failed, invocations) = (&over, &failed, &invocations);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let now = now_ms();
                    let Some(due) = agenda.take(now) else {
                        thread::sleep(Duration::from_millis(5));
                        continue;
                    };
                    let Some(event) = act(aws, agenda, due, now, dice, told) else { continue };
                    match function.invoke("events", event.clone()) {
                        Ok((_, wall)) => {
                            invocations.lock().unwrap_or_else(PoisonError::into_inner).push(wall);
                        }
                        Err(error) => {
                            // Lambda tries an event again, after a minute.
                            println!("{error:#}");
                            failed.store(true, Ordering::Relaxed);
                            agenda.add(now + 60_000, Due::Event(event));
                        }
                    }
                }
            });
        }
        let ended = until_quiet(&aws, &agenda, &winner, args, bake);
        over.store(true, Ordering::Relaxed);
        ended
    })?;
    let walls = invocations.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!(
        "\n{} pushes of multi-arch images in {} s, {} invocations by {CONCURRENT} processes: {}",
        args.pushes,
        args.seconds,
        walls.len(),
        Spread::of(&walls)
    );
    report(&aws, args, &told, &winner, newest, started, bake, watch.wall())
}

/// Until the winner's deployment is complete and nothing happened for ten seconds, or too long has passed.
fn until_quiet(aws: &Aws, agenda: &Agenda, winner: &str, args: &Args, bake: u64) -> Result<()> {
    let most = args.seconds + 2 * bake + 120;
    let (mut quiet_since, mut scheduled) = (0, 0);
    for second in 0..most {
        thread::sleep(Duration::from_secs(1));
        let now = now_ms();
        // What ECS tells goes to the function as the rules let it through; the schedule looks every ten seconds here.
        let events = std::mem::take(&mut aws.world().cluster.events);
        for event in events {
            agenda.add(now, Due::Event(event));
        }
        if second >= scheduled {
            scheduled = second + 10;
            agenda.add(now, Due::Event(schedule()));
        }
        let world = aws.world();
        let completed = world.cluster.ecs.service(SERVICE).is_some_and(|service| {
            service.deployments.len() == 1 && service.primary().state == RolloutState::Completed
        });
        let points = world.pointed.last().is_some_and(|(_, image)| image == winner);
        if !(completed && points && second > args.seconds + SCAN_LATEST_MS / 1000) {
            quiet_since = second;
        }
        if second >= quiet_since + 10 {
            return Ok(());
        }
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the figures of one run")]
fn report(
    aws: &Aws,
    args: &Args,
    told: &Told,
    winner: &str,
    newest: u64,
    started: u64,
    bake: u64,
    wall: Duration,
) -> Result<Vec<String>> {
    let world = aws.world();
    let journal = world.journal().context("there is no journal")?;
    println!(
        "  {} of {} calls to ECS and ECR throttled; {} task definitions registered; {:.0} s in all",
        world.throttled,
        world.calls.iter().filter(|(call, _)| call.starts_with("ec")).map(|(_, count)| count).sum::<u64>(),
        world.calls_of("ecs:RegisterTaskDefinition"),
        wall.as_secs_f64()
    );
    let seconds = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1000.0;
    let mut rollouts: Vec<&(u64, String)> = Vec::new();
    for pointed in &world.pointed {
        // The same image again, to switch ECS's own rollback on or off, is no rollout.
        if rollouts.last().is_none_or(|(_, image)| *image != pointed.1) {
            rollouts.push(pointed);
        }
    }
    let releases = journal["releases"].as_array().cloned().unwrap_or_default();
    for (at, image) in &rollouts {
        let record = releases.iter().find(|record| record["digest"] == image.as_str());
        let tag = record.and_then(|record| record["tags"][0].as_str()).unwrap_or("?");
        let from = told.at(image).map_or("its events were lost".to_owned(), |told| {
            format!("{:.2} s after its event", seconds(told, *at))
        });
        println!("  UpdateService to {tag} {:.2} s after the first push, {from}", seconds(started, *at));
    }
    let verdict = rollouts.first().and_then(|(_, first)| {
        let record = releases.iter().find(|record| record["digest"] == first.as_str())?;
        record["verdict_at"].as_u64()
    });
    if let (Some(verdict), Some((at, _))) = (verdict, rollouts.get(1)) {
        println!(
            "  the second {:.2} s after the verdict on the first (bake {bake} s)",
            seconds(verdict, *at)
        );
    }
    let mut missed = Vec::new();
    let ends_on = world.pointed.last().map(|(_, image)| image.as_str());
    println!("  ends on {}: {}", tag_of(newest), ends_on == Some(winner));
    if ends_on != Some(winner) {
        missed.push(format!("the burst ends on {}, the newest eligible image: {ends_on:?}", tag_of(newest)));
    }
    // With fewer than two, "no more than two" would not have been tried.
    let expected = if newest > EARLY { ROLLOUTS_BAR } else { 1 };
    if rollouts.len() != expected {
        missed.push(format!("{expected} rollouts of {} pushes: {}", args.pushes, rollouts.len()));
    }
    Ok(missed)
}
