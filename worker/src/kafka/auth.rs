//! Auth: tokens for MSK's IAM, renewed well before they expire on a thread of their own.
//!
//! librdkafka can ask for a token through an event, but rdkafka would serve it on the polling thread, which must not
//! wait for IAM, and its request comes late when that thread is held up. So the token is set from outside
//! (`rd_kafka_oauthbearer_set_token` may be called on any thread), first at start and then at 80 % of its life;
//! until the first one librdkafka connects to no broker.
//! Order: a token is renewed before it expires; only when none is valid any more is the client told of a failure.
//! Neighbours: client, whose token it sets. Never: the polling thread.
#![allow(unsafe_code)] // Setting a token from outside is not wrapped by rdkafka.

use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use rdkafka_sys as sys;
use tokio::sync::oneshot;

use super::KafkaError;
use super::client::Client;
use super::clock::now_ms;
use crate::settings::{Auth, KafkaSettings};

/// Attempts to get one token; IAM answers in milliseconds, or something is wrong.
const SIGN_MAX: Duration = Duration::from_secs(20);
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// A task's credentials may take a moment after its start: so many failures make a refused login.
const FAILURES_MIN: u32 = 4;
/// Never more often, however short a life the credentials have left.
const RENEW_MIN: Duration = Duration::from_secs(5);

/// A signed token and when it ends, in milliseconds since 1970, UTC.
struct Token {
    value: String,
    expires_ms: i64,
}

/// Ends its thread when dropped.
pub(super) struct TokenThread {
    _stop: oneshot::Sender<()>,
}

impl TokenThread {
    /// None unless the settings ask for IAM.
    pub(super) fn start_if_needed(
        settings: &KafkaSettings,
        client: &Arc<Client>,
    ) -> Result<Option<TokenThread>, KafkaError> {
        let Auth::MskIam { region, role_arn } = &settings.auth else {
            return Ok(None);
        };
        let from_environment = std::env::var("AWS_REGION").ok();
        let region = region_of(region.as_deref(), &settings.bootstrap, from_environment.as_deref())?;
        let (client, role_arn) = (Arc::downgrade(client), role_arn.clone());
        let (stop, stopped) = oneshot::channel();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(thread_error)?;
        thread::Builder::new()
            .name("kafka-token".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        _ = stopped => {}
                        () = renew(&client, &region, role_arn.as_deref()) => {}
                    }
                });
            })
            .map_err(thread_error)?;
        Ok(Some(TokenThread { _stop: stop }))
    }
}

fn thread_error(error: std::io::Error) -> KafkaError {
    KafkaError::Client { action: "start the token thread".to_owned(), reason: error.to_string() }
}

/// Until the client is gone.
async fn renew(client: &Weak<Client>, region: &str, role_arn: Option<&str>) {
    let provider = credentials(region, role_arn).await;
    let (mut expires_ms, mut retry, mut failures) = (0, RETRY_FIRST, 0);
    loop {
        let signed = match &provider {
            Ok(provider) => sign(provider, region).await,
            Err(reason) => Err(reason.clone()),
        };
        let Some(client) = client.upgrade() else {
            return;
        };
        let wait = match signed.and_then(|token| set_token(&client, &token).map(|()| token.expires_ms)) {
            Ok(expires) => {
                expires_ms = expires;
                (retry, failures) = (RETRY_FIRST, 0);
                renew_in(expires_ms - now_ms())
            }
            Err(reason) => {
                let left_s = (expires_ms - now_ms()).max(0) / 1000;
                tracing::warn!(reason, left_s, "renew the Kafka token: will try again");
                failures += 1;
                if left_s == 0 && failures >= FAILURES_MIN {
                    tell_failure(&client, &reason);
                }
                let wait = retry;
                retry = (retry * 2).min(RETRY_MAX);
                wait
            }
        };
        drop(client); // Not held while asleep: dropping it is how the source ends.
        tokio::time::sleep(wait).await;
    }
}

/// 80 % of what is left.
fn renew_in(left_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(left_ms.max(0) / 5 * 4).unwrap_or(0)).max(RENEW_MIN)
}

async fn credentials(region: &str, role_arn: Option<&str>) -> Result<SharedCredentialsProvider, String> {
    let region = Region::new(region.to_owned());
    let config = aws_config::defaults(BehaviorVersion::latest()).region(region.clone()).load().await;
    match role_arn {
        Some(role) => {
            let role = AssumeRoleProvider::builder(role)
                .configure(&config)
                .region(region)
                .session_name("landfall")
                .build()
                .await;
            Ok(SharedCredentialsProvider::new(role))
        }
        None => config.credentials_provider().ok_or_else(|| "no AWS credentials are set up".to_owned()),
    }
}

async fn sign(provider: &SharedCredentialsProvider, region: &str) -> Result<Token, String> {
    let signing = async {
        let credentials = provider.provide_credentials().await.map_err(|error| chain(&error))?;
        let ends = credentials
            .expiry()
            .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok())
            .and_then(|since| i64::try_from(since.as_millis()).ok());
        let fixed = SharedCredentialsProvider::new(credentials);
        let region = Region::new(region.to_owned());
        let (value, expires_ms) =
            aws_msk_iam_sasl_signer::generate_auth_token_from_credentials_provider(region, fixed)
                .await
                .map_err(|error| chain(&error))?;
        // A token dies with the credentials that signed it, whatever it says of itself.
        Ok(Token { value, expires_ms: ends.map_or(expires_ms, |ends| expires_ms.min(ends)) })
    };
    tokio::time::timeout(SIGN_MAX, signing)
        .await
        .unwrap_or_else(|_| Err(format!("no credentials within {} s", SIGN_MAX.as_secs())))
}

fn set_token(client: &Client, token: &Token) -> Result<(), String> {
    let value = CString::new(token.value.as_str()).map_err(|_| "the token holds a zero byte".to_owned())?;
    let mut text = [0u8; 512];
    // SAFETY: the client is alive; librdkafka copies token and principal; the buffer has the length that is told.
    let set = unsafe {
        sys::rd_kafka_oauthbearer_set_token(
            client.raw(),
            value.as_ptr(),
            token.expires_ms,
            c"landfall".as_ptr(),
            ptr::null_mut(),
            0,
            text.as_mut_ptr().cast::<c_char>(),
            text.len(),
        )
    };
    if set == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    Err(String::from_utf8_lossy(&text[..end]).into_owned())
}

fn tell_failure(client: &Client, reason: &str) {
    let reason = CString::new(reason.replace('\0', " ")).unwrap_or_default();
    // SAFETY: the client is alive; librdkafka copies the text. A refusal leaves nothing to do.
    unsafe { sys::rd_kafka_oauthbearer_set_token_failure(client.raw(), reason.as_ptr()) };
}

/// An error and its causes. The SDK's own `Display` says only that something failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// From the settings, else from a broker's name (`….kafka.<region>.amazonaws.com`), else from the environment.
fn region_of(
    set: Option<&str>,
    bootstrap: &str,
    from_environment: Option<&str>,
) -> Result<String, KafkaError> {
    let named = bootstrap.split(',').find_map(|broker| {
        let host = broker.trim().rsplit_once(':').map_or(broker.trim(), |(host, _)| host);
        let labels: Vec<&str> = host.split('.').collect();
        labels.windows(3).find_map(|three| match three {
            ["kafka" | "kafka-serverless", region, "amazonaws"] => Some((*region).to_owned()),
            _ => None,
        })
    });
    set.map(str::to_owned).or(named).or(from_environment.map(str::to_owned)).ok_or_else(|| KafkaError::Setting {
        reason: format!(
            "no AWS region for MSK IAM: set `region` in [kafka.auth] or AWS_REGION; `{bootstrap}` does not name one"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_comes_from_settings_then_brokers_then_environment() {
        let msk = "b-1.shop.x1y2z3.c2.kafka.eu-central-1.amazonaws.com:9098,b-2.shop:9098";
        let serverless = "boot-ab12.c1.kafka-serverless.us-west-2.amazonaws.com:9098";
        let china = "b-1.shop.x1y2z3.c2.kafka.cn-north-1.amazonaws.com.cn:9098";
        let of = |set, bootstrap, env| region_of(set, bootstrap, env).ok();
        assert_eq!(of(Some("us-east-1"), msk, Some("x")).as_deref(), Some("us-east-1"));
        assert_eq!(of(None, msk, Some("x")).as_deref(), Some("eu-central-1"));
        assert_eq!(of(None, serverless, None).as_deref(), Some("us-west-2"));
        assert_eq!(of(None, china, None).as_deref(), Some("cn-north-1"));
        assert_eq!(of(None, "kafka.internal:9098", Some("us-east-2")).as_deref(), Some("us-east-2"));
        let error = region_of(None, "kafka.internal:9098", None).expect_err("no region anywhere");
        assert!(error.to_string().contains("AWS_REGION"), "{error}");
    }

    #[test]
    fn a_token_is_renewed_well_before_it_ends() {
        assert_eq!(renew_in(900_000), Duration::from_secs(720));
        assert_eq!(renew_in(1000), RENEW_MIN);
        assert_eq!(renew_in(-5), RENEW_MIN);
    }

    #[tokio::test]
    async fn librdkafka_takes_a_signed_token_and_refuses_one_that_is_over() {
        let mut config = rdkafka::ClientConfig::new();
        config
            .set("bootstrap.servers", "127.0.0.1:1")
            .set("security.protocol", "sasl_plaintext")
            .set("sasl.mechanism", "OAUTHBEARER");
        let (wake, _) = super::super::wake::wake_pair();
        let client = Client::start(&config, &wake).expect("settings");
        let credentials = aws_credential_types::Credentials::new("AKID", "secret", None, None, "test");
        let mut token =
            sign(&SharedCredentialsProvider::new(credentials), "us-east-1").await.expect("a token");
        set_token(&client, &token).expect("a token of our making");
        token.expires_ms = now_ms() - 1000;
        let refusal = set_token(&client, &token).expect_err("it is over");
        assert!(refusal.contains("expired"), "{refusal}");
    }

    #[tokio::test]
    async fn a_token_lives_no_longer_than_the_credentials_that_signed_it() {
        let ends = std::time::UNIX_EPOCH
            + Duration::from_millis(u64::try_from(now_ms()).expect("after 1970") + 60_000);
        let signed = |expiry| {
            let credentials = aws_credential_types::Credentials::new("AKID", "secret", None, expiry, "test");
            SharedCredentialsProvider::new(credentials)
        };
        let short = sign(&signed(Some(ends)), "us-east-1").await.expect("a token");
        assert!((55_000..=60_000).contains(&(short.expires_ms - now_ms())));
        let long = sign(&signed(None), "us-east-1").await.expect("a token");
        assert!((890_000..=900_000).contains(&(long.expires_ms - now_ms())));
        assert!(!long.value.is_empty() && !long.value.contains('='), "base64url without padding");
    }
}
