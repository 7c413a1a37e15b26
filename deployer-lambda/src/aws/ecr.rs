//! Ecr: the repository's images, what indexes name, scans, and one more tag on an image.
//!
//! Order: what is no image (signatures, attestations, charts) is left out here, so that nobody deploys it.
//! Neighbours: aws.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use aws_sdk_ecr::types::{
    FindingSeverity, ImageDetail, ImageFailureCode, ImageIdentifier, ImageScanStatus, ImageStatus, ScanStatus,
};
use futures::future::try_join_all;
use serde::Deserialize;

use super::error::code_of;
use super::{Aws, Call, moment, once, patiently};
use crate::apply::ports::Keeper;
use crate::observe::facts::{Child, Image, Scan};
use crate::observe::ports::{CallError, CallFault, Registry};
use crate::policy::Severity;
use crate::release::Digest;

/// Source: "DescribeImages".
const IMAGES_A_PAGE: i32 = 1000;
/// 100,000 images: the most that a repository holds. Source: "Amazon ECR service quotas".
const PAGES_MAX: usize = 100;
/// Source: "BatchGetImage".
const MANIFESTS_A_CALL: usize = 100;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// What a container's image has as its configuration; anything else is an artifact.
const CONTAINER_CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

#[async_trait]
impl Registry for Aws {
    async fn images(&self) -> Result<Vec<Image>, CallError> {
        let repository = &self.target.repository;
        let request = self.ecr.describe_images().repository_name(repository).max_results(IMAGES_A_PAGE);
        let mut pages = request.into_paginator().send();
        let mut images = Vec::new();
        for _ in 0..PAGES_MAX {
            let Some(page) = pages.next().await else { return Ok(images) };
            let page = page.map_err(|error| Call::DescribeImages.failed(repository, error))?;
            images.extend(page.image_details().iter().filter_map(image_of));
        }
        match pages.next().await {
            None => Ok(images),
            // To stop here would be to hide images.
            Some(_) => {
                let why = format!("it has more than {PAGES_MAX} pages of {IMAGES_A_PAGE} images");
                Err(Call::DescribeImages.odd(repository, CallFault::Refused, why))
            }
        }
    }

    async fn children(&self, indexes: &[Digest]) -> Result<BTreeMap<Digest, Vec<Child>>, CallError> {
        let batches = indexes.chunks(MANIFESTS_A_CALL).map(|batch| async move {
            let mut found = BTreeMap::new();
            for (digest, manifest, _) in self.manifests(batch, &[OCI_INDEX, DOCKER_INDEX]).await? {
                let children = children_of(&manifest).map_err(|why| {
                    let why = format!("manifest {digest} is no index: {why}");
                    Call::BatchGetImage.odd(&self.target.repository, CallFault::Refused, why)
                })?;
                found.insert(digest, children);
            }
            Ok(found)
        });
        Ok(try_join_all(batches).await?.into_iter().flatten().collect())
    }

    async fn scans(&self, digests: &[Digest]) -> Result<BTreeMap<Digest, Scan>, CallError> {
        let each = digests.iter().map(|digest| async move { Ok((digest.clone(), self.scan(digest).await?)) });
        Ok(try_join_all(each).await?.into_iter().collect())
    }
}

impl Aws {
    /// Basic scanning's newer version tells its results only here. Source: "DescribeImages".
    async fn scan(&self, digest: &Digest) -> Result<Scan, CallError> {
        let sent = self
            .ecr
            .describe_image_scan_findings()
            .repository_name(&self.target.repository)
            .image_id(by_digest(digest))
            // Only the counts are used, and they come with every page.
            .max_results(1)
            .send()
            .await;
        match sent {
            Ok(answer) => {
                let counts = answer.image_scan_findings().map(|found| found.finding_severity_counts.clone());
                Ok(scan_of(answer.image_scan_status(), counts.map(Option::unwrap_or_default).as_ref()))
            }
            Err(error) => {
                let error = Call::DescribeImageScanFindings.failed(digest.as_str(), error);
                match code_of(&error) {
                    // Not begun, or never asked for.
                    Some("ScanNotFoundException" | "ImageNotFoundException") => Ok(Scan::Pending),
                    Some(_) | None => Err(error),
                }
            }
        }
    }

    /// Digest, manifest and media type; images that are gone are left out.
    async fn manifests(
        &self,
        digests: &[Digest],
        accepted: &[&str],
    ) -> Result<Vec<(Digest, String, String)>, CallError> {
        let (call, repository) = (Call::BatchGetImage, &self.target.repository);
        let answer = self
            .ecr
            .batch_get_image()
            .repository_name(repository)
            .set_image_ids(Some(digests.iter().map(by_digest).collect()))
            .set_accepted_media_types(Some(accepted.iter().map(|&kind| kind.to_owned()).collect()))
            .send()
            .await
            .map_err(|error| call.failed(repository, error))?;
        for failure in answer.failures() {
            if failure.failure_code() != Some(&ImageFailureCode::ImageNotFound) {
                let which = failure.image_id().and_then(ImageIdentifier::image_digest).unwrap_or_default();
                let reason = failure.failure_reason().unwrap_or("no reason given");
                return Err(call.odd(repository, CallFault::Unknown, format!("{which}: {reason}")));
            }
        }
        let found = answer.images().iter().filter_map(|image| {
            let digest = Digest::from(image.image_id()?.image_digest()?);
            let kind = image.image_manifest_media_type().unwrap_or_default();
            Some((digest, image.image_manifest()?.to_owned(), kind.to_owned()))
        });
        Ok(found.collect())
    }

    /// The digest that a tag names now.
    async fn tagged(&self, tag: &str) -> Result<Option<Digest>, CallError> {
        let repository = &self.target.repository;
        let answer = self
            .ecr
            .batch_get_image()
            .repository_name(repository)
            .image_ids(ImageIdentifier::builder().image_tag(tag).build())
            .send()
            .await
            .map_err(|error| Call::BatchGetImage.failed(repository, error))?;
        Ok(answer.images().first().and_then(|image| image.image_id()?.image_digest()).map(Digest::from))
    }

    async fn put_manifest(
        &self,
        digest: &Digest,
        manifest: &str,
        kind: &str,
        tag: &str,
    ) -> Result<(), CallError> {
        let config = || aws_sdk_ecr::Config::builder().retry_config(once());
        patiently(|| async {
            let request = self
                .ecr
                .put_image()
                .repository_name(&self.target.repository)
                .image_manifest(manifest)
                .set_image_manifest_media_type((!kind.is_empty()).then(|| kind.to_owned()))
                .image_digest(digest.as_str())
                .image_tag(tag);
            let sent = request.customize().config_override(config()).send().await;
            sent.map(drop).map_err(|error| Call::PutImage.failed(digest.as_str(), error))
        })
        .await
    }
}

#[async_trait]
impl Keeper for Aws {
    async fn keep(&self, digest: &Digest, tag: &str) -> Result<(), CallError> {
        let all = [OCI_INDEX, DOCKER_INDEX, OCI_MANIFEST, DOCKER_MANIFEST];
        let found = self.manifests(std::slice::from_ref(digest), &all).await?;
        let Some((_, manifest, kind)) = found.into_iter().next() else {
            let why = "it is not in the repository any more: nothing can be rolled back to it";
            return Err(Call::PutImage.odd(digest.as_str(), CallFault::Refused, why));
        };
        let error = match self.put_manifest(digest, &manifest, &kind, tag).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        match code_of(&error) {
            // This image, with this tag.
            Some("ImageAlreadyExistsException") => Ok(()),
            // Tags are immutable, and this one is taken: by this image, if the reply to an earlier try was lost.
            Some("ImageTagAlreadyExistsException") if self.tagged(tag).await?.as_ref() == Some(digest) => {
                Ok(())
            }
            Some(_) | None => Err(error),
        }
    }
}

fn by_digest(digest: &Digest) -> ImageIdentifier {
    ImageIdentifier::builder().image_digest(digest.as_str()).build()
}

/// `None`: no image of a container, or one that cannot be pulled.
fn image_of(detail: &ImageDetail) -> Option<Image> {
    let kind = detail.image_manifest_media_type().unwrap_or_default();
    let is_index = kind == OCI_INDEX || kind == DOCKER_INDEX;
    let artifact = detail.artifact_media_type();
    // Stand-ins for ECR repeat the manifest's type there; no artifact has that.
    let is_config = |artifact: &str| CONTAINER_CONFIGS.contains(&artifact) || artifact == kind;
    let is_container = is_index || artifact.is_none_or(is_config);
    let refers_to_another = detail.subject_manifest_digest().is_some();
    let is_there = matches!(detail.image_status(), None | Some(ImageStatus::Active));
    if !is_container || refers_to_another || !is_there {
        return None;
    }
    let counts = detail.image_scan_findings_summary().map(|found| found.finding_severity_counts.clone());
    Some(Image {
        digest: Digest::from(detail.image_digest()?),
        tags: detail.image_tags().to_vec(),
        pushed_at: detail.image_pushed_at().map(moment).unwrap_or_default(),
        children: if is_index { None } else { Some(Vec::new()) },
        scan: scan_of(detail.image_scan_status(), counts.map(Option::unwrap_or_default).as_ref()),
    })
}

/// `counts`: findings by severity; none where there is no summary.
fn scan_of(status: Option<&ImageScanStatus>, counts: Option<&HashMap<FindingSeverity, i32>>) -> Scan {
    match (status.and_then(ImageScanStatus::status), counts) {
        (None | Some(ScanStatus::Pending | ScanStatus::InProgress), _) => Scan::Pending,
        // Continuous scanning is switched on, but has not come to this image yet.
        (Some(ScanStatus::Active), None) => Scan::Pending,
        (Some(ScanStatus::Active), Some(counts)) => Scan::Done(worst(counts)),
        (Some(ScanStatus::Complete), counts) => Scan::Done(counts.and_then(worst)),
        // FAILED, UNSUPPORTED_IMAGE, SCAN_ELIGIBILITY_EXPIRED, FINDINGS_UNAVAILABLE, LIMIT_EXCEEDED, IMAGE_ARCHIVED,
        // and what ECR may add: nothing that could be called an answer.
        (Some(_), _) => Scan::NoAnswer,
    }
}

fn worst(counts: &HashMap<FindingSeverity, i32>) -> Option<Severity> {
    let found = counts.iter().filter(|(_, count)| **count > 0);
    found
        .map(|(severity, _)| match severity {
            FindingSeverity::Critical => Severity::Critical,
            FindingSeverity::High => Severity::High,
            FindingSeverity::Medium => Severity::Medium,
            FindingSeverity::Low => Severity::Low,
            FindingSeverity::Informational => Severity::Informational,
            // UNDEFINED, and names that ECR may add: not rated.
            _ => Severity::Undefined,
        })
        .max()
}

/// An index of manifests, OCI's or Docker's. Source: "OCI Image Index Specification".
#[derive(Deserialize)]
struct Index {
    manifests: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    digest: String,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Platform {
    os: String,
    architecture: String,
    #[serde(default)]
    variant: String,
}

fn children_of(manifest: &str) -> Result<Vec<Child>, serde_json::Error> {
    let index: Index = serde_json::from_str(manifest)?;
    let children = index.manifests.into_iter().filter_map(|entry| {
        let platform = entry.platform.map(|platform| platform.name());
        let is_attestation = entry.annotations.contains_key("vnd.docker.reference.type")
            || platform.as_deref() == Some("unknown/unknown");
        let child = Child { digest: Digest(entry.digest), platform: platform.unwrap_or_default() };
        (!is_attestation).then_some(child)
    });
    Ok(children.collect())
}

impl Platform {
    /// `linux/arm64`; every 64-bit Arm is v8, with or without saying so.
    fn name(&self) -> String {
        match (self.architecture.as_str(), self.variant.as_str()) {
            (architecture, "") | (architecture @ "arm64", "v8") => format!("{}/{architecture}", self.os),
            (architecture, variant) => format!("{}/{architecture}/{variant}", self.os),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_ecr::types::ImageScanFindingsSummary;
    use aws_sdk_ecr::types::builders::ImageDetailBuilder;

    use super::*;

    fn detail() -> ImageDetailBuilder {
        ImageDetail::builder()
            .image_digest("sha256:aa")
            .image_tags("v1.2.3")
            .image_pushed_at(aws_sdk_ecr::primitives::DateTime::from_millis(7_000))
            .image_manifest_media_type(OCI_MANIFEST)
            .artifact_media_type(CONTAINER_CONFIGS[0])
    }

    #[test]
    fn a_manifest_has_no_children_and_an_indexs_are_not_read() {
        assert_eq!(image_of(&detail().build()).unwrap().children, Some(Vec::new()));
        for kind in [OCI_INDEX, DOCKER_INDEX] {
            let index = detail().image_manifest_media_type(kind).set_artifact_media_type(None).build();
            assert_eq!(image_of(&index).unwrap().children, None);
        }
    }

    #[test]
    fn what_is_no_container_or_cannot_be_pulled_is_no_image() {
        let helm = detail().artifact_media_type("application/vnd.cncf.helm.config.v1+json").build();
        assert_eq!(image_of(&helm), None);
        let signature = detail().subject_manifest_digest("sha256:bb").build();
        assert_eq!(image_of(&signature), None);
        let archived = detail().image_status(ImageStatus::Archived).build();
        assert_eq!(image_of(&archived), None);
        assert!(image_of(&detail().set_artifact_media_type(None).build()).is_some());
    }

    fn scan(status: &str, counts: Option<&[(FindingSeverity, i32)]>) -> Scan {
        let status = ImageScanStatus::builder().status(ScanStatus::from(status)).build();
        let counts = counts.map(|counts| counts.iter().cloned().collect::<HashMap<_, _>>());
        scan_of(Some(&status), counts.as_ref())
    }

    #[test]
    fn every_scan_status_is_an_answer() {
        let high = [(FindingSeverity::Low, 3), (FindingSeverity::High, 1), (FindingSeverity::Critical, 0)];
        assert_eq!(scan_of(None, None), Scan::Pending);
        assert_eq!(scan("PENDING", None), Scan::Pending);
        assert_eq!(scan("IN_PROGRESS", None), Scan::Pending);
        assert_eq!(scan("ACTIVE", None), Scan::Pending);
        assert_eq!(scan("ACTIVE", Some(&high)), Scan::Done(Some(Severity::High)));
        assert_eq!(scan("COMPLETE", Some(&high)), Scan::Done(Some(Severity::High)));
        assert_eq!(scan("COMPLETE", Some(&[])), Scan::Done(None));
        assert_eq!(scan("COMPLETE", None), Scan::Done(None));
        for none in [
            "FAILED",
            "UNSUPPORTED_IMAGE",
            "SCAN_ELIGIBILITY_EXPIRED",
            "FINDINGS_UNAVAILABLE",
            "LIMIT_EXCEEDED",
            "IMAGE_ARCHIVED",
            "SOMETHING_NEW",
        ] {
            assert_eq!(scan(none, Some(&high)), Scan::NoAnswer, "{none}");
        }
    }

    #[test]
    fn the_summary_of_describe_images_is_read() {
        let summary =
            ImageScanFindingsSummary::builder().finding_severity_counts(FindingSeverity::Medium, 2).build();
        let status = ImageScanStatus::builder().status(ScanStatus::Complete).build();
        let image = detail().image_scan_status(status).image_scan_findings_summary(summary).build();
        assert_eq!(image_of(&image).unwrap().scan, Scan::Done(Some(Severity::Medium)));
    }

    #[test]
    fn an_index_names_platforms_and_attestations_are_left_out() {
        let index = r#"{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [
            {"mediaType": "m", "digest": "sha256:1", "size": 1, "platform": {"architecture": "amd64", "os": "linux"}},
            {"mediaType": "m", "digest": "sha256:2", "size": 1,
             "platform": {"architecture": "arm64", "os": "linux", "variant": "v8"}},
            {"mediaType": "m", "digest": "sha256:3", "size": 1,
             "platform": {"architecture": "arm", "os": "linux", "variant": "v7"}},
            {"mediaType": "m", "digest": "sha256:4", "size": 1,
             "platform": {"architecture": "unknown", "os": "unknown"}},
            {"mediaType": "m", "digest": "sha256:5", "size": 1,
             "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
             "platform": {"architecture": "amd64", "os": "linux"}}]}"#;
        let child =
            |digest: &str, platform: &str| Child { digest: digest.into(), platform: platform.to_owned() };
        assert_eq!(
            children_of(index).unwrap(),
            [
                child("sha256:1", "linux/amd64"),
                child("sha256:2", "linux/arm64"),
                child("sha256:3", "linux/arm/v7")
            ]
        );
    }
}
