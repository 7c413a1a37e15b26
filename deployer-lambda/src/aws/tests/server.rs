//! A server of HTTP/1.1 for one test: it keeps what arrives, and answers by a function.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::cbor;

#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Names in lower case, in the order of their arrival.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// From 1.
    pub nth: usize,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(header, _)| header == name).map_or("", |(_, value)| value)
    }

    /// The part of `X-Amz-Target` after its dot.
    pub fn operation(&self) -> &str {
        self.header("x-amz-target").rsplit('.').next().unwrap_or_default()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }
}

#[derive(Clone, Debug)]
pub enum Answer {
    Text(u16, &'static str, String),
    Cbor(Vec<u8>),
    /// Closes without a word.
    HangUp,
    /// Keeps the line and says nothing.
    Silence,
}

impl Answer {
    pub fn json(body: &Value) -> Answer {
        Answer::Text(200, "application/x-amz-json-1.1", body.to_string())
    }

    pub fn error(status: u16, code: &str, message: &str) -> Answer {
        let body = serde_json::json!({ "__type": code, "message": message });
        Answer::Text(status, "application/x-amz-json-1.1", body.to_string())
    }

    pub fn cbor(body: &Value) -> Answer {
        Answer::Cbor(cbor::encode(body))
    }

    fn bytes(&self) -> Option<Vec<u8>> {
        let (status, kind, body) = match self {
            Answer::Text(status, kind, body) => (*status, *kind, body.as_bytes().to_vec()),
            Answer::Cbor(body) => (200, "application/cbor", body.clone()),
            Answer::HangUp | Answer::Silence => return None,
        };
        let mut bytes = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\nsmithy-protocol: rpc-v2-cbor\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        bytes.extend(body);
        Some(bytes)
    }
}

type Script = dyn Fn(&Request) -> Answer + Send + Sync;

pub struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    listening: JoinHandle<()>,
}

impl Server {
    pub async fn start(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (kept, script): (_, Arc<Script>) = (requests.clone(), Arc::new(script));
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, kept.clone(), script.clone()));
            }
        });
        Server { port, requests, listening }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no test panicked in it").clone()
    }

    pub fn json(&self, nth: usize) -> Value {
        self.requests()[nth].json()
    }

    pub fn stop(&self) {
        self.listening.abort();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn serve(mut stream: TcpStream, kept: Arc<Mutex<Vec<Request>>>, script: Arc<Script>) {
    let mut unread = Vec::new();
    while let Some(mut request) = read(&mut stream, &mut unread).await {
        {
            let mut kept = kept.lock().expect("no test panicked in it");
            request.nth = kept.len() + 1;
            kept.push(request.clone());
        }
        let answer = script(&request);
        if matches!(answer, Answer::Silence) {
            std::future::pending::<()>().await;
        }
        let Some(answer) = answer.bytes() else { return };
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<Request> {
    let end = loop {
        if let Some(end) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        more(stream, unread).await?;
    };
    let head = String::from_utf8(unread.drain(..end + 4).collect()).expect("heads are ASCII");
    let mut lines = head.trim_end().split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    while unread.len() < length {
        more(stream, unread).await?;
    }
    let body = unread.drain(..length).collect();
    Some(Request { method, path, headers, body, nth: 0 })
}

async fn more(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<()> {
    let mut buffer = [0; 16 * 1024];
    match stream.read(&mut buffer).await {
        Ok(0) | Err(_) => None,
        Ok(count) => {
            unread.extend_from_slice(&buffer[..count]);
            Some(())
        }
    }
}
