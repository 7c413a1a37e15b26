//! Observe: what is there: ECR, the service, its tasks, alarms, the ledger's rejections.
//!
//! Order: everything is read before anything is planned. A read that did not succeed is *unknown*, never empty: an
//! outage of the registry must not look like "no newer image".
//! Neighbours: event before it, judge and plan after it; the ports are kept by aws.

pub mod facts;
pub mod ports;
