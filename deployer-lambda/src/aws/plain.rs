//! Plain: a signed call to a service without its SDK: (service, call, body) in, the answer's body or a judged error out.
//!
//! Order: what is sent is a read, or a change that twice equals once; like the SDKs' reads it is sent up to three times,
//! within the same limits.
//! Neighbours: aws. An SDK costs seconds of every build and a megabyte of the binary; one question is not worth that.
//! The runtime below is the SDKs' own: signing, retries, timeouts and connections are not ours.

use std::fmt;
use std::sync::{Arc, OnceLock};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4AuthScheme};
use aws_runtime::auth::{SigV4OperationSigningConfig, SigningOptions};
use aws_runtime::retries::classifiers::AwsErrorCodeClassifier;
use aws_smithy_runtime::client::defaults::default_http_client_plugin_v2;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime::client::retries::classifiers::{HttpStatusCodeClassifier, TransientErrorClassifier};
use aws_smithy_runtime_api::client::auth::AuthSchemeOptionResolverParams;
use aws_smithy_runtime_api::client::auth::static_resolver::StaticAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_runtime_api::client::runtime_plugin::{RuntimePlugin as _, StaticRuntimePlugin};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::{FrozenLayer, Layer};
use aws_smithy_types::error::ErrorMetadata;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_xml::decode::{Document, ScopedDecoder, try_data};
use aws_types::SigningName;
use aws_types::region::SigningRegion;
use aws_types::request_id::RequestId as _;
use aws_types::service_config::ServiceConfigKey;
use bytes::Bytes;
use serde_json::Value;

use super::{Call, limits, retries};
use crate::observe::ports::{CallError, CallFault};

const JSON: &str = "application/x-amz-json-1.1";
const FORM: &str = "application/x-www-form-urlencoded";
/// In the extras of an error's metadata, where the SDKs look for it.
const REQUEST_ID: &str = "aws_request_id";

/// A service that speaks JSON 1.1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Service {
    /// As AWS's models call it; of `AWS_ENDPOINT_URL_CLOUDWATCH_LOGS`.
    pub id: &'static str,
    /// Of `X-Amz-Target`, before the dot.
    pub target: &'static str,
}

/// Calls without an SDK. Clones share connections.
#[derive(Clone, Debug)]
pub(super) struct Plain {
    config: SdkConfig,
    /// Made by the first call: an idle look makes none.
    http: Arc<OnceLock<Option<SharedHttpClient>>>,
}

/// What is sent, and where.
struct Request<'r> {
    call: Call,
    /// For endpoints that are set for one service.
    service_id: &'static str,
    /// AWS's own endpoint, where none is set.
    host: String,
    region: String,
    kind: &'static str,
    target: Option<String>,
    body: Bytes,
    /// What it is about.
    object: &'r str,
}

impl Plain {
    pub(super) fn new(config: &SdkConfig) -> Plain {
        Plain { config: config.clone(), http: Arc::default() }
    }

    /// The region that the deployer runs in.
    pub(super) fn region(&self) -> Option<&str> {
        self.config.region().map(Region::as_ref)
    }

    /// A call by JSON 1.1, in this region.
    pub(super) async fn json(
        &self,
        call: Call,
        service: Service,
        region: &str,
        object: &str,
        body: &Value,
    ) -> Result<Value, CallError> {
        let (name, operation) = call.halves();
        let fips = if self.config.use_fips() == Some(true) { "-fips" } else { "" };
        let request = Request {
            call,
            service_id: service.id,
            host: format!("{name}{fips}.{region}.{}", partition(region).suffix),
            region: region.to_owned(),
            kind: JSON,
            target: Some(format!("{}.{operation}", service.target)),
            body: Bytes::from(body.to_string()),
            object,
        };
        let answer = self.send(request).await?;
        let odd = |error| call.odd(object, CallFault::Unknown, format!("the answer is not JSON: {error}"));
        serde_json::from_slice(&answer).map_err(odd)
    }

    /// A call to IAM by its query protocol. IAM is one service for all regions of a partition.
    pub(super) async fn query(
        &self,
        call: Call,
        version: &str,
        object: &str,
        parameters: &[(&str, &str)],
    ) -> Result<String, CallError> {
        let no_region = || call.odd(object, CallFault::Refused, "no region is set: set AWS_REGION");
        let partition = partition(self.region().ok_or_else(no_region)?);
        let host = match (self.config.use_fips(), partition.iam) {
            (Some(true), "iam.amazonaws.com") => "iam-fips.amazonaws.com",
            (_, host) => host,
        };
        let (_, operation) = call.halves();
        let mut body = format!("Action={operation}&Version={version}");
        for (name, value) in parameters {
            body.push_str(&format!("&{name}={}", form_encoded(value)));
        }
        let request = Request {
            call,
            service_id: "IAM",
            host: host.to_owned(),
            region: partition.iam_region.to_owned(),
            kind: FORM,
            target: None,
            body: Bytes::from(body),
            object,
        };
        let answer = self.send(request).await?;
        let odd = |error| call.odd(object, CallFault::Unknown, format!("the answer is not text: {error}"));
        String::from_utf8(answer.into()).map_err(odd)
    }

    async fn send(&self, request: Request<'_>) -> Result<Bytes, CallError> {
        let Request { call, service_id, host, region, kind, target, body, object } = request;
        let (name, operation) = call.halves();
        let endpoint = self.endpoint(service_id).unwrap_or_else(|| format!("https://{host}"));
        let mut builder = Operation::builder()
            .service_name(service_id)
            .operation_name(operation)
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&endpoint)
            .timeout_config(limits())
            .standard_retry(&retries())
            .retry_classifier(AwsErrorCodeClassifier::<Said>::new())
            .retry_classifier(TransientErrorClassifier::<Said>::new())
            .retry_classifier(HttpStatusCodeClassifier::default())
            .with_connection_poisoning()
            .runtime_plugin(self.signing(name, region));
        if let Some(http) = self.http() {
            builder = builder.http_client(http);
        }
        if let Some(sleep) = self.config.sleep_impl() {
            builder = builder.sleep_impl(sleep);
        }
        if let Some(time) = self.config.time_source() {
            builder = builder.time_source(time);
        }
        let operation = builder
            .serializer(move |body: Bytes| {
                let mut request = HttpRequest::new(SdkBody::from(body.clone()));
                request.set_method("POST")?;
                request.set_uri("/")?;
                let headers = request.headers_mut();
                headers.insert("content-type", kind);
                headers.insert("content-length", body.len().to_string());
                headers.insert("user-agent", concat!("landfall-deployer/", env!("CARGO_PKG_VERSION")));
                if let Some(target) = &target {
                    headers.insert("x-amz-target", target.clone());
                }
                Ok(request)
            })
            .deserializer(read)
            .build();
        operation.invoke(body).await.map_err(|error: SdkError<Said, _>| call.failed(object, error))
    }

    /// Signed by the same credentials as the SDKs' calls.
    fn signing(&self, name: &'static str, region: String) -> StaticRuntimePlugin {
        let mut layer = Layer::new("plain");
        layer.store_put(AuthSchemeOptionResolverParams::new(()));
        layer.store_put(SigV4OperationSigningConfig {
            region: Some(SigningRegion::from(Region::new(region))),
            region_set: None,
            name: Some(SigningName::from_static(name)),
            signing_options: SigningOptions::default(),
        });
        let mut components = RuntimeComponentsBuilder::new("plain");
        components
            .set_auth_scheme_option_resolver(Some(StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID])));
        components.push_auth_scheme(SigV4AuthScheme::new());
        if let Some(credentials) = self.config.credentials_provider() {
            components.set_identity_resolver(SCHEME_ID, credentials);
        }
        if let Some(cache) = self.config.identity_cache() {
            components.set_identity_cache(Some(cache));
        }
        StaticRuntimePlugin::new().with_config(FrozenLayer::from(layer)).with_runtime_components(components)
    }

    /// `AWS_ENDPOINT_URL_<SERVICE>`, else `AWS_ENDPOINT_URL`, or the same of the profile.
    fn endpoint(&self, service_id: &'static str) -> Option<String> {
        let key = ServiceConfigKey::builder().service_id(service_id).env("AWS_ENDPOINT_URL");
        let key = key.profile("endpoint_url").build().expect("a key has these three, and they are given");
        let own = self.config.service_config().and_then(|config| config.load_config(key));
        own.or_else(|| self.config.endpoint_url().map(str::to_owned))
    }

    /// The configuration's client, else one of the SDKs' kind that all plain calls share.
    fn http(&self) -> Option<SharedHttpClient> {
        let ours = || {
            let plugin = default_http_client_plugin_v2(BehaviorVersion::latest())?;
            plugin.runtime_components(&RuntimeComponentsBuilder::new("plain")).http_client()
        };
        self.config.http_client().or_else(|| self.http.get_or_init(ours).clone())
    }
}

/// Where a partition's services are. Source: botocore's `partitions.json`, and IAM's endpoint rules beside it.
struct Partition {
    /// Its regions begin so.
    regions: &'static str,
    suffix: &'static str,
    iam: &'static str,
    iam_region: &'static str,
}

#[rustfmt::skip]
const PARTITIONS: [Partition; 8] = [
    Partition { regions: "cn-", suffix: "amazonaws.com.cn", iam: "iam.cn-north-1.amazonaws.com.cn", iam_region: "cn-north-1" },
    Partition { regions: "us-gov-", suffix: "amazonaws.com", iam: "iam.us-gov.amazonaws.com", iam_region: "us-gov-west-1" },
    Partition { regions: "us-iso-", suffix: "c2s.ic.gov", iam: "iam.us-iso-east-1.c2s.ic.gov", iam_region: "us-iso-east-1" },
    Partition { regions: "us-isob-", suffix: "sc2s.sgov.gov", iam: "iam.us-isob-east-1.sc2s.sgov.gov", iam_region: "us-isob-east-1" },
    Partition { regions: "eu-isoe-", suffix: "cloud.adc-e.uk", iam: "iam.eu-isoe-west-1.cloud.adc-e.uk", iam_region: "eu-isoe-west-1" },
    Partition { regions: "us-isof-", suffix: "csp.hci.ic.gov", iam: "iam.us-isof-south-1.csp.hci.ic.gov", iam_region: "us-isof-south-1" },
    Partition { regions: "eusc-", suffix: "amazonaws.eu", iam: "iam.eusc-de-east-1.amazonaws.eu", iam_region: "eusc-de-east-1" },
    // All others.
    Partition { regions: "", suffix: "amazonaws.com", iam: "iam.amazonaws.com", iam_region: "us-east-1" },
];

fn partition(region: &str) -> &'static Partition {
    let found = PARTITIONS.iter().find(|partition| region.starts_with(partition.regions));
    found.expect("the last one takes every region")
}

/// What a service said that it did not do.
#[derive(Debug)]
struct Said(ErrorMetadata);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, message) = (self.0.code().unwrap_or("no code"), self.0.message().unwrap_or_default());
        if message.is_empty() { f.write_str(code) } else { write!(f, "{code}: {message}") }
    }
}

impl std::error::Error for Said {}

impl ProvideErrorMetadata for Said {
    fn meta(&self) -> &ErrorMetadata {
        &self.0
    }
}

/// The answer's body, where it is one.
fn read(response: &HttpResponse) -> Result<Bytes, OrchestratorError<Said>> {
    let Some(body) = response.body().bytes() else {
        return Err(OrchestratorError::other("the body is not in memory"));
    };
    if response.status().is_success() {
        return Ok(Bytes::copy_from_slice(body));
    }
    let (code, message, in_body) = said(body, response.headers().get("x-amzn-errortype"));
    let mut metadata = ErrorMetadata::builder();
    if let Some(code) = code {
        metadata = metadata.code(code);
    }
    if let Some(message) = message {
        metadata = metadata.message(message);
    }
    if let Some(id) = response.request_id().map(str::to_owned).or(in_body) {
        metadata = metadata.custom(REQUEST_ID, id);
    }
    Err(OrchestratorError::operation(Said(metadata.build())))
}

/// Code, message and request id of an error, by either protocol. Source: smithy.io, "AWS JSON 1.1 protocol" and "AWS
/// query protocol".
fn said(body: &[u8], header: Option<&str>) -> (Option<String>, Option<String>, Option<String>) {
    if let Ok(json) = serde_json::from_slice::<Value>(body) {
        let told = |name: &str| json.get(name).and_then(Value::as_str);
        // `com.amazonaws.ssm#ThrottlingException`, `AccessDeniedException:http://…`
        let code = header.or_else(|| told("__type")).or_else(|| told("code"));
        let code = code.map(|code| code.split(':').next().unwrap_or_default());
        let code = code.map(|code| code.rsplit('#').next().unwrap_or_default());
        let message = told("message").or_else(|| told("Message")).or_else(|| told("errorMessage"));
        return (code.map(str::to_owned), message.map(str::to_owned), None);
    }
    let xml = String::from_utf8_lossy(body);
    let told = |path: &[&str]| xml_text(&xml, path);
    (told(&["Error", "Code"]), told(&["Error", "Message"]), told(&["RequestId"]))
}

/// The text of an element, by its path below the root; none: there is no such element, or it is not XML.
pub(super) fn xml_text(xml: &str, path: &[&str]) -> Option<String> {
    fn below(element: &mut ScopedDecoder<'_, '_>, path: &[&str]) -> Option<String> {
        let Some((name, rest)) = path.split_first() else {
            return try_data(element).ok().map(|text| text.into_owned());
        };
        while let Some(mut inner) = element.next_tag() {
            if inner.start_el().local() == *name {
                return below(&mut inner, rest);
            }
        }
        None
    }
    let mut document = Document::new(xml);
    let mut root = document.root_element().ok()?;
    below(&mut root, path)
}

/// Everything but unreserved characters as `%XX`. Source: RFC 3986.
fn form_encoded(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

/// What `%XX` stand for; none: it is not UTF-8 then.
pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let (bytes, mut decoded, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).filter(|_| *byte == b'%');
        let hex = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        decoded.push(hex.unwrap_or(*byte));
        at += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_to_the_same(text in any::<String>()) {
            let encoded = form_encoded(&text);
            prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
            prop_assert_eq!(percent_decoded(&encoded), Some(text));
        }
    }

    #[test]
    fn a_text_is_found_by_its_path_and_its_entities_are_resolved() {
        let xml = "<?xml version=\"1.0\"?><R xmlns=\"urn:x\"><A><B>no</B></A><C><A>1 &lt; 2</A><B/></C></R>";
        assert_eq!(xml_text(xml, &["C", "A"]).as_deref(), Some("1 < 2"));
        assert_eq!(xml_text(xml, &["C", "B"]).as_deref(), Some(""));
        assert_eq!(xml_text(xml, &["C", "D"]), None);
        assert_eq!(xml_text("{}", &["C"]), None);
    }

    #[test]
    fn an_errors_code_is_bare_whichever_way_it_is_told() {
        let code = |body: &str, header| said(body.as_bytes(), header).0;
        let bare = Some("ThrottlingException".to_owned());
        assert_eq!(code("{\"__type\":\"com.amazonaws.ssm#ThrottlingException\"}", None), bare);
        assert_eq!(code("{\"__type\":\"ThrottlingException\"}", None), bare);
        assert_eq!(code("{}", Some("ThrottlingException:http://internal.amazon.com/")), bare);
        assert_eq!(code("no JSON, no XML", None), None);
        let xml = "<ErrorResponse><Error><Type>Sender</Type><Code>NoSuchEntity</Code><Message>gone</Message></Error>\
                   <RequestId>r-1</RequestId></ErrorResponse>";
        let told = |text: &str| Some(text.to_owned());
        assert_eq!(said(xml.as_bytes(), None), (told("NoSuchEntity"), told("gone"), told("r-1")));
    }

    #[test]
    fn every_region_has_a_partition_and_iam_a_region_of_it() {
        for (region, suffix, iam) in [
            ("eu-west-1", "amazonaws.com", "iam.amazonaws.com"),
            ("us-gov-east-1", "amazonaws.com", "iam.us-gov.amazonaws.com"),
            ("cn-northwest-1", "amazonaws.com.cn", "iam.cn-north-1.amazonaws.com.cn"),
            ("us-isob-east-1", "sc2s.sgov.gov", "iam.us-isob-east-1.sc2s.sgov.gov"),
            ("eusc-de-east-1", "amazonaws.eu", "iam.eusc-de-east-1.amazonaws.eu"),
        ] {
            assert_eq!((partition(region).suffix, partition(region).iam), (suffix, iam), "{region}");
        }
    }
}
