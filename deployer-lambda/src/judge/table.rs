//! Table: what a task's end means: the release's fault, the surroundings', or nobody's.
//!
//! From exit codes (sysexits.h, as README lists them), ECS's stopCode and stoppedReason. What it does not know is the
//! surroundings' fault: that costs a retry, while a false rejection costs a release.
//! Sources: "Stopped tasks error messages" and "Task" (stopCode) of the Amazon ECS documentation.

use super::{Fault, Whose, remedy};
use crate::journal::Cause;
use crate::observe::facts::Stop;

/// What one end of a task means.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Meaning {
    /// The scheduler or a person asked for it.
    Orderly,
    At(Fault),
}

impl Meaning {
    pub fn fault(self) -> Option<Fault> {
        match self {
            Meaning::Orderly => None,
            Meaning::At(fault) => Some(fault),
        }
    }

    pub fn is_the_releases(&self) -> bool {
        match self {
            Meaning::Orderly => false,
            Meaning::At(fault) => match fault.whose {
                Whose::Release | Whose::Image => true,
                Whose::Surroundings => false,
            },
        }
    }
}

/// What this end of a task means.
pub fn meaning(stop: &Stop) -> Meaning {
    let text = format!("{} {}", stop.reason, stop.container_reason).to_ascii_lowercase();
    let told = if stop.container_reason.is_empty() { &stop.reason } else { &stop.container_reason };
    let at = |whose, cause, words: String| Meaning::At(Fault { whose, cause, words });
    if text.contains("outofmemory") || text.contains("out of memory") {
        return at(Whose::Release, Cause::OutOfMemory, format!("it ran out of memory: {told}"));
    }
    match stop.code.as_str() {
        "ServiceSchedulerInitiated" if text.contains("health check") => {
            at(Whose::Release, Cause::Unhealthy, format!("its health check failed: {told}"))
        }
        "ServiceSchedulerInitiated" | "UserInitiated" => Meaning::Orderly,
        "SpotInterruption" | "TerminationNotice" => {
            at(Whose::Surroundings, Cause::Surroundings, format!("AWS took its machine: {told}"))
        }
        "TaskFailedToStart" => {
            let remedy = remedy::of_start(&text);
            if cannot_run(&text) {
                at(Whose::Release, Cause::Settings, with(format!("its image cannot be run: {told}"), remedy))
            } else {
                let words = with(format!("it could not be started: {told}"), remedy);
                at(Whose::Surroundings, Cause::Surroundings, words)
            }
        }
        _ => by_exit_code(stop.exit_code, told),
    }
}

/// A fault, and what helps.
fn with(words: String, remedy: Option<&str>) -> String {
    match remedy {
        Some(remedy) => format!("{}; {remedy}", words.trim_end_matches('.')),
        None => words,
    }
}

/// Another platform, or a command that is not in the image: no retry helps.
fn cannot_run(text: &str) -> bool {
    let signs =
        ["exec format error", "matching platform", "executable file not found", "no such file or directory"];
    signs.iter().any(|sign| text.contains(sign))
}

fn by_exit_code(code: Option<i32>, told: &str) -> Meaning {
    let Some(code) = code else {
        let words = format!("a task ended without an exit code: {told}");
        return Meaning::At(Fault { whose: Whose::Surroundings, cause: Cause::Unclear, words });
    };
    let (whose, cause, what) = match code {
        64 => (Whose::Release, Cause::Settings, "its command line is wrong"),
        65 => (Whose::Image, Cause::Data, "it may not write, or it refused the data"),
        66 => (
            Whose::Surroundings,
            Cause::Surroundings,
            "the topic is not there, or is not the one that it knew",
        ),
        69 => (Whose::Surroundings, Cause::Surroundings, "Kafka or S3 could not be reached"),
        70 => (Whose::Release, Cause::Crash, "it met a bug of its own"),
        75 => (Whose::Surroundings, Cause::Surroundings, "a passing fault outlasted its retries"),
        77 => (Whose::Surroundings, Cause::Surroundings, "Kafka or S3 denied it"),
        78 => (Whose::Release, Cause::Settings, "its settings or its schema are wrong"),
        // Programs that know nothing of sysexits; a panic of Rust's; a shell that found no command.
        1 | 2 | 101 => (Whose::Release, Cause::Crash, "it failed"),
        126 | 127 => (Whose::Release, Cause::Settings, "its command cannot be run"),
        // Of signals those that a program brings upon itself: ILL, TRAP, ABRT, BUS, FPE, SEGV.
        132..=136 | 139 => (Whose::Release, Cause::Crash, "it crashed"),
        0 => (Whose::Surroundings, Cause::Unclear, "it ended by itself, as if it had been asked to"),
        137 => (Whose::Surroundings, Cause::Unclear, "somebody killed it (SIGKILL)"),
        143 => (Whose::Surroundings, Cause::Unclear, "somebody ended it (SIGTERM)"),
        _ => (Whose::Surroundings, Cause::Unclear, "it ended with a code that means nothing here"),
    };
    let words = with(format!("{what} (exit code {code})"), remedy::of_exit(code));
    Meaning::At(Fault { whose, cause, words })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop(code: &str, reason: &str, exit_code: Option<i32>) -> Stop {
        Stop { code: code.into(), reason: reason.into(), exit_code, ..Stop::default() }
    }

    fn whose(stop: &Stop) -> Option<Whose> {
        meaning(stop).fault().map(|fault| fault.whose)
    }

    #[test]
    fn exit_codes_tell_the_release_from_its_surroundings() {
        let exited =
            |code| whose(&stop("EssentialContainerExited", "Essential container in task exited", Some(code)));
        for code in [1, 64, 70, 78, 101, 127, 134, 139] {
            assert_eq!(exited(code), Some(Whose::Release), "{code}");
        }
        assert_eq!(exited(65), Some(Whose::Image));
        for code in [0, 66, 69, 75, 77, 137, 143, 3, 255] {
            assert_eq!(exited(code), Some(Whose::Surroundings), "{code}");
        }
    }

    #[test]
    fn what_ecs_itself_stopped_says_nothing_of_the_release() {
        let scaled = stop(
            "ServiceSchedulerInitiated",
            "Scaling activity initiated by (deployment ecs-svc/1)",
            Some(143),
        );
        assert_eq!(meaning(&scaled), Meaning::Orderly);
        assert_eq!(meaning(&stop("UserInitiated", "Task stopped by user", Some(137))), Meaning::Orderly);
    }

    #[test]
    fn a_failed_health_check_is_the_releases_fault() {
        let unhealthy = stop("ServiceSchedulerInitiated", "Task failed container health checks", Some(143));
        assert_eq!(whose(&unhealthy), Some(Whose::Release));
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_blocked_and_one_of_another_platform_is_not() {
        let pull = "CannotPullContainerError: pull image manifest has been retried 1 time(s): i/o timeout";
        assert_eq!(whose(&stop("TaskFailedToStart", pull, None)), Some(Whose::Surroundings));
        let platform = "CannotPullContainerError: image Manifest does not contain descriptor matching platform 'linux/arm64'";
        assert_eq!(whose(&stop("TaskFailedToStart", platform, None)), Some(Whose::Release));
        let network = "ResourceInitializationError: unable to pull secrets or registry auth";
        assert_eq!(whose(&stop("TaskFailedToStart", network, None)), Some(Whose::Surroundings));
    }

    #[test]
    fn a_fault_that_a_person_can_mend_says_how() {
        let words = |stop: &Stop| meaning(stop).fault().map(|fault| fault.words).unwrap_or_default();
        let network = "CannotPullContainerError: dial tcp: i/o timeout.";
        assert_eq!(
            words(&stop("TaskFailedToStart", network, None)),
            "it could not be started: CannotPullContainerError: dial tcp: i/o timeout; its subnets need a way to ECR, S3 and \
             CloudWatch Logs: a NAT, a public address or VPC endpoints (the stack's Subnets, Egress and RouteTables)"
        );
        for (code, parameter) in [(69, "KafkaBootstrap"), (77, "TopicPattern")] {
            let exited = stop("EssentialContainerExited", "Essential container in task exited", Some(code));
            assert!(words(&exited).contains(parameter), "{}", words(&exited));
        }
    }

    #[test]
    fn out_of_memory_is_the_releases_fault_whatever_the_code_says() {
        let mut oom = stop("EssentialContainerExited", "Essential container in task exited", Some(137));
        oom.container_reason = "OutOfMemoryError: Container killed due to memory usage".into();
        let fault = meaning(&oom).fault().expect("it is a fault");
        assert_eq!((fault.whose, fault.cause), (Whose::Release, Cause::OutOfMemory));
    }

    #[test]
    fn what_the_table_does_not_know_is_never_the_releases_fault() {
        assert_eq!(whose(&stop("SomethingNew", "in other words", None)), Some(Whose::Surroundings));
        assert_eq!(
            whose(&stop("SpotInterruption", "Your Spot Task was interrupted", None)),
            Some(Whose::Surroundings)
        );
    }
}
