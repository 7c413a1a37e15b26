//! Ecr: one repository; what is in it is put there by the benchmark.

use serde_json::{Value, json};

pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scan {
    Pending,
    Passed,
    Critical,
}

#[derive(Clone, Debug)]
pub struct Image {
    pub digest: String,
    pub tags: Vec<String>,
    pub pushed_at_ms: u64,
    pub manifest: String,
    pub kind: &'static str,
    pub scan: Scan,
}

#[derive(Debug, Default)]
pub struct Ecr {
    images: Vec<Image>,
    /// The answer to DescribeImages as long as nothing changes: making it is no part of what is measured.
    described: Option<String>,
}

impl Ecr {
    pub fn push(&mut self, images: impl IntoIterator<Item = Image>) {
        self.images.extend(images);
        self.described = None;
    }

    /// Of a multi-arch image each part is scanned: the worst counts.
    pub fn scanned(&mut self, number: u64, scan: Scan) {
        let parts = (0..4).map(|part| digest(number, part)).collect::<Vec<_>>();
        for image in self.images.iter_mut().filter(|image| parts.contains(&image.digest)) {
            image.scan = scan;
        }
        self.described = None;
    }

    /// The answer's body, or the error's code.
    pub fn call(&mut self, action: &str, request: &Value) -> Result<String, &'static str> {
        match action {
            "DescribeImages" => Ok(self.describe()),
            "BatchGetImage" => Ok(self.get(request)),
            "DescribeImageScanFindings" => self.findings(request),
            "PutImage" => self.tag(request),
            _ => Err("UnsupportedCommandException"),
        }
    }

    /// A page holds a thousand, and here are no more.
    fn describe(&mut self) -> String {
        let images = &self.images;
        let made = || {
            let details: Vec<Value> = images.iter().map(detail).collect();
            json!({ "imageDetails": details }).to_string()
        };
        self.described.get_or_insert_with(made).clone()
    }

    fn named<'s>(&'s self, id: &Value) -> Option<&'s Image> {
        self.images.iter().find(|image| match (id["imageDigest"].as_str(), id["imageTag"].as_str()) {
            (Some(digest), _) => image.digest == digest,
            (None, Some(tag)) => image.tags.iter().any(|known| known == tag),
            (None, None) => false,
        })
    }

    fn get(&self, request: &Value) -> String {
        let ids = request["imageIds"].as_array().cloned().unwrap_or_default();
        let (mut images, mut failures) = (Vec::new(), Vec::new());
        for id in &ids {
            match self.named(id) {
                Some(image) => images.push(json!({"imageId": {"imageDigest": image.digest},
                    "imageManifest": image.manifest, "imageManifestMediaType": image.kind})),
                None => failures
                    .push(json!({"imageId": id, "failureCode": "ImageNotFound", "failureReason": "-"})),
            }
        }
        json!({"images": images, "failures": failures}).to_string()
    }

    fn findings(&self, request: &Value) -> Result<String, &'static str> {
        let image = self.named(&request["imageId"]).ok_or("ImageNotFoundException")?;
        let (status, counts) = match image.scan {
            Scan::Pending => return Err("ScanNotFoundException"),
            Scan::Passed => ("COMPLETE", json!({"LOW": 2})),
            Scan::Critical => ("COMPLETE", json!({"CRITICAL": 1})),
        };
        let found = json!({"imageScanStatus": {"status": status}, "imageScanFindings": {"findingSeverityCounts": counts}});
        Ok(found.to_string())
    }

    /// One more tag on an image that is there.
    fn tag(&mut self, request: &Value) -> Result<String, &'static str> {
        let (digest, tag) = (request["imageDigest"].as_str(), request["imageTag"].as_str());
        let image = self.images.iter_mut().find(|image| digest == Some(&image.digest));
        let (Some(image), Some(tag)) = (image, tag) else { return Err("ImageNotFoundException") };
        image.tags.push(tag.to_owned());
        self.described = None;
        Ok(json!({"image": {"imageId": {"imageDigest": digest, "imageTag": tag}}}).to_string())
    }
}

fn detail(image: &Image) -> Value {
    let mut detail = json!({"registryId": super::ACCOUNT, "repositoryName": super::NAME, "imageDigest": image.digest,
        "imageTags": image.tags, "imageSizeInBytes": 12_345_678, "imagePushedAt": image.pushed_at_ms as f64 / 1000.0,
        "imageManifestMediaType": image.kind});
    if image.kind == OCI_MANIFEST {
        detail["artifactMediaType"] = json!("application/vnd.oci.image.config.v1+json");
    }
    match image.scan {
        Scan::Pending => {}
        Scan::Passed => {
            detail["imageScanStatus"] = json!({"status": "COMPLETE"});
            detail["imageScanFindingsSummary"] = json!({"findingSeverityCounts": {"LOW": 2}});
        }
        Scan::Critical => {
            detail["imageScanStatus"] = json!({"status": "COMPLETE"});
            detail["imageScanFindingsSummary"] = json!({"findingSeverityCounts": {"CRITICAL": 1}});
        }
    }
    detail
}

/// Of a part of the image `number`; part 0 is the index.
pub fn digest(number: u64, part: u64) -> String {
    format!("sha256:{:064x}", number * 16 + part)
}

/// A multi-arch image as `docker buildx` pushes it: two platforms and an attestation, untagged, then their index.
pub fn multi_arch(number: u64, tag: &str, pushed_at_ms: u64, scan: Scan) -> Vec<Image> {
    let digest = |part| digest(number, part);
    let image =
        |part, tags, manifest, kind| Image { digest: digest(part), tags, pushed_at_ms, manifest, kind, scan };
    let entry = |part: u64, os: &str, architecture: &str| {
        json!({"mediaType": OCI_MANIFEST, "digest": digest(part), "size": 2,
            "platform": {"os": os, "architecture": architecture}})
    };
    let entries = [entry(1, "linux", "amd64"), entry(2, "linux", "arm64"), entry(3, "unknown", "unknown")];
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).to_string();
    let mut parts: Vec<Image> =
        (1..=3).map(|part| image(part, Vec::new(), "{}".to_owned(), OCI_MANIFEST)).collect();
    parts.push(image(0, vec![tag.to_owned()], index, OCI_INDEX));
    parts
}
