//! Metrics: what a worker says of itself on `/metrics`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// A worker's own listener.
#[derive(Clone, Debug)]
pub struct Listener {
    /// `host:port`.
    pub address: String,
}

impl Listener {
    /// At a port that was free a moment ago.
    pub fn free() -> Listener {
        let probe = TcpListener::bind("127.0.0.1:0").expect("a free port");
        Listener { address: probe.local_addr().expect("bound").to_string() }
    }

    /// Status and body of `GET path`; `None` while nobody answers.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        self.get_as(path, "*/*")
    }

    /// As [`Listener::get`], of this media type.
    pub fn get_as(&self, path: &str, media_type: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: {media_type}\r\nConnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).ok()?;
        let (head, body) = reply.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// The sum of a metric over its labels; `None` while it is not there.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let (_, body) = self.get("/metrics")?;
        let values: Vec<f64> = body
            .lines()
            .filter(|line| line.split(['{', ' ']).next() == Some(name))
            .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
            .collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }
}
