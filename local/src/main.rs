//! `cargo local`: Landfall on one machine, with nothing but cargo and a C compiler.
//!
//! Exit codes: 0 proved; 1 not proved; 64 refused; 70 the run broke; 130 Ctrl-C.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use local::cli::Cli;
use local::narrate::Narrator;
use local::stage::{Stage, StageError};
use local::{clock, story};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

const UNPROVEN: u8 = 1;
const USAGE: u8 = 64;
const BROKEN: u8 = 70;
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors. Nothing can be done when even this cannot be printed.
            let _ = error.print();
            return if error.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let narrator = Narrator::new(std::io::stdout().is_terminal() && std::io::stderr().is_terminal());
    let ended = match tokio::runtime::Runtime::new() {
        Ok(runtime) => {
            // Leaving `run` drops the story, and with it all processes, which are killed by their pids.
            let ended = runtime.block_on(run(cli, &narrator));
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(anyhow::Error::new(error).context("start the runtime")),
    };
    narrator.end_display();
    match ended {
        Ok(code) => code.into(),
        Err(error) => {
            narrator.complain(&format!("cargo local: {error:#}"));
            match error.downcast_ref::<StageError>() {
                Some(StageError::Refused(_) | StageError::NotEmpty(_)) => USAGE.into(),
                Some(_) | None => BROKEN.into(),
            }
        }
    }
}

async fn run(cli: Cli, narrator: &Narrator) -> anyhow::Result<u8> {
    let (enough, is_enough) = watch::channel(false);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let tale = async {
        let (stage, outlets) = Stage::set(&cli, narrator, clock::now_ms).await?;
        narrator.begin();
        anyhow::Ok(story::tell(stage, outlets, narrator, is_enough).await?)
    };
    tokio::pin!(tale);
    let mut ending = !cli.keep;
    loop {
        tokio::select! {
            told = &mut tale => return Ok(if told? { 0 } else { UNPROVEN }),
            _ = interrupt.recv() => {
                if ending {
                    break;
                }
                narrator.say("Ctrl-C: no more events; draining and proving (again to give up)");
                enough.send_replace(true);
                ending = true;
            }
            _ = terminate.recv() => break,
            _ = hang_up.recv() => break,
        }
    }
    narrator.say("given up; workers and deployer are killed, nothing was proved");
    Ok(INTERRUPTED)
}
