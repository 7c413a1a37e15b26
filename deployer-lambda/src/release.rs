//! Release: the names of things: images, releases, revisions.
//!
//! Neighbours: none; every room speaks of them. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> $name {
                $name(text.to_owned())
            }
        }
    };
}

name! {
    /// `sha256:…`: a manifest or an index of manifests in a registry.
    Digest
}
name! {
    /// What is deployed, judged and taken back: 16 hex digits of
    /// `sha256(image digest ‖ rendered task definition ‖ service settings)`. Tag names are no part of it.
    ReleaseId
}
name! {
    /// A task definition revision by its ARN: `arn:aws:ecs:…:task-definition/family:17`.
    RevisionArn
}

impl Digest {
    /// Twelve hex digits, for people.
    pub fn short(&self) -> &str {
        let hex = self.0.strip_prefix("sha256:").unwrap_or(&self.0);
        hex.get(..12).unwrap_or(hex)
    }
}

/// Before the name of what was found running and is no release of ours.
const ADOPTED: &str = "adopted-";

impl ReleaseId {
    /// The name of what was found running at this revision.
    pub fn adopted(revision: &RevisionArn) -> ReleaseId {
        ReleaseId(format!("{ADOPTED}{}", revision.short().replace(':', "-")))
    }

    /// Whether Landfall only found it.
    pub fn is_adopted(&self) -> bool {
        self.0.starts_with(ADOPTED)
    }
}

impl RevisionArn {
    /// `family:17`.
    pub fn short(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

/// Milliseconds since 1970, UTC. AWS's clock and ours differ: compare only what a minute does not matter to.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Moment(pub i64);

impl Moment {
    /// Milliseconds from `earlier` to here; 0 when it is later.
    pub fn since_ms(self, earlier: Moment) -> i64 {
        (self.0 - earlier.0).max(0)
    }

    pub fn after_ms(self, ms: i64) -> Moment {
        Moment(self.0.saturating_add(ms))
    }
}
