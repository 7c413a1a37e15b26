//! The signature that a request should carry, worked out from what arrived. Source: "Create a signed AWS API request".

use sha2::{Digest as _, Sha256};

use super::server::Request;

pub const KEY_ID: &str = "AKIDEXAMPLE";
pub const SECRET: &str = "not-a-secret";
pub const REGION: &str = "eu-west-1";

/// The signature in the request's `Authorization`.
pub fn signature_in(request: &Request) -> String {
    part(request, "Signature=").to_owned()
}

/// The right one for its body and signed headers.
pub fn signature_of(request: &Request, service: &str) -> String {
    signature_in_region(request, service, REGION)
}

/// The same for another region.
pub fn signature_in_region(request: &Request, service: &str, region: &str) -> String {
    let signed = part(request, "SignedHeaders=");
    let headers: String =
        signed.split(';').map(|name| format!("{name}:{}\n", request.header(name))).collect();
    let canonical = format!(
        "{}\n{}\n\n{headers}\n{signed}\n{}",
        request.method,
        request.path,
        hex(&Sha256::digest(&request.body))
    );
    let at = request.header("x-amz-date");
    let day = &at[..8];
    let scope = format!("{day}/{region}/{service}/aws4_request");
    assert!(request.header("authorization").contains(&format!("Credential={KEY_ID}/{scope}")));
    let to_sign = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let mut key = format!("AWS4{SECRET}").into_bytes();
    for step in [day, region, service, "aws4_request"] {
        key = hmac(&key, step.as_bytes());
    }
    hex(&hmac(&key, to_sign.as_bytes()))
}

fn part<'r>(request: &'r Request, name: &str) -> &'r str {
    let (_, rest) = request.header("authorization").split_once(name).expect("it is signed");
    rest.split(',').next().expect("a split has a first part")
}

/// RFC 2104; all keys here are shorter than a block.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let pad = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
