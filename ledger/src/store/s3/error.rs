//! Error: what an answer of S3, or its absence, means to the caller and to a person.
//!
//! Order: a refusal is believed only when it answers the only try. An earlier try that went unanswered may
//! have been carried out, whatever the last one was told.
//! Neighbours: s3. Pure.

use std::error::Error;
use std::fmt;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;

use super::{Fault, Operation, S3Store, Store, StoreError};

type BoxError = Box<dyn Error + Send + Sync>;

/// An answer that is no success, or that there was none.
#[derive(Debug)]
pub(super) struct Answer {
    status: Option<u16>,
    code: Option<String>,
    message: Option<String>,
    request_id: Option<String>,
    fault: Fault,
    /// When nothing was answered: why.
    silence: &'static str,
    sent: u32,
    source: BoxError,
}

impl Answer {
    /// `sent`: how often the request went out.
    pub(super) fn of<E>(error: SdkError<E>, sent: u32) -> Answer
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let code = error.code().map(str::to_owned);
        // A response that could not be read was cut, or is no S3's: its status proves nothing.
        let status = match &error {
            SdkError::ServiceError(context) => Some(context.raw().status().as_u16()),
            _ => None,
        };
        let request_id = error.as_service_error().and_then(|service| service.meta().request_id());
        let request_id = request_id.map(str::to_owned);
        let (fault, silence) = match (&error, status) {
            (_, Some(status)) => (fault_of(status, code.as_deref()), ""),
            (SdkError::ConstructionFailure(_), None) => (Fault::Refused, "the request could not be made"),
            (SdkError::TimeoutError(_), None) => (Fault::Unknown, "no answer in time"),
            (SdkError::DispatchFailure(failure), None) if failure.is_user() => {
                (Fault::Refused, "the request could not be sent")
            }
            (SdkError::DispatchFailure(failure), None) if failure.is_timeout() => {
                (Fault::Unknown, "no connection in time")
            }
            (SdkError::DispatchFailure(_), None) => match credentials_fault(&error) {
                Some(Fault::Denied) => (Fault::Denied, "there are no credentials"),
                Some(_) => (Fault::Unknown, "the source of credentials did not answer"),
                None => (Fault::Unknown, "no answer"),
            },
            (_, None) => (Fault::Unknown, "the answer was cut off or is not S3's"),
        };
        let message = error.message().map(str::to_owned);
        Answer { status, code, message, request_id, fault, silence, sent, source: Box::new(error) }
    }

    pub(super) fn status(&self) -> Option<u16> {
        self.status
    }

    /// What the last try was told.
    pub(super) fn fault(&self) -> Fault {
        self.fault
    }

    pub(super) fn is_no_such_key(&self) -> bool {
        self.status == Some(404) && matches!(self.code.as_deref(), Some("NoSuchKey" | "NotFound" | "404"))
    }

    /// Of a replacement: the object of this tag is not there, and was not when the only try came. After an earlier
    /// try that went unanswered it says nothing: that one may have replaced it.
    pub(super) fn is_another_object(&self) -> bool {
        self.sent <= 1 && (self.status == Some(412) || self.is_no_such_key())
    }

    /// The answer to HEAD has no body: 404 to a question about the bucket means the bucket.
    pub(super) fn of_bucket(self) -> Answer {
        Answer { code: Some("NoSuchBucket".to_owned()), fault: Fault::NoSuchBucket, ..self }
    }
}

fn fault_of(status: u16, code: Option<&str>) -> Fault {
    match (status, code.unwrap_or_default()) {
        (_, "NoSuchUpload") => Fault::NoSuchUpload,
        (_, "NoSuchBucket" | "PermanentRedirect" | "AuthorizationHeaderMalformed" | "InvalidBucketName") => {
            Fault::NoSuchBucket
        }
        // A timeout of the server's, in spite of its 400.
        (_, "RequestTimeout" | "SlowDown" | "InternalError" | "ServiceUnavailable") => Fault::Unknown,
        (
            _,
            "AccessDenied"
            | "ExpiredToken"
            | "InvalidToken"
            | "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "RequestTimeTooSkewed",
        ) => Fault::Denied,
        (301, _) => Fault::NoSuchBucket,
        (401 | 403, _) => Fault::Denied,
        (408 | 429, _) => Fault::Unknown,
        (409, _) => Fault::Conflict,
        (400..500, _) => Fault::Refused,
        // 5xx; and an error inside a 200 that is none of the above.
        (_, _) => Fault::Unknown,
    }
}

fn credentials_fault(error: &(dyn Error + 'static)) -> Option<Fault> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(why) = error.downcast_ref::<CredentialsError>() {
            return Some(match why {
                CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_) => {
                    Fault::Denied
                }
                _ => Fault::Unknown,
            });
        }
        cause = error.source();
    }
    None
}

/// What to check, for a person.
fn advice(status: Option<u16>, code: Option<&str>, fault: Fault) -> &'static str {
    match (code.unwrap_or_default(), fault) {
        ("NoSuchBucket" | "InvalidBucketName", _) => {
            "check the bucket's name in S3_OUTPUT_PATH (the stack's BucketName; CreateBucket makes it), and that it exists \
             in this account"
        }
        ("PermanentRedirect" | "AuthorizationHeaderMalformed", _) => {
            "the bucket is in another region: set `region` under [output] or AWS_REGION"
        }
        (_, Fault::NoSuchBucket) => "the bucket may be in another region: check its name and region",
        ("ExpiredToken" | "InvalidToken", _) => "the session has ended: renew the credentials",
        ("InvalidAccessKeyId" | "SignatureDoesNotMatch", _) => "the access key or its secret is wrong",
        ("RequestTimeTooSkewed", _) => "this machine's clock is wrong",
        (_, Fault::Denied) if status.is_none() => {
            "give the ECS task a task role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"
        }
        (_, Fault::Denied) => {
            "the role needs s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload under the prefix, \
             s3:ListBucket and s3:ListBucketMultipartUploads on the bucket, and the key if it is encrypted by KMS"
        }
        (_, Fault::Unknown) if status.is_none() => {
            "check the network, the endpoint, and a VPC's gateway endpoint for S3"
        }
        _ => "",
    }
}

/// What S3 said, where, and what to check. The SDK's own words are its source.
#[derive(Debug)]
pub struct S3Error {
    what: String,
    bucket: String,
    region: String,
    endpoint: Option<String>,
    advice: &'static str,
    source: Option<BoxError>,
}

impl fmt::Display for S3Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (bucket `{}`, region {}", self.what, self.bucket, self.region)?;
        if let Some(endpoint) = &self.endpoint {
            write!(f, ", endpoint {endpoint}")?;
        }
        f.write_str(")")?;
        if !self.advice.is_empty() {
            write!(f, "; {}", self.advice)?;
        }
        Ok(())
    }
}

impl Error for S3Error {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

impl S3Store {
    pub(super) fn fail(&self, operation: Operation, key: &str, answer: Answer) -> StoreError {
        let mut what = match (answer.status, &answer.code) {
            (Some(status), Some(code)) => format!("S3 answered {status} {code}"),
            (Some(status), None) => format!("S3 answered {status}"),
            (None, _) => answer.silence.to_owned(),
        };
        if let Some(message) = &answer.message {
            what.push_str(&format!(": {}", message.trim_end_matches('.')));
        }
        if let Some(id) = &answer.request_id {
            what.push_str(&format!(", request {id}"));
        }
        let fault = if answer.sent > 1 && changes_something(operation) {
            what.push_str(&format!(", to try {}: an earlier one may have been carried out", answer.sent));
            in_doubt(answer.fault)
        } else {
            answer.fault
        };
        let advice = advice(answer.status, answer.code.as_deref(), answer.fault);
        self.error(operation, key, fault, what, advice, Some(answer.source))
    }

    /// S3's answer makes no sense.
    pub(super) fn trouble(
        &self,
        operation: Operation,
        key: &str,
        what: &str,
        source: Option<BoxError>,
    ) -> StoreError {
        self.error(operation, key, Fault::Unknown, what.to_owned(), "", source)
    }

    fn error(
        &self,
        operation: Operation,
        key: &str,
        fault: Fault,
        what: String,
        advice: &'static str,
        source: Option<BoxError>,
    ) -> StoreError {
        let (bucket, region) = (self.bucket.clone(), self.region.clone());
        let why = S3Error { what, bucket, region, endpoint: self.endpoint.clone(), advice, source };
        StoreError { operation, key: key.to_owned(), url: self.url(), fault, source: Box::new(why) }
    }
}

fn changes_something(operation: Operation) -> bool {
    match operation {
        Operation::Put
        | Operation::Replace
        | Operation::Copy
        | Operation::Delete
        | Operation::BeginUpload
        | Operation::UploadPart
        | Operation::CompleteUpload
        | Operation::AbortUpload => true,
        Operation::Get | Operation::Head | Operation::List | Operation::ListUploads => false,
    }
}

/// A refusal of the last try says nothing about those before it. That an upload is gone stays true.
fn in_doubt(fault: Fault) -> Fault {
    match fault {
        Fault::NoSuchBucket | Fault::Denied | Fault::Refused | Fault::Unknown => Fault::Unknown,
        Fault::Conflict => Fault::Conflict,
        Fault::NoSuchUpload => Fault::NoSuchUpload,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_by_code_before_status() {
        let cases = [
            (400, "RequestTimeout", Fault::Unknown),
            (400, "ExpiredToken", Fault::Denied),
            (400, "EntityTooSmall", Fault::Refused),
            (403, "AccessDenied", Fault::Denied),
            (403, "", Fault::Denied),
            (404, "NoSuchBucket", Fault::NoSuchBucket),
            (404, "NoSuchUpload", Fault::NoSuchUpload),
            (301, "PermanentRedirect", Fault::NoSuchBucket),
            (301, "", Fault::NoSuchBucket),
            (409, "ConditionalRequestConflict", Fault::Conflict),
            (409, "OperationAborted", Fault::Conflict),
            (429, "", Fault::Unknown),
            (500, "InternalError", Fault::Unknown),
            (503, "SlowDown", Fault::Unknown),
            (200, "InternalError", Fault::Unknown),
            (200, "AccessDenied", Fault::Denied),
            (200, "SomethingNew", Fault::Unknown),
        ];
        for (status, code, fault) in cases {
            assert_eq!(
                fault_of(status, Some(code).filter(|code| !code.is_empty())),
                fault,
                "{status} {code}"
            );
        }
    }

    #[test]
    fn a_refusal_after_an_unanswered_try_is_doubt() {
        assert_eq!(in_doubt(Fault::Denied), Fault::Unknown);
        assert_eq!(in_doubt(Fault::NoSuchUpload), Fault::NoSuchUpload);
    }
}
