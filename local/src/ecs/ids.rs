//! Names for things: numbers from a counter, and how ECS would spell them.
//!
//! Order: the counter only rises, so the same calls give the same names.
//! Neighbours: everyone in this room.

use std::fmt;

/// A task; spelled as the 32 hex digits at the end of its ARN.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TaskId(pub u64);

/// A deployment as `DescribeServices` lists it; spelled `ecs-svc/` and 19 digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DeploymentId(pub u64);

/// A service revision; spelled as the 19 digits at the end of its ARN.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RevisionId(pub u64);

/// A service deployment, which outlives the deployments that it consists of; spelled as 21 letters and digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RolloutId(pub u64);

/// A task definition in the store: its place, which never changes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DefinitionId(pub usize);

/// The one counter.
#[derive(Debug, Default)]
pub struct Ids(u64);

impl Ids {
    pub fn fresh(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", scrambled(self.0), self.0)
    }
}

impl TaskId {
    /// From an ARN, or from what stands at its end.
    pub fn parse(text: &str) -> Option<TaskId> {
        let last = text.rsplit('/').next()?;
        let id = TaskId(u64::from_str_radix(last.get(16..)?, 16).ok()?);
        (id.to_string() == last).then_some(id)
    }
}

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ecs-svc/{}", nineteen_digits(self.0))
    }
}

impl fmt::Display for RevisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", nineteen_digits(self.0))
    }
}

impl fmt::Display for RolloutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:011x}{:010}", scrambled(self.0) >> 20, self.0)
    }
}

/// An id in the shape of a UUID, for events: EventBridge's and the service's own.
pub fn uuid(n: u64) -> String {
    let a = scrambled(n);
    let b = scrambled(a);
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        b >> 52,
        b & 0xffff_ffff_ffff
    )
}

fn nineteen_digits(n: u64) -> u64 {
    (scrambled(n) % 900_000_000 + 100_000_000) * 10_000_000_000 + n % 10_000_000_000
}

/// SplitMix64's finisher: neighbours look unlike each other, and no two numbers alike.
fn scrambled(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_found_again_by_its_arn_and_by_its_id() {
        let id = TaskId(77);
        assert_eq!(TaskId::parse(&format!("arn:aws:ecs:eu-central-1:1:task/c/{id}")), Some(id));
        assert_eq!(TaskId::parse(&id.to_string()), Some(id));
        assert_eq!(TaskId::parse("0000000000000000000000000000004d"), None, "made up");
        assert_eq!(TaskId::parse("short"), None);
    }

    #[test]
    fn ids_have_the_lengths_that_ecs_gives_them() {
        for n in [1, 99, 123_456] {
            assert_eq!(TaskId(n).to_string().len(), 32);
            assert_eq!(DeploymentId(n).to_string().len(), "ecs-svc/".len() + 19);
            assert_eq!(RevisionId(n).to_string().len(), 19);
            assert_eq!(RolloutId(n).to_string().len(), 21);
            assert_eq!(uuid(n).len(), 36);
        }
    }
}
