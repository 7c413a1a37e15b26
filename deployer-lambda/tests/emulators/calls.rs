//! Calls: AWS's API by boto3, a client that is not ours either, in one child process.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use serde_json::{Value, json};

// The container test, in another crate, calls by it too.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deployer-lambda/tests/emulators/aws.py");

/// What AWS refused with.
pub struct Refused {
    pub code: String,
    pub message: String,
}

pub struct Calls {
    endpoint: String,
    child: Mutex<Piped>,
}

struct Piped {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Calls {
    pub fn new(python: &str, endpoint: &str) -> Calls {
        let mut child = Command::new(python)
            .arg(SCRIPT)
            .envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")])
            .envs([("AWS_DEFAULT_REGION", super::REGION), ("AWS_EC2_METADATA_DISABLED", "true")])
            .env("NO_PROXY", "127.0.0.1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let stdin = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        Calls { endpoint: endpoint.to_owned(), child: Mutex::new(Piped { child, stdin, stdout }) }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub fn try_call(&self, service: &str, call: &str, args: Value) -> Result<Value, Refused> {
        let asked = json!({"endpoint": self.endpoint, "service": service, "call": call, "args": args});
        let mut line = String::new();
        {
            let mut child = self.child.lock().expect("no call panicked");
            writeln!(child.stdin, "{asked}").expect("ask boto3");
            child.stdout.read_line(&mut line).expect("boto3's answer");
        }
        let said: Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("{service}.{call}: boto3 said {line:?}: {error}"));
        match said.get("error") {
            None => Ok(said["answer"].clone()),
            Some(error) => {
                let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
                Err(Refused { code: text("code"), message: text("message") })
            }
        }
    }

    pub fn call(&self, service: &str, call: &str, args: Value) -> Value {
        self.try_call(service, call, args)
            .unwrap_or_else(|Refused { code, message }| panic!("{service}.{call}: {code}: {message}"))
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        // It has nothing to save, and may be gone already.
        let _ = child.child.kill();
        let _ = child.child.wait();
    }
}
