//! Kafka to Parquet on S3, exactly once.
//!
//! Rooms in flow order: settings → kafka → decode → batch → encode → sink → commit, driven by pipeline; health and
//! metrics look on.

pub mod settings;

pub mod schema;

pub mod kafka;

pub mod decode;

pub mod batch;

pub mod encode;

pub mod exit;

pub mod clock;

pub mod budget;

pub mod identity;

pub mod http;

pub mod logs;

pub mod metrics;

pub mod health;
