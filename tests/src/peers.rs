//! Peers: which servers and judges `tests/run` started for us.

use std::env;
use std::io::Write;

/// The bucket that both S3 servers have.
pub const BUCKET: &str = "landfall-tests";

/// A peer's address from the environment. Where it is absent the test says what it leaves out, on the terminal
/// itself, because the runner hides what a passing test prints; under `CI=true` it fails.
pub fn peer(variable: &str, what: &str) -> Option<String> {
    if let Some(address) = env::var(variable).ok().filter(|address| !address.is_empty()) {
        return Some(address);
    }
    assert!(
        env::var("CI").as_deref() != Ok("true"),
        "{variable} is not set, and with CI=true every peer must be there: run tests/run"
    );
    let line = format!("not tested: {what} ({variable} is not set: run tests/run)\n");
    // A terminal that is gone takes nothing from the test.
    let _ = std::io::stderr().write_all(line.as_bytes());
    None
}

/// Apache Kafka's plain listener, `host:port`.
pub fn kafka(what: &str) -> Option<String> {
    peer("LANDFALL_TEST_KAFKA", what)
}

/// The Python that has DuckDB, pyarrow and boto3.
pub fn python(what: &str) -> Option<String> {
    peer("LANDFALL_TEST_PYTHON", what)
}

/// The Python that has Spark, where a Java is there to run it.
pub fn spark(what: &str) -> Option<String> {
    peer("LANDFALL_TEST_SPARK", what)
}

/// ministack, `http://host:port`: its conditional writes have one winner.
pub fn ministack(what: &str) -> Option<String> {
    peer("LANDFALL_TEST_S3_MINISTACK", what)
}

/// moto, `http://host:port`: it refuses parts under 5 MiB.
pub fn strict_s3(what: &str) -> Option<String> {
    peer("LANDFALL_TEST_S3_STRICT", what)
}

/// The ministack whose ECS runs real containers, `http://host:port`.
pub fn containers(what: &str) -> Option<String> {
    peer("LANDFALL_TEST_CONTAINERS", what)
}

/// The directory with the container engine's socket and its configuration.
pub fn engine(what: &str) -> Option<String> {
    peer("LANDFALL_TEST_ENGINE", what)
}

/// The registry on loopback, `host:port`.
pub fn registry(what: &str) -> Option<String> {
    peer("LANDFALL_TEST_REGISTRY", what)
}
