//! Ask: what `worker health` does: one question to the worker beside it, within a bound.
//!
//! Neighbours: http; server answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;

use crate::clock::Clock;
use crate::http;

/// A worker that does not answer within this is not well.
pub const ASK_MAX: Duration = Duration::from_secs(3);

/// What the worker said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    pub is_well: bool,
    pub sentence: String,
}

#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("ask the worker")]
    Http(#[source] http::HttpError),
    #[error("ask the worker at `{url}`: status {status} is no answer of a worker")]
    Foreign { url: String, status: u16 },
}

/// Where a worker with this setting answers to its own container.
pub fn url(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}/health", SocketAddr::new(ip, listen.port()))
}

#[derive(Deserialize)]
struct Body {
    sentence: String,
}

/// Asks. Blocks for at most [`ASK_MAX`].
pub fn ask(url: &str, clock: &dyn Clock) -> Result<Answer, AskError> {
    let answer = http::get(url, ASK_MAX, clock).map_err(AskError::Http)?;
    let foreign = || AskError::Foreign { url: url.to_owned(), status: answer.status };
    let is_well = match answer.status {
        200 => true,
        503 => false,
        _ => return Err(foreign()),
    };
    let body: Body = serde_json::from_slice(&answer.body).map_err(|_| foreign())?;
    Ok(Answer { is_well, sentence: body.sentence })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_listens_everywhere_is_asked_at_home() {
        let url = |listen: &str| url(listen.parse().expect("an address"));
        assert_eq!(url("0.0.0.0:9464"), "http://127.0.0.1:9464/health");
        assert_eq!(url("[::]:1"), "http://[::1]:1/health");
        assert_eq!(url("10.0.0.7:80"), "http://10.0.0.7:80/health");
    }
}
