//! Body: sends the JSON that was rendered, byte for byte, through an SDK's call.
//!
//! Order: the body is put in before signing, so that signature and length are those of what is sent. The SDK's types
//! would drop keys that they do not know.
//! Neighbours: aws.

use aws_sdk_ecs::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_ecs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ecs::error::BoxError;
use bytes::Bytes;
use serde_json::Value;

/// Replaces the request's body.
#[derive(Clone, Debug)]
pub(super) struct Body(Bytes);

impl Body {
    pub(super) fn of(json: &Value) -> Body {
        Body(Bytes::from(json.to_string()))
    }
}

impl Intercept for Body {
    fn name(&self) -> &'static str {
        "Body"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        request.headers_mut().insert("content-length", self.0.len().to_string());
        *request.body_mut() = self.0.clone().into();
        Ok(())
    }
}
