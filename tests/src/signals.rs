//! Signals to the processes that the harness started, by their pid.
#![allow(unsafe_code)] // kill(2) and prctl(2) have no safe wrapper in std.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What is done to a process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    Kill,
    Terminate,
    Interrupt,
    Stop,
    Continue,
}

impl Signal {
    fn number(self) -> i32 {
        match self {
            Signal::Kill => libc::SIGKILL,
            Signal::Terminate => libc::SIGTERM,
            Signal::Interrupt => libc::SIGINT,
            Signal::Stop => libc::SIGSTOP,
            Signal::Continue => libc::SIGCONT,
        }
    }
}

/// Sends `signal` to a child that was not waited for yet: its pid cannot be another's.
pub fn send(pid: u32, signal: Signal) -> io::Result<()> {
    // SAFETY: kill takes two integers and touches no memory of ours.
    match unsafe { libc::kill(pid as i32, signal.number()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The child dies with the thread that starts it, so that an aborted test run leaves no worker behind.
pub fn die_with_us(command: &mut Command) {
    #[cfg(target_os = "linux")]
    // SAFETY: prctl is async-signal-safe and touches no memory; nothing else happens between fork and exec.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
    #[cfg(not(target_os = "linux"))]
    let _ = command;
}
