//! Tether: a child does not outlive this program, not even when the program is killed with SIGKILL.
//!
//! Linux only; elsewhere children are killed when they are dropped, which a SIGKILL of ours prevents.
//! Neighbours: worker_process ties every worker with it.

#![allow(
    unsafe_code,
    reason = "pre_exec is unsafe: what runs between fork and exec must be async-signal-safe"
)]

use tokio::process::Command;

/// Has the kernel kill the child when the thread that starts it ends. That must be one that lives as long as the
/// program: the main thread, which runs the story.
#[cfg(target_os = "linux")]
pub fn tie(command: &mut Command) {
    use rustix::process::{Signal, set_parent_process_death_signal};
    // SAFETY: the closure makes one prctl(2) and nothing else: no allocation, no lock, no access to shared state.
    unsafe {
        command.pre_exec(|| set_parent_process_death_signal(Some(Signal::KILL)).map_err(Into::into));
    }
}

#[cfg(not(target_os = "linux"))]
pub fn tie(_command: &mut Command) {}
