//! Identity: who writes.
pub const METADATA_VARIABLE: &str = "ECS_CONTAINER_METADATA_URI_V4";
