//! Answer: tells CloudFormation what became of its request, by a PUT to a presigned URL.
//!
//! Order: needs neither credentials nor settings, so that a function that is not set up can say so.
//! Source: CloudFormation user guide, "Custom resource request and response reference".
//! Neighbours: aws; a port of apply's is what it keeps.

use async_trait::async_trait;
use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime::client::retries::classifiers::{HttpStatusCodeClassifier, TransientErrorClassifier};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::body::SdkBody;
use serde_json::Value;

use super::{BACKOFF_MAX, limits};
use crate::apply::ports::Answerer;
use crate::observe::ports::{CallError, CallFault};

/// Tries, the first included: a stack that hears nothing hangs until CloudFormation gives up.
const TRIES_MAX: u32 = 5;

/// Puts answers to presigned URLs.
#[derive(Clone, Copy, Debug)]
pub struct Presigned;

#[derive(Debug, thiserror::Error)]
enum AnswerError {
    /// It is not told which: such a URL is as good as a password.
    #[error("the answer's address is no URL with a host")]
    Url,
    #[error("the answer's address says {status}: {body}")]
    Refused { status: u16, body: String },
}

#[async_trait]
impl Answerer for Presigned {
    async fn answer(&self, url: &str, answer: &Value) -> Result<(), CallError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| CallError {
            what: "tell CloudFormation".to_owned(),
            fault: CallFault::Unknown,
            source,
        };
        let (host, resource) = split(url).ok_or_else(|| failed(AnswerError::Url.into()))?;
        let (resource, body) = (resource.to_owned(), answer.to_string());
        let request = move |()| {
            let mut request = HttpRequest::new(SdkBody::from(body.as_str()));
            request.set_method("PUT")?;
            request.set_uri(resource.as_str())?;
            // Without a content type: the URL is signed for none.
            request.headers_mut().insert("content-length", body.len().to_string());
            Ok(request)
        };
        let operation = Operation::builder()
            .service_name("cloudformation")
            .operation_name("answer")
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(host)
            .no_auth()
            .standard_retry(
                &RetryConfig::standard().with_max_attempts(TRIES_MAX).with_max_backoff(BACKOFF_MAX),
            )
            .retry_classifier(HttpStatusCodeClassifier::default())
            .retry_classifier(TransientErrorClassifier::<AnswerError>::new())
            .timeout_config(limits())
            .serializer(request)
            .deserializer(taken)
            .build();
        operation.invoke(()).await.map_err(|error| match error {
            SdkError::ServiceError(refused) => failed(refused.into_err().into()),
            other => failed(other.into()),
        })
    }
}

/// `https://host` and `/path?query` of a URL.
fn split(url: &str) -> Option<(&str, &str)> {
    let host = url.find("://").map(|at| at + 3)?;
    let path = host + url[host..].find('/')?;
    (path > host).then(|| url.split_at(path))
}

fn taken(response: &HttpResponse) -> Result<(), OrchestratorError<AnswerError>> {
    if response.status().is_success() {
        return Ok(());
    }
    let body = String::from_utf8_lossy(response.body().bytes().unwrap_or_default());
    let body = body.chars().take(300).collect();
    Err(OrchestratorError::operation(AnswerError::Refused { status: response.status().as_u16(), body }))
}
