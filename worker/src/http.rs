//! HTTP: one small GET with a deadline, for the health check and the ECS metadata endpoint.
//!
//! Plain HTTP/1.0 on the standard library: the answer ends where the connection does, and there is nothing to pool,
//! to redirect or to decrypt on the two addresses that this is for.
//! Neighbours: clock. Blocking.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::clock::{Clock, Moment};

/// Longer answers are cut off and refused.
const ANSWER_BYTES_MAX: usize = 1 << 20;

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("read `{url}` as http://host:port/path")]
    Url { url: String },
    #[error("get `{url}`")]
    Io {
        url: String,
        #[source]
        source: io::Error,
    },
    #[error("get `{url}`: the answer is not HTTP, or longer than {ANSWER_BYTES_MAX} bytes")]
    Malformed { url: String },
}

/// GETs `http://host[:port]/path`, all of it within `within`.
pub fn get(url: &str, within: Duration, clock: &dyn Clock) -> Result<Answer, HttpError> {
    let deadline = clock.moment().after(within);
    let (authority, path) = split(url).ok_or_else(|| HttpError::Url { url: url.to_owned() })?;
    let answer = exchange(authority, path, deadline, clock)
        .map_err(|source| HttpError::Io { url: url.to_owned(), source })?;
    parse(&answer).ok_or_else(|| HttpError::Malformed { url: url.to_owned() })
}

fn split(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("http://")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let is_plain = |part: &str| !part.contains(|c: char| c.is_whitespace() || c.is_control());
    (!authority.is_empty() && is_plain(url)).then_some((authority, if path.is_empty() { "/" } else { path }))
}

fn exchange(authority: &str, path: &str, deadline: Moment, clock: &dyn Clock) -> io::Result<Vec<u8>> {
    let left = || -> io::Result<Duration> {
        match deadline.since(clock.moment()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(left),
        }
    };
    let mut stream = TcpStream::connect_timeout(&resolve(authority)?, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    stream.write_all(
        format!("GET {path} HTTP/1.0\r\nHost: {authority}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = Vec::new();
    let mut chunk = [0; 8192];
    while answer.len() <= ANSWER_BYTES_MAX {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}

fn resolve(authority: &str) -> io::Result<SocketAddr> {
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let with_port = if has_port { authority.to_owned() } else { format!("{authority}:80") };
    with_port.to_socket_addrs()?.next().ok_or_else(|| io::Error::other("the name has no address"))
}

fn parse(answer: &[u8]) -> Option<Answer> {
    if answer.len() > ANSWER_BYTES_MAX {
        return None;
    }
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let status_line = std::str::from_utf8(&answer[..end]).ok()?.lines().next()?;
    let mut words = status_line.split(' ');
    if !words.next()?.starts_with("HTTP/1.") {
        return None;
    }
    Some(Answer { status: words.next()?.parse().ok()?, body: answer[end + 4..].to_vec() })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::clock::SystemClock;

    /// Answers one request with `answer`, then closes; `None` never answers.
    fn serve(answer: Option<&'static [u8]>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let url = format!("http://{}/health", listener.local_addr().expect("bound"));
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accepted");
            let mut request = [0; 1024];
            let count = stream.read(&mut request).expect("read");
            assert!(request[..count].starts_with(b"GET /health HTTP/1.0\r\n"));
            match answer {
                Some(answer) => stream.write_all(answer).expect("written"),
                None => std::thread::sleep(Duration::from_secs(5)),
            }
        });
        url
    }

    fn got(answer: Option<&'static [u8]>) -> Result<Answer, HttpError> {
        get(&serve(answer), Duration::from_millis(300), &SystemClock::start())
    }

    #[test]
    fn an_answer_is_its_status_and_its_body() {
        let answer =
            got(Some(b"HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\nhe\r\n\r\nllo")).expect("answered");
        assert_eq!((answer.status, answer.body.as_slice()), (503, &b"he\r\n\r\nllo"[..]));
    }

    #[test]
    fn what_is_not_http_is_refused() {
        assert!(matches!(got(Some(b"SSH-2.0-x\r\n\r\n")), Err(HttpError::Malformed { .. })));
        assert!(matches!(got(Some(b"")), Err(HttpError::Malformed { .. })));
    }

    #[test]
    fn a_server_that_never_answers_is_given_up_in_time() {
        let clock = SystemClock::start();
        assert!(matches!(got(None), Err(HttpError::Io { .. })));
        assert!(clock.moment().0 < Duration::from_secs(3));
    }

    #[test]
    fn nobody_listening_is_an_error_and_so_is_an_odd_url() {
        let port = TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("bound").port();
        let clock = SystemClock::start();
        let get = |url: &str| get(url, Duration::from_millis(300), &clock);
        assert!(matches!(get(&format!("http://127.0.0.1:{port}")), Err(HttpError::Io { .. })));
        for url in ["https://x", "http://", "http:///x", "http://a b/", "http://a/x\r\nEvil: 1"] {
            assert!(matches!(get(url), Err(HttpError::Url { .. })), "{url}");
        }
    }
}
