//! Error: what an answer of AWS, or its absence, means to the caller and to a person.
//!
//! Order: what nobody answered may have happened; only an answer that says so means that nothing did.
//! Neighbours: aws. Pure.

use std::error::Error;
use std::fmt;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ecs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ecs::operation::RequestId;

use super::calls::Call;
use crate::observe::ports::{CallError, CallFault};

type BoxError = Box<dyn Error + Send + Sync>;

/// What AWS said, and what to check. The SDK's own words are its source.
#[derive(Debug)]
pub struct AwsError {
    code: Option<String>,
    message: String,
    request_id: Option<String>,
    advice: String,
    source: Option<BoxError>,
}

impl AwsError {
    /// AWS's code for it, where it answered.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// What to do about it; empty where there is nothing to say.
    pub fn advice(&self) -> &str {
        &self.advice
    }
}

impl fmt::Display for AwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) if self.message.is_empty() => f.write_str(code)?,
            Some(code) => write!(f, "{code}: {}", self.message)?,
            None => f.write_str(&self.message)?,
        }
        if let Some(id) = &self.request_id {
            write!(f, " (request {id})")?;
        }
        if !self.advice.is_empty() {
            write!(f, "; {}", self.advice)?;
        }
        Ok(())
    }
}

impl Error for AwsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as &(dyn Error + 'static))
    }
}

impl Call {
    /// An SDK's error about `object`.
    pub(super) fn failed<E>(self, object: &str, error: SdkError<E>) -> CallError
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let request_id = error.as_service_error().and_then(|service| service.meta().request_id());
        let request_id = request_id.map(str::to_owned);
        let code = error.code().map(str::to_owned);
        let said = error.message().unwrap_or_default().to_owned();
        let (fault, silence) = judged(&error, code.as_deref(), &said);
        let answered = matches!(error, SdkError::ServiceError(_));
        let advice = advice(self, fault, answered, code.as_deref().unwrap_or_default(), &said);
        let message = if silence.is_empty() { said } else { silence.to_owned() };
        let source: BoxError = Box::new(error);
        let source =
            AwsError { code: code.filter(|_| answered), message, request_id, advice, source: Some(source) };
        CallError { what: self.what(object), fault, source: Box::new(source) }
    }

    /// AWS answered well, but not what it should.
    pub(super) fn odd(self, object: &str, fault: CallFault, message: impl Into<String>) -> CallError {
        let (code, request_id, advice) = (None, None, String::new());
        let source = AwsError { code, message: message.into(), request_id, advice, source: None };
        CallError { what: self.what(object), fault, source: Box::new(source) }
    }

    fn what(self, object: &str) -> String {
        format!("{} `{object}`", self.verb())
    }
}

/// AWS's code for an error of ours, where there is one.
pub(super) fn code_of(error: &CallError) -> Option<&str> {
    error.source.downcast_ref::<AwsError>()?.code()
}

/// The fault, and in words why there was no answer.
fn judged<E>(error: &SdkError<E>, code: Option<&str>, said: &str) -> (CallFault, &'static str)
where
    E: Error + Send + Sync + 'static,
{
    match error {
        SdkError::ServiceError(context) => {
            (fault_of(context.raw().status().as_u16(), code.unwrap_or_default(), said), "")
        }
        SdkError::ConstructionFailure(_) => (CallFault::Refused, "the request could not be made"),
        SdkError::TimeoutError(_) => (CallFault::Unknown, "no answer in time"),
        SdkError::DispatchFailure(failure) if failure.is_user() => {
            (CallFault::Refused, "the request could not be sent")
        }
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            (CallFault::Unknown, "no connection in time")
        }
        SdkError::DispatchFailure(_) if without_credentials(error) => {
            (CallFault::Denied, "there are no credentials")
        }
        SdkError::DispatchFailure(_) => (CallFault::Unknown, "no answer"),
        // Kinds that the SDK may add later say nothing of what happened either.
        SdkError::ResponseError(_) | _ => (CallFault::Unknown, "the answer was cut off or is not AWS's"),
    }
}

/// By code first: services disagree about statuses. Sources: "Common errors" of each service's API reference.
fn fault_of(status: u16, code: &str, said: &str) -> CallFault {
    // ECS sends a ClientException for this; the same call a second later is fine.
    if said.contains("Too many concurrent attempts") {
        return CallFault::Throttled;
    }
    match code {
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "Throttled"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "BandwidthLimitExceeded"
        | "KMSThrottling"
        | "KMSThrottlingException" => CallFault::Throttled,
        "AccessDenied"
        | "AccessDeniedException"
        | "AuthorizationError"
        | "AuthorizationErrorException"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "InvalidClientTokenId"
        | "InvalidSecurity"
        | "InvalidSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "NotAuthorized"
        | "OptInRequired"
        | "SignatureDoesNotMatch"
        | "UnauthorizedOperation"
        | "UnrecognizedClientException" => CallFault::Denied,
        "RequestTimeout"
        | "RequestTimeoutException"
        | "ServerException"
        | "InternalFailure"
        | "InternalError"
        | "InternalServiceFault"
        | "ServiceUnavailable" => CallFault::Unknown,
        _ if missing_action(said).is_some() => CallFault::Denied,
        _ => match status {
            401 | 403 => CallFault::Denied,
            408 => CallFault::Unknown,
            429 => CallFault::Throttled,
            400..500 => CallFault::Refused,
            _ => CallFault::Unknown,
        },
    }
}

/// `iam:PassRole` of "… is not authorized to perform: iam:PassRole on resource: …".
fn missing_action(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once("not authorized to perform: ")?;
    let action = rest.split([' ', ',', ';']).next()?.trim_end_matches('.');
    action.contains(':').then_some(action)
}

fn advice(call: Call, fault: CallFault, answered: bool, code: &str, said: &str) -> String {
    match fault {
        CallFault::Denied if answered => {
            let action = missing_action(said).unwrap_or(call.action());
            format!("allow `{action}` in the policy of the deployer's role")
        }
        CallFault::Denied => {
            "give the function a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".to_owned()
        }
        CallFault::Unknown if !answered => {
            "check the network, the endpoint, and the VPC's endpoints if the function is in one".to_owned()
        }
        CallFault::Refused => missing_thing(code, said).to_owned(),
        CallFault::Unknown | CallFault::Throttled => String::new(),
    }
}

/// What to do about a thing that is not there, by the environment's variable and the stack's parameter.
fn missing_thing(code: &str, said: &str) -> &'static str {
    match code {
        "RepositoryNotFoundException" => {
            "create the repository, or name the right one in REPOSITORY (the stack's RepositoryName; CreateRepository makes it)"
        }
        "ClusterNotFoundException" => {
            "create the cluster, or name the right one in CLUSTER (the stack's ClusterName; CreateCluster makes it)"
        }
        "InvalidParameterException" if said.contains("ubnet") => {
            "check the subnets: there, in one VPC and in zones that Fargate has (the stack's Subnets and Vpc)"
        }
        "InvalidParameterException" if said.contains("ecurity group") => {
            "check the security group: there, and in the VPC of the subnets (the stack's Vpc)"
        }
        _ => "",
    }
}

fn without_credentials(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(why) = error.downcast_ref::<CredentialsError>() {
            return matches!(
                why,
                CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_)
            );
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_judged_before_statuses() {
        let fault = |status, code| fault_of(status, code, "");
        assert_eq!(fault(400, "ThrottlingException"), CallFault::Throttled);
        assert_eq!(fault(400, "AccessDeniedException"), CallFault::Denied);
        assert_eq!(fault(400, "InvalidParameterException"), CallFault::Refused);
        assert_eq!(fault(400, "ServerException"), CallFault::Unknown);
        assert_eq!(fault(500, "ServerException"), CallFault::Unknown);
        assert_eq!(fault(503, ""), CallFault::Unknown);
        assert_eq!(fault(429, ""), CallFault::Throttled);
        assert_eq!(fault(403, "SomethingNew"), CallFault::Denied);
        assert_eq!(fault(200, ""), CallFault::Unknown);
    }

    #[test]
    fn too_many_concurrent_attempts_is_throttling_whatever_its_code() {
        let said = "Too many concurrent attempts to create a new revision of the specified family.";
        assert_eq!(fault_of(400, "ClientException", said), CallFault::Throttled);
        assert_eq!(fault_of(400, "ClientException", "Container.image is blank."), CallFault::Refused);
    }

    #[test]
    fn the_action_that_aws_names_is_the_one_to_allow() {
        let said = "User: arn:aws:sts::1:assumed-role/d/f is not authorized to perform: iam:PassRole on resource: \
                    arn:aws:iam::1:role/task because no identity-based policy allows it";
        assert_eq!(fault_of(400, "ClientException", said), CallFault::Denied);
        let advised = advice(Call::RegisterTaskDefinition, CallFault::Denied, true, "ClientException", said);
        assert_eq!(advised, "allow `iam:PassRole` in the policy of the deployer's role");
        let advised = advice(Call::UpdateService, CallFault::Denied, true, "AccessDeniedException", "no");
        assert_eq!(advised, "allow `ecs:UpdateService` in the policy of the deployer's role");
    }

    #[test]
    fn what_is_not_there_leads_to_the_parameter_that_names_it() {
        for (call, code, said, parameter) in [
            (
                Call::DescribeImages,
                "RepositoryNotFoundException",
                "The repository … does not exist",
                "RepositoryName",
            ),
            (Call::CreateService, "ClusterNotFoundException", "Cluster not found.", "ClusterName"),
            (
                Call::CreateService,
                "InvalidParameterException",
                "Error retrieving subnet information for [subnet-1]: The subnet ID 'subnet-1' does not exist",
                "Subnets",
            ),
        ] {
            let advised = advice(call, CallFault::Refused, true, code, said);
            assert!(advised.contains(parameter), "{code}: {advised}");
        }
    }
}
