//! S3: the store's promises on Amazon S3, and on servers that speak its language.
//!
//! Order: one request a call, but that HEAD of an absent key asks after the bucket too, because the answer to
//! HEAD has no body that could tell one from the other. The SDK's own retries are on and bounded; who is told
//! "refused" after an earlier try went unanswered is told `Unknown` (see `error`).
//! Neighbours: error (faults and advice), request (timeouts, counting of tries).
//!
//! General purpose buckets only: a directory bucket does not list in the order of keys.

mod error;
mod request;

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;
use aws_config::BehaviorVersion;
use aws_config::meta::region::RegionProviderChain;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Region, RequestChecksumCalculation};
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;

pub use error::S3Error;
pub use request::Patience;

use self::error::Answer;
use self::request::Tries;
use super::key::checked;
use super::{
    CompleteOutcome, CopyOutcome, Fault, ObjectMeta, ObjectTag, Operation, PartTag, PutOutcome,
    ReplaceOutcome, Store, StoreError, UploadId, UploadMeta,
};

/// S3 lists no more in one answer. Source: "ListObjectsV2".
const LIST_PAGE_MAX: usize = 1000;

/// How to reach S3, where that does not follow from the surroundings.
#[derive(Clone, Debug, Default)]
pub struct S3Options {
    /// For S3-compatible servers: `http://127.0.0.1:9000`.
    pub endpoint: Option<String>,
    /// `endpoint/bucket/key` instead of `bucket.endpoint/key`; servers other than AWS often need it.
    pub path_style: bool,
    /// Else from the surroundings: `AWS_REGION`, the profile, the instance.
    pub region: Option<String>,
}

/// A prefix of a bucket.
#[derive(Clone)]
pub struct S3Store {
    client: Client,
    bucket: String,
    /// Empty, or ends in `/`.
    prefix: String,
    region: String,
    endpoint: Option<String>,
    patience: Patience,
}

/// There is no region to talk to.
#[derive(Debug, thiserror::Error)]
#[error("no region for bucket `{bucket}`: set AWS_REGION, or `region` under [output]")]
pub struct NoRegion {
    bucket: String,
}

impl S3Store {
    /// Reads region and sources of credentials from the surroundings (environment, profile, ECS task role,
    /// instance); sends nothing to S3. `prefix` has no `/` at either end and may be empty.
    pub async fn connect(bucket: &str, prefix: &str, options: &S3Options) -> Result<S3Store, NoRegion> {
        let mut region =
            RegionProviderChain::first_try(options.region.clone().map(Region::new)).or_default_provider();
        if options.endpoint.is_some() {
            // Other servers rarely care, but a signature names one.
            region = region.or_else(Region::new("us-east-1"));
        }
        let surroundings = aws_config::defaults(BehaviorVersion::latest()).region(region).load().await;
        let Some(region) = surroundings.region().map(ToString::to_string) else {
            return Err(NoRegion { bucket: bucket.to_owned() });
        };
        let mut config = aws_sdk_s3::config::Builder::from(&surroundings)
            .force_path_style(options.path_style)
            .retry_config(request::retries())
            // Another process may complete an upload, knowing the ETags only and no checksums of parts.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
        if let Some(endpoint) = &options.endpoint {
            config = config.endpoint_url(endpoint);
        }
        Ok(S3Store {
            client: Client::from_conf(config.build()),
            bucket: bucket.to_owned(),
            prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
            region,
            endpoint: options.endpoint.clone().or_else(|| surroundings.endpoint_url().map(str::to_owned)),
            patience: Patience::default(),
        })
    }

    /// The same store with other time limits.
    pub fn with_patience(self, patience: Patience) -> S3Store {
        S3Store { patience, ..self }
    }

    /// The client, for what tests do around the store.
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn check(&self, operation: Operation, key: &str) -> Result<(), StoreError> {
        checked(operation, key, &self.url())
    }

    /// HEAD says "404" for the object and for the bucket alike.
    async fn bucket_is_missing(&self) -> Option<Answer> {
        let tries = Tries::new();
        let asked = self.client.head_bucket().bucket(&self.bucket).customize();
        let answer =
            asked.config_override(self.patience.quick()).interceptor(tries.clone()).send().await.err()?;
        let answer = Answer::of(answer, tries.sent());
        (answer.status() == Some(404)).then_some(answer)
    }

    async fn body(&self, operation: Operation, key: &str, body: ByteStream) -> Result<Bytes, StoreError> {
        // The request's timeout ends with the headers.
        match tokio::time::timeout(self.patience.body(), body.collect()).await {
            Ok(Ok(whole)) => Ok(whole.into_bytes()),
            Ok(Err(cut)) => Err(self.trouble(operation, key, "the answer was cut off", Some(Box::new(cut)))),
            Err(elapsed) => {
                Err(self.trouble(operation, key, "the answer took too long", Some(Box::new(elapsed))))
            }
        }
    }
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the client: its configuration is long, and near credentials.
        f.debug_struct("S3Store")
            .field("url", &self.url())
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// Sends one request with its time limits; the error is an [`Answer`].
macro_rules! send {
    ($request:expr, $limits:expr) => {{
        let tries = Tries::new();
        let sent = $request.customize().config_override($limits).interceptor(tries.clone()).send().await;
        sent.map_err(|error| Answer::of(error, tries.sent()))
    }};
}

#[async_trait]
impl Store for S3Store {
    fn url(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix.trim_end_matches('/'))
    }

    async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<PutOutcome, StoreError> {
        self.check(Operation::Put, key)?;
        let put = self.client.put_object().bucket(&self.bucket).key(self.full(key));
        let put = put.if_none_match("*").body(ByteStream::from(body));
        match send!(put, self.patience.quick()) {
            Ok(_) => Ok(PutOutcome::Created),
            Err(answer) if answer.status() == Some(412) => Ok(PutOutcome::Exists),
            Err(answer) => Err(self.fail(Operation::Put, key, answer)),
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.check(Operation::Get, key)?;
        let get = self.client.get_object().bucket(&self.bucket).key(self.full(key));
        match send!(get, self.patience.long()) {
            Ok(found) => self.body(Operation::Get, key, found.body).await.map(Some),
            Err(answer) if answer.is_no_such_key() => Ok(None),
            Err(answer) => Err(self.fail(Operation::Get, key, answer)),
        }
    }

    async fn get_tagged(&self, key: &str) -> Result<Option<(Bytes, ObjectTag)>, StoreError> {
        self.check(Operation::Get, key)?;
        let get = self.client.get_object().bucket(&self.bucket).key(self.full(key));
        match send!(get, self.patience.long()) {
            Ok(found) => match found.e_tag {
                Some(tag) => {
                    let body = self.body(Operation::Get, key, found.body).await?;
                    Ok(Some((body, ObjectTag(tag))))
                }
                None => Err(self.trouble(Operation::Get, key, "the answer has no ETag", None)),
            },
            Err(answer) if answer.is_no_such_key() => Ok(None),
            Err(answer) => Err(self.fail(Operation::Get, key, answer)),
        }
    }

    /// 412: another object is there; 404: none is; 409: somebody was at it just then, and who won is to be read.
    /// Source: "How to prevent object overwrites with conditional writes". It needs s3:GetObject too.
    async fn put_if_match(
        &self,
        key: &str,
        body: Bytes,
        tag: &ObjectTag,
    ) -> Result<ReplaceOutcome, StoreError> {
        self.check(Operation::Replace, key)?;
        let put = self.client.put_object().bucket(&self.bucket).key(self.full(key));
        let put = put.if_match(&tag.0).body(ByteStream::from(body));
        match send!(put, self.patience.quick()) {
            Ok(_) => Ok(ReplaceOutcome::Replaced),
            Err(answer) if answer.is_another_object() => Ok(ReplaceOutcome::Changed),
            Err(answer) => Err(self.fail(Operation::Replace, key, answer)),
        }
    }

    async fn get_range(&self, key: &str, start: u64, end: u64) -> Result<Option<Bytes>, StoreError> {
        if start >= end {
            // There is no way to ask for no bytes.
            return Ok(self.head(key).await?.map(|_| Bytes::new()));
        }
        self.check(Operation::Get, key)?;
        let get = self.client.get_object().bucket(&self.bucket).key(self.full(key));
        match send!(get.range(format!("bytes={start}-{}", end - 1)), self.patience.long()) {
            Ok(found) => self.body(Operation::Get, key, found.body).await.map(Some),
            Err(answer) if answer.is_no_such_key() => Ok(None),
            // The object is there and ends before `start`.
            Err(answer) if answer.status() == Some(416) => Ok(Some(Bytes::new())),
            Err(answer) => Err(self.fail(Operation::Get, key, answer)),
        }
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectMeta>, StoreError> {
        self.check(Operation::Head, key)?;
        let head = self.client.head_object().bucket(&self.bucket).key(self.full(key));
        match send!(head, self.patience.quick()) {
            Ok(found) => Ok(Some(ObjectMeta {
                key: key.to_owned(),
                bytes: self.bytes(Operation::Head, key, found.content_length)?,
                modified: self.moment(Operation::Head, key, found.last_modified)?,
            })),
            Err(answer) if answer.status() == Some(404) => match self.bucket_is_missing().await {
                None => Ok(None),
                Some(missing) => Err(self.fail(Operation::Head, key, missing.of_bucket())),
            },
            Err(answer) => Err(self.fail(Operation::Head, key, answer)),
        }
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ObjectMeta>, StoreError> {
        let mut found = Vec::new();
        let mut next: Option<String> = None;
        while found.len() < limit {
            let page = (limit - found.len()).min(LIST_PAGE_MAX);
            let list = self.client.list_objects_v2().bucket(&self.bucket).prefix(self.full(prefix));
            let list = list.max_keys(page as i32).set_continuation_token(next.clone());
            let list = list.set_start_after(after.map(|after| self.full(after)));
            let answer = send!(list, self.patience.quick())
                .map_err(|answer| self.fail(Operation::List, prefix, answer))?;
            for object in answer.contents.unwrap_or_default() {
                let full = object.key.unwrap_or_default();
                let Some(key) = full.strip_prefix(&self.prefix) else {
                    let what = "the listing holds a key that was not asked for";
                    return Err(self.trouble(Operation::List, prefix, what, None));
                };
                found.push(ObjectMeta {
                    key: key.to_owned(),
                    bytes: self.bytes(Operation::List, key, object.size)?,
                    modified: self.moment(Operation::List, key, object.last_modified)?,
                });
            }
            match answer.next_continuation_token {
                Some(token) if answer.is_truncated == Some(true) && next.as_ref() != Some(&token) => {
                    next = Some(token);
                }
                Some(_) if answer.is_truncated == Some(true) => {
                    let what = "the listing does not go on where it ended";
                    return Err(self.trouble(Operation::List, prefix, what, None));
                }
                Some(_) | None => break,
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn copy(&self, from: &str, to: &str) -> Result<CopyOutcome, StoreError> {
        self.check(Operation::Copy, from)?;
        self.check(Operation::Copy, to)?;
        let source = percent_encoded(&format!("{}/{}", self.bucket, self.full(from)));
        let copy = self.client.copy_object().bucket(&self.bucket).key(self.full(to)).copy_source(source);
        match send!(copy, self.patience.long()) {
            Ok(_) => Ok(CopyOutcome::Copied),
            Err(answer) if answer.is_no_such_key() => Ok(CopyOutcome::SourceAbsent),
            Err(answer) => Err(self.fail(Operation::Copy, from, answer)),
        }
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.check(Operation::Delete, key)?;
        let delete = self.client.delete_object().bucket(&self.bucket).key(self.full(key));
        match send!(delete, self.patience.quick()) {
            Ok(_) => Ok(()),
            Err(answer) if answer.is_no_such_key() => Ok(()),
            Err(answer) => Err(self.fail(Operation::Delete, key, answer)),
        }
    }

    async fn begin_upload(&self, key: &str) -> Result<UploadId, StoreError> {
        self.check(Operation::BeginUpload, key)?;
        let begin = self.client.create_multipart_upload().bucket(&self.bucket).key(self.full(key));
        match send!(begin, self.patience.quick()) {
            Ok(begun) => match begun.upload_id {
                Some(id) => Ok(UploadId(id)),
                None => Err(self.trouble(Operation::BeginUpload, key, "the answer has no upload id", None)),
            },
            Err(answer) => Err(self.fail(Operation::BeginUpload, key, answer)),
        }
    }

    async fn upload_part(
        &self,
        key: &str,
        upload: &UploadId,
        number: usize,
        body: Bytes,
    ) -> Result<PartTag, StoreError> {
        self.check(Operation::UploadPart, key)?;
        // A number beyond i32 is beyond S3's limit too: S3 is to say so.
        let number = i32::try_from(number).unwrap_or(i32::MAX);
        let part = self.client.upload_part().bucket(&self.bucket).key(self.full(key));
        let part = part.upload_id(&upload.0).part_number(number).body(ByteStream::from(body));
        match send!(part, self.patience.long()) {
            Ok(sent) => match sent.e_tag {
                Some(tag) => Ok(PartTag(tag)),
                None => Err(self.trouble(Operation::UploadPart, key, "the answer has no ETag", None)),
            },
            Err(answer) => Err(self.fail(Operation::UploadPart, key, answer)),
        }
    }

    async fn complete_upload(
        &self,
        key: &str,
        upload: &UploadId,
        parts: &[PartTag],
    ) -> Result<CompleteOutcome, StoreError> {
        self.check(Operation::CompleteUpload, key)?;
        let parts = (1..)
            .zip(parts)
            .map(|(number, tag)| CompletedPart::builder().part_number(number).e_tag(&tag.0).build());
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        let complete = self.client.complete_multipart_upload().bucket(&self.bucket).key(self.full(key));
        let complete = complete.upload_id(&upload.0).multipart_upload(parts);
        match send!(complete, self.patience.long()) {
            Ok(_) => Ok(CompleteOutcome::Completed),
            Err(answer) if answer.fault() == Fault::NoSuchUpload => Ok(CompleteOutcome::NoSuchUpload),
            Err(answer) => Err(self.fail(Operation::CompleteUpload, key, answer)),
        }
    }

    async fn abort_upload(&self, key: &str, upload: &UploadId) -> Result<(), StoreError> {
        self.check(Operation::AbortUpload, key)?;
        let abort = self.client.abort_multipart_upload().bucket(&self.bucket).key(self.full(key));
        match send!(abort.upload_id(&upload.0), self.patience.quick()) {
            Ok(_) => Ok(()),
            Err(answer) if answer.fault() == Fault::NoSuchUpload => Ok(()),
            Err(answer) => Err(self.fail(Operation::AbortUpload, key, answer)),
        }
    }

    async fn list_uploads(&self, prefix: &str) -> Result<Vec<UploadMeta>, StoreError> {
        let mut found = Vec::new();
        let (mut after_key, mut after_id): (Option<String>, Option<String>) = (None, None);
        loop {
            let list = self.client.list_multipart_uploads().bucket(&self.bucket).prefix(self.full(prefix));
            let list = list.set_key_marker(after_key.clone()).set_upload_id_marker(after_id.clone());
            let answer = send!(list, self.patience.quick())
                .map_err(|answer| self.fail(Operation::ListUploads, prefix, answer))?;
            for upload in answer.uploads.unwrap_or_default() {
                let (Some(full), Some(id)) = (upload.key, upload.upload_id) else {
                    let what = "an upload in the listing has no key or no id";
                    return Err(self.trouble(Operation::ListUploads, prefix, what, None));
                };
                // Some servers do not look at the prefix.
                let Some(key) = full.strip_prefix(&self.prefix).filter(|key| key.starts_with(prefix)) else {
                    continue;
                };
                found.push(UploadMeta {
                    key: key.to_owned(),
                    upload_id: UploadId(id),
                    begun: self.moment(Operation::ListUploads, key, upload.initiated)?,
                });
            }
            if answer.is_truncated != Some(true) {
                break;
            }
            let next = (answer.next_key_marker, answer.next_upload_id_marker);
            if next == (after_key.clone(), after_id.clone()) {
                let what = "the listing does not go on where it ended";
                return Err(self.trouble(Operation::ListUploads, prefix, what, None));
            }
            (after_key, after_id) = next;
        }
        found.sort_by(|a, b| (&a.key, &a.upload_id).cmp(&(&b.key, &b.upload_id)));
        Ok(found)
    }
}

impl S3Store {
    fn bytes(&self, operation: Operation, key: &str, length: Option<i64>) -> Result<u64, StoreError> {
        match length.and_then(|length| u64::try_from(length).ok()) {
            Some(bytes) => Ok(bytes),
            None => Err(self.trouble(operation, key, "the answer has no length", None)),
        }
    }

    fn moment(
        &self,
        operation: Operation,
        key: &str,
        time: Option<DateTime>,
    ) -> Result<SystemTime, StoreError> {
        match time.and_then(|time| SystemTime::try_from(time).ok()) {
            Some(time) => Ok(time),
            None => Err(self.trouble(operation, key, "the answer has no time", None)),
        }
    }
}

/// `x-amz-copy-source` is a URL's path: all but unreserved characters and `/` are encoded (RFC 3986).
fn percent_encoded(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
