//! Render: the files in `taskdefs/` become the bodies of requests, and a release gets its id.
//!
//! Order: holes are filled, then the id is hashed, then the id is put in: it can't be part of itself.
//! Neighbours: release before it; plan asks for ids, apply for bodies. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::release::ReleaseId;

/// `worker.taskdef.json` and `worker.service.json`, with holes `${NAME}`.
#[derive(Clone, Debug)]
pub struct Templates {
    pub task_definition: Value,
    pub service: Value,
    /// What fills the holes, but for `${IMAGE}`: from the Lambda's environment.
    pub fills: BTreeMap<String, String>,
    /// `${IMAGE}` is `<repository_uri>@<digest>`.
    pub repository_uri: String,
}

/// What one image makes of the templates.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    pub release: ReleaseId,
    /// With `LANDFALL_RELEASE` in the worker's environment.
    pub task_definition: Value,
    pub service: Value,
}
