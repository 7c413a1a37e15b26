//! Proxy: stands between a worker and its S3 server and does to chosen requests what a network does.
//!
//! One request at a time on each connection, whole bodies in memory. What fired is counted, so that a test can
//! show that it provoked what it meant to.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// No request of the tests takes longer.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(60);
/// A head larger than this is no request of an S3 client.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The server carries it out; the connection is cut in place of the reply.
    LoseReply,
    /// The connection is cut and the server never hears of it.
    LoseRequest,
    /// It is held back this long, then carried out as if nothing were.
    Delay(Duration),
    /// It is held back until the gate opens, then carried out.
    Hold(Gate),
    /// Answered here, with an S3 error of this status and code.
    Answer(u16, &'static str),
}

/// Holds requests back; it opens once.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn open(&self) {
        *self.0.0.lock().expect("no holder panics") = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let shut = self.0.0.lock().expect("no holder panics");
        // A test that forgot to open it fails by its own waiting, not by a thread that is never joined.
        let _ = self.0.1.wait_timeout_while(shut, SOCKET_TIMEOUT, |open| !*open).expect("no holder panics");
    }
}

type Wanted = dyn Fn(&str, &str) -> bool + Send + Sync;

struct Rule {
    /// Method and target (path and query).
    wanted: Box<Wanted>,
    fault: Fault,
    left: AtomicUsize,
    fired: Arc<AtomicUsize>,
}

/// How often a rule struck.
#[derive(Clone, Debug)]
pub struct Fired(Arc<AtomicUsize>);

impl Fired {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A proxy that runs until it is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: String,
    rules: Mutex<Vec<Arc<Rule>>>,
    requests: AtomicUsize,
    stopped: AtomicBool,
}

impl Proxy {
    /// `upstream` is `http://host:port`.
    pub fn before(upstream: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            upstream: upstream.trim_start_matches("http://").trim_end_matches('/').to_owned(),
            rules: Mutex::default(),
            requests: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if serving.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { continue };
                let serving = Arc::clone(&serving);
                // A connection that ends in an error ends for the client too, which is what it tests.
                thread::spawn(move || drop(serve(client, &serving)));
            }
        });
        Proxy { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next `times` requests that `wanted` accepts (method, target) suffer `fault`.
    pub fn rule(
        &self,
        fault: Fault,
        times: usize,
        wanted: impl Fn(&str, &str) -> bool + Send + Sync + 'static,
    ) -> Fired {
        let fired = Arc::new(AtomicUsize::new(0));
        let rule = Rule {
            wanted: Box::new(wanted),
            fault,
            left: AtomicUsize::new(times),
            fired: Arc::clone(&fired),
        };
        self.shared.rules.lock().expect("no holder panics").push(Arc::new(rule));
        Fired(fired)
    }

    /// Requests that came in.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the listener so that it sees the flag.
        drop(TcpStream::connect(self.address));
    }
}

struct Message {
    head: String,
    body: Vec<u8>,
}

fn serve(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    client.set_read_timeout(Some(SOCKET_TIMEOUT))?;
    let mut unread = Vec::new();
    while let Some(head) = read_head(&mut client, &mut unread)? {
        if header(&head, "expect").is_some() {
            client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let body = read_body(&mut client, &mut unread, &head)?;
        let request = Message { head, body };
        shared.requests.fetch_add(1, Ordering::SeqCst);
        let Some(reply) = answer(&request, shared)? else {
            return client.shutdown(Shutdown::Both);
        };
        client.write_all(&reply)?;
    }
    Ok(())
}

/// The reply's bytes; `None` when the client is to hear nothing.
fn answer(request: &Message, shared: &Shared) -> io::Result<Option<Vec<u8>>> {
    let Some(rule) = pick(&request.head, shared) else { return forward(request, &shared.upstream).map(Some) };
    let fire = || rule.fired.fetch_add(1, Ordering::SeqCst);
    match &rule.fault {
        Fault::LoseRequest => {
            fire();
            return Ok(None);
        }
        Fault::Answer(status, code) => {
            fire();
            return Ok(Some(s3_error(*status, code)));
        }
        Fault::LoseReply => {
            let reply = forward(request, &shared.upstream)?;
            // A refusal that is lost provokes nothing: it is passed on, and the rule waits for the next.
            if !reply.starts_with(b"HTTP/1.1 2") {
                rule.left.fetch_add(1, Ordering::SeqCst);
                return Ok(Some(reply));
            }
            fire();
            return Ok(None);
        }
        Fault::Delay(wait) => {
            fire();
            thread::sleep(*wait);
        }
        Fault::Hold(gate) => {
            fire();
            gate.pass();
        }
    }
    forward(request, &shared.upstream).map(Some)
}

fn pick(head: &str, shared: &Shared) -> Option<Arc<Rule>> {
    let mut words = head.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let rules = shared.rules.lock().expect("no holder panics");
    let spend = |rule: &Rule| {
        rule.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    };
    rules.iter().find(|rule| (rule.wanted)(method, target) && spend(rule)).map(Arc::clone)
}

fn s3_error(status: u16, code: &str) -> Vec<u8> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>by the test</Message></Error>"
    );
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Test\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// One request on a connection of its own; the answer is the server's bytes, made to end where they end.
fn forward(request: &Message, upstream: &str) -> io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(upstream)?;
    server.set_read_timeout(Some(SOCKET_TIMEOUT))?;
    let kept = request.head.lines().filter(|line| {
        let name = line.split(':').next().unwrap_or("").to_ascii_lowercase();
        !line.is_empty() && name != "connection" && name != "expect"
    });
    let mut head: String = kept.map(|line| format!("{line}\r\n")).collect();
    head.push_str("Connection: close\r\n\r\n");
    server.write_all(head.as_bytes())?;
    server.write_all(&request.body)?;
    let mut unread = Vec::new();
    let head = loop {
        let head = read_head(&mut server, &mut unread)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if !head.starts_with("HTTP/1.1 100") {
            break head;
        }
    };
    let status = head.split(' ').nth(1).unwrap_or("");
    let empty = request.head.starts_with("HEAD ") || status == "204" || status == "304";
    let unbounded = header(&head, "content-length").is_none() && header(&head, "transfer-encoding").is_none();
    let body = match (empty, unbounded) {
        (true, _) => Vec::new(),
        (false, false) => read_body(&mut server, &mut unread, &head)?,
        (false, true) => {
            server.read_to_end(&mut unread)?;
            std::mem::take(&mut unread)
        }
    };
    let mut reply = String::new();
    for line in head.lines().filter(|line| !line.is_empty()) {
        if !line.to_ascii_lowercase().starts_with("connection:") {
            reply.push_str(line);
            reply.push_str("\r\n");
        }
    }
    if unbounded && !empty {
        reply.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    reply.push_str("\r\n");
    let mut reply = reply.into_bytes();
    reply.extend(body);
    Ok(reply)
}

/// Up to the empty line, which it ends with; `None` when the peer closed between two messages.
fn read_head(stream: &mut TcpStream, unread: &mut Vec<u8>) -> io::Result<Option<String>> {
    loop {
        if let Some(end) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = unread.split_off(end + 4);
            let head = std::mem::replace(unread, rest);
            return Ok(Some(String::from_utf8_lossy(&head).into_owned()));
        }
        if unread.len() > HEAD_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if !read_more(stream, unread)? {
            return if unread.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    }
}

/// As long as the head says; a chunked body stays as it came, to be passed on.
fn read_body(stream: &mut TcpStream, unread: &mut Vec<u8>, head: &str) -> io::Result<Vec<u8>> {
    let length = match header(head, "transfer-encoding") {
        Some(_) => loop {
            match chunked_length(unread) {
                Some(length) => break length,
                None if read_more(stream, unread)? => {}
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        },
        None => header(head, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0),
    };
    while unread.len() < length {
        if !read_more(stream, unread)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let rest = unread.split_off(length);
    Ok(std::mem::replace(unread, rest))
}

/// Where a chunked body ends; `None` when it has not all come.
fn chunked_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = bytes[at..].windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[at..at + line]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        at += line + 2;
        if size == 0 {
            // Trailers, then an empty line.
            let end = bytes[at..].windows(2).position(|window| window == b"\r\n")?;
            if end == 0 {
                return Some(at + 2);
            }
            let end = bytes[at..].windows(4).position(|window| window == b"\r\n\r\n")?;
            return Some(at + end + 4);
        }
        at += size + 2;
        if at > bytes.len() {
            return None;
        }
    }
}

fn read_more(stream: &mut TcpStream, unread: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 64 * 1024];
    let read = stream.read(&mut buffer)?;
    unread.extend_from_slice(&buffer[..read]);
    Ok(read > 0)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_body_ends_after_its_trailers() {
        let body = b"4\r\nabcd\r\n0\r\nx-amz-checksum: 1\r\n\r\nGET";
        assert_eq!(chunked_length(body), Some(body.len() - 3));
        assert_eq!(chunked_length(b"4\r\nabcd\r\n0\r\n\r\n"), Some(14));
        assert_eq!(chunked_length(b"4\r\nab"), None);
    }

    #[test]
    fn a_lost_reply_is_carried_out_and_counted() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = format!("http://{}", server.local_addr().unwrap());
        let served = thread::spawn(move || {
            let mut heads = Vec::new();
            for _ in 0..2 {
                let (mut stream, _) = server.accept().unwrap();
                let mut unread = Vec::new();
                heads.push(read_head(&mut stream, &mut unread).unwrap().unwrap());
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
            }
            heads
        });
        let proxy = Proxy::before(&upstream);
        let lost = proxy.rule(Fault::LoseReply, 1, |method, target| method == "PUT" && target == "/a");
        let ask = || {
            let mut client = TcpStream::connect(proxy.address).unwrap();
            client.write_all(b"PUT /a HTTP/1.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut reply = String::new();
            client.read_to_string(&mut reply).unwrap_or_default();
            reply
        };
        assert_eq!(ask(), "");
        assert_eq!(lost.count(), 1);
        assert!(ask().ends_with("ok"));
        assert_eq!(lost.count(), 1);
        assert_eq!(served.join().unwrap().len(), 2);
    }
}
