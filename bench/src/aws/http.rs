//! Http: HTTP/1.1 on loopback, a thread a connection, for the few requests of one benchmark.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// More than any request here has.
const BODY_BYTES_MAX: usize = 64 << 20;

#[derive(Debug)]
pub struct Request {
    pub method: String,
    /// Without the query.
    pub path: String,
    pub query: String,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// `name` in lower case; empty where it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(header, _)| header == name).map_or("", |(_, value)| value)
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn new(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Answer {
        Answer { status, headers: vec![("content-type", kind.to_owned())], body: body.into() }
    }
}

pub type Handler = dyn Fn(Request) -> Answer + Send + Sync;

/// Serves until the process ends; the answer is the port.
pub fn serve(handler: Arc<Handler>) -> io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(stream), handler) = (stream, handler.clone()) else { return };
            // Whoever hangs up in the middle, a function that is ended, is told nothing more.
            thread::spawn(move || drop(talk(stream, &*handler)));
        }
    });
    Ok(port)
}

fn talk(mut stream: TcpStream, handler: &Handler) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut unread = Vec::new();
    while let Some(request) = read(&mut stream, &mut unread)? {
        let answer = handler(request);
        let mut bytes = format!("HTTP/1.1 {} X\r\ncontent-length: {}\r\n", answer.status, answer.body.len());
        for (name, value) in &answer.headers {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        bytes.push_str("\r\n");
        let mut bytes = bytes.into_bytes();
        bytes.extend(answer.body);
        stream.write_all(&bytes)?;
    }
    Ok(())
}

/// None: the other side is done.
fn read(stream: &mut TcpStream, unread: &mut Vec<u8>) -> io::Result<Option<Request>> {
    let Some(head) = until(stream, unread, b"\r\n\r\n")? else { return Ok(None) };
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.trim_end().split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body: Vec::new(),
    };
    request.body = if request.header("transfer-encoding") == "chunked" {
        chunks(stream, unread)?
    } else {
        exactly(stream, unread, request.header("content-length").parse().unwrap_or(0))?
    };
    Ok(Some(request))
}

fn chunks(stream: &mut TcpStream, unread: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = until(stream, unread, b"\r\n")?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let line = String::from_utf8_lossy(&line).trim().to_owned();
        let size = usize::from_str_radix(&line, 16).map_err(io::Error::other)?;
        body.extend(exactly(stream, unread, size)?);
        until(stream, unread, b"\r\n")?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if size == 0 {
            return Ok(body);
        }
    }
}

/// All up to `end`, which is taken too.
fn until(stream: &mut TcpStream, unread: &mut Vec<u8>, end: &[u8]) -> io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(at) = unread.windows(end.len()).position(|window| window == end) {
            return Ok(Some(unread.drain(..at + end.len()).collect()));
        }
        if !more(stream, unread)? {
            return Ok(None);
        }
    }
}

fn exactly(stream: &mut TcpStream, unread: &mut Vec<u8>, size: usize) -> io::Result<Vec<u8>> {
    if size > BODY_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    while unread.len() < size {
        if !more(stream, unread)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(unread.drain(..size).collect())
}

fn more(stream: &mut TcpStream, unread: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 64 * 1024];
    let read = stream.read(&mut buffer)?;
    unread.extend_from_slice(&buffer[..read]);
    Ok(read > 0)
}
