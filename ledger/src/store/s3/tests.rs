//! What a server can do to a call, with a server that does only that; the laws are in `tests/laws.rs`.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Answers the requests that come, one a connection, with these bytes in turn; `None` never answers.
async fn server(answers: Vec<Option<&'static str>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        for answer in answers {
            let (mut connection, _) = listener.accept().await.unwrap();
            read_request(&mut connection).await;
            match answer {
                Some(bytes) => connection.write_all(bytes.as_bytes()).await.unwrap(),
                None => held.push(connection),
            }
        }
        drop(listener);
        std::future::pending::<()>().await;
    });
    format!("http://{address}")
}

/// To the end of the body: a connection closed with bytes unread is reset, and the answer lost.
async fn read_request(connection: &mut tokio::net::TcpStream) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        connection.read_exact(&mut byte).await.unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    let mut body = vec![0; length.trim().parse().unwrap()];
    connection.read_exact(&mut body).await.unwrap();
}

async fn store(endpoint: String) -> S3Store {
    let credentials = aws_sdk_s3::config::Credentials::new("test", "test", None, None, "test");
    let mut store = S3Store {
        client: Client::from_conf(
            aws_sdk_s3::config::Builder::new()
                .behavior_version(BehaviorVersion::latest())
                .credentials_provider(credentials)
                .region(Region::new("eu-west-1"))
                .endpoint_url(&endpoint)
                .force_path_style(true)
                .retry_config(request::retries())
                .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
                .build(),
        ),
        bucket: "b".to_owned(),
        prefix: "p/".to_owned(),
        region: "eu-west-1".to_owned(),
        endpoint: Some(endpoint),
        patience: Patience::default(),
    };
    let short = Duration::from_millis(300);
    store = store.with_patience(Patience { connect: short, quick: short, long: short });
    store
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

fn answer(status: &str, code: &str) -> &'static str {
    let body = format!("<Error><Code>{code}</Code><Message>No.</Message></Error>");
    let length = body.len();
    let whole = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nx-amz-request-id: R1\r\nconnection: close\r\n\r\n{body}"
    );
    Box::leak(whole.into_boxed_str())
}

async fn put_against(answers: Vec<Option<&'static str>>) -> Result<PutOutcome, StoreError> {
    store(server(answers).await).await.put_if_absent("k", Bytes::from_static(b"body")).await
}

#[tokio::test]
async fn precondition_failed_is_exists_and_conflict_is_not() {
    let exists = put_against(vec![Some(answer("412 Precondition Failed", "PreconditionFailed"))]).await;
    assert_eq!(exists.unwrap(), PutOutcome::Exists);
    let conflict = put_against(vec![Some(answer("409 Conflict", "ConditionalRequestConflict"))]).await;
    assert_eq!(conflict.unwrap_err().fault, Fault::Conflict);
}

async fn replace_against(answers: Vec<Option<&'static str>>) -> Result<ReplaceOutcome, StoreError> {
    let store = store(server(answers).await).await;
    store.put_if_match("k", Bytes::from_static(b"body"), &ObjectTag("\"a\"".to_owned())).await
}

#[tokio::test]
async fn another_object_or_none_is_changed_and_a_conflict_is_neither() {
    assert_eq!(replace_against(vec![Some(OK)]).await.unwrap(), ReplaceOutcome::Replaced);
    for (status, code) in [("412 Precondition Failed", "PreconditionFailed"), ("404 Not Found", "NoSuchKey")]
    {
        let outcome = replace_against(vec![Some(answer(status, code))]).await;
        assert_eq!(outcome.unwrap(), ReplaceOutcome::Changed, "{code}");
    }
    let conflict = replace_against(vec![Some(answer("409 Conflict", "ConditionalRequestConflict"))]).await;
    let conflict = conflict.unwrap_err();
    assert_eq!((conflict.fault, conflict.is_unknown()), (Fault::Conflict, true));
    let missing = replace_against(vec![Some(answer("404 Not Found", "NoSuchBucket"))]).await;
    assert_eq!(missing.unwrap_err().fault, Fault::NoSuchBucket);
    let denied = replace_against(vec![Some(answer("403 Forbidden", "AccessDenied"))]).await;
    assert_eq!(denied.unwrap_err().fault, Fault::Denied);
}

/// The first try may have replaced the object, and the second then finds its own.
#[tokio::test]
async fn changed_is_believed_only_of_the_first_try() {
    let failed = answer("412 Precondition Failed", "PreconditionFailed");
    let absent = answer("404 Not Found", "NoSuchKey");
    let broken = answer("500 Internal Server Error", "InternalError");
    for answers in [[None, Some(failed)], [None, Some(absent)], [Some(broken), Some(failed)]] {
        let error = replace_against(answers.to_vec()).await.unwrap_err();
        assert_eq!(error.fault, Fault::Unknown);
        assert!(error.source.to_string().contains("an earlier one may have"), "{}", error.source);
    }
    assert_eq!(replace_against(vec![None, Some(OK)]).await.unwrap(), ReplaceOutcome::Replaced);
    assert_eq!(replace_against(vec![None; 3]).await.unwrap_err().fault, Fault::Unknown);
}

#[tokio::test]
async fn an_object_without_an_etag_is_no_answer() {
    let error = store(server(vec![Some(OK)]).await).await.get_tagged("k").await.unwrap_err();
    assert_eq!(error.fault, Fault::Unknown);
    assert!(error.source.to_string().contains("no ETag"), "{}", error.source);
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let error = put_against(vec![None, None, None]).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unknown);
    assert!(error.source.to_string().contains("bucket `b`, region eu-west-1"), "{}", error.source);
}

#[tokio::test]
async fn nobody_listening_is_unknown_and_says_what_to_check() {
    let error = store("http://127.0.0.1:1".to_owned()).await.get("k").await.unwrap_err();
    assert_eq!(error.fault, Fault::Unknown);
    assert!(error.source.to_string().contains("check the network"), "{}", error.source);
    assert!(error.source.source().is_some(), "the SDK's own cause is kept");
}

#[tokio::test]
async fn a_reply_cut_short_is_unknown() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc";
    let error = store(server(vec![Some(cut)]).await).await.get("k").await.unwrap_err();
    assert_eq!(error.fault, Fault::Unknown);
    let cut = "HTTP/1.1 2";
    let error = put_against(vec![Some(cut), Some(cut), Some(cut)]).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unknown);
}

#[tokio::test]
async fn throttling_is_retried() {
    let slow = answer("503 Slow Down", "SlowDown");
    assert_eq!(put_against(vec![Some(slow), Some(OK)]).await.unwrap(), PutOutcome::Created);
    assert_eq!(put_against(vec![Some(slow); 3]).await.unwrap_err().fault, Fault::Unknown);
}

#[tokio::test]
async fn a_refusal_is_believed_only_of_the_first_try() {
    let denied = answer("403 Forbidden", "AccessDenied");
    let error = put_against(vec![Some(denied)]).await.unwrap_err();
    assert_eq!(error.fault, Fault::Denied);
    let text = error.source.to_string();
    assert!(text.starts_with("S3 answered 403 AccessDenied: No, request R1 (bucket `b`"), "{text}");
    assert!(text.contains("s3:PutObject"), "{text}");
    // The first try may have put the object.
    let error = put_against(vec![None, Some(denied)]).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unknown);
    // A read changes nothing.
    let endpoint = server(vec![None, Some(denied)]).await;
    assert_eq!(store(endpoint).await.get("k").await.unwrap_err().fault, Fault::Denied);
}

#[tokio::test]
async fn an_error_inside_a_200_does_not_complete_an_upload() {
    let parts = [PartTag("\"a\"".to_owned())];
    let upload = UploadId("u".to_owned());
    let inside = answer("200 OK", "InternalError");
    let endpoint = server(vec![Some(inside); 3]).await;
    let error = store(endpoint).await.complete_upload("k", &upload, &parts).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unknown);
    let gone = answer("404 Not Found", "NoSuchUpload");
    let endpoint = server(vec![Some(gone)]).await;
    let outcome = store(endpoint).await.complete_upload("k", &upload, &parts).await.unwrap();
    assert_eq!(outcome, CompleteOutcome::NoSuchUpload);
}

#[tokio::test]
async fn a_head_of_nothing_asks_whether_there_is_a_bucket() {
    let nothing = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let endpoint = server(vec![Some(nothing), Some(OK)]).await;
    assert_eq!(store(endpoint).await.head("k").await.unwrap(), None);
    let endpoint = server(vec![Some(nothing), Some(nothing)]).await;
    assert_eq!(store(endpoint).await.head("k").await.unwrap_err().fault, Fault::NoSuchBucket);
}

#[test]
fn a_source_is_encoded_as_a_path() {
    assert_eq!(percent_encoded("b/dt=1/a b+%/ü.x"), "b/dt%3D1/a%20b%2B%25/%C3%BC.x");
}
