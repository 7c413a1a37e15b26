//! Ecr: repositories of images, as far as the deployer asks: describe, get and put manifests, scans.
//!
//! Order: a tag names one image for ever (the repository is immutable); everything is checked before anything changes.
//! Neighbours: image before it; mod emits the events that it makes. Pure.
//!
//! Source: *Amazon ECR API Reference*, DescribeImages, BatchGetImage, PutImage, DescribeImageScanFindings; "Image
//! action events" of the user guide.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::image::{CONFIG_TYPE, Image, MANIFEST_TYPE, digest_of};
use crate::ecs::Ms;

/// ECR's answer that it does not do that.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct EcrError {
    pub code: &'static str,
    pub message: String,
}

impl EcrError {
    /// As `awsJson1_1` has it.
    pub fn body(&self) -> Value {
        json!({ "__type": self.code, "message": self.message })
    }
}

fn error(code: &'static str, message: impl Into<String>) -> EcrError {
    EcrError { code, message: message.into() }
}

#[derive(Clone, Debug)]
struct Kept {
    image: Image,
    tags: Vec<String>,
    pushed_at: Ms,
}

/// A push that ECR would tell of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pushed {
    pub repository: String,
    pub digest: String,
    pub tag: String,
}

impl Pushed {
    /// `ECR Image Action`, as EventBridge hands it on.
    pub fn detail(&self) -> Value {
        json!({
            "result": "SUCCESS",
            "repository-name": self.repository,
            "image-digest": self.digest,
            "action-type": "PUSH",
            "image-tag": self.tag,
            "manifest-media-type": MANIFEST_TYPE,
            "artifact-media-type": CONFIG_TYPE,
        })
    }
}

/// One registry.
#[derive(Clone, Debug)]
pub struct Ecr {
    account: String,
    /// By name; images from old to new.
    repositories: BTreeMap<String, Vec<Kept>>,
}

type Answer = Result<Value, EcrError>;

impl Ecr {
    pub fn new(account: &str) -> Ecr {
        Ecr { account: account.to_owned(), repositories: BTreeMap::new() }
    }

    pub fn create(&mut self, repository: &str) {
        self.repositories.entry(repository.to_owned()).or_default();
    }

    /// An image with a tag, or one more tag on an image that is there.
    pub fn push(&mut self, repository: &str, image: Image, tag: &str, now: Ms) -> Result<Pushed, EcrError> {
        let images = self.images_mut(repository)?;
        let holder = images.iter().find(|kept| kept.tags.iter().any(|it| it == tag));
        if let Some(holder) = holder {
            if holder.image.digest == image.digest {
                let what = format!("Image with digest '{}' and tag '{tag}' already exists", image.digest);
                return Err(error("ImageAlreadyExistsException", what));
            }
            let what = format!(
                "The image tag '{tag}' already exists in the '{repository}' repository and cannot be overwritten \
                 because the tag is immutable."
            );
            return Err(error("ImageTagAlreadyExistsException", what));
        }
        let digest = image.digest.clone();
        match images.iter_mut().find(|kept| kept.image.digest == digest) {
            Some(kept) => kept.tags.push(tag.to_owned()),
            None => images.push(Kept { image, tags: vec![tag.to_owned()], pushed_at: now }),
        }
        Ok(Pushed { repository: repository.to_owned(), digest, tag: tag.to_owned() })
    }

    /// What is to be run as `…/repository@sha256:…` or `…/repository:tag`.
    pub fn pull(&self, reference: &str) -> Option<&Image> {
        let (path, wanted) = match reference.split_once('@') {
            Some((path, digest)) => (path, digest),
            None => reference.rsplit_once(':')?,
        };
        let (_, repository) = path.split_once('/')?;
        let kept = self.repositories.get(repository)?;
        let found =
            kept.iter().find(|kept| kept.image.digest == wanted || kept.tags.iter().any(|tag| tag == wanted));
        found.map(|kept| &kept.image)
    }

    /// A call by what stands after the dot of `X-Amz-Target: AmazonEC2ContainerRegistry_V20150921.`
    pub fn call(
        &mut self,
        action: &str,
        request: &Value,
        now: Ms,
    ) -> Result<(Value, Option<Pushed>), EcrError> {
        match action {
            "DescribeImages" => Ok((self.describe_images(request)?, None)),
            "BatchGetImage" => Ok((self.batch_get_image(request)?, None)),
            "DescribeImageScanFindings" => Ok((self.scan_findings(request)?, None)),
            "PutImage" => self.put_image(request, now).map(|(answer, pushed)| (answer, Some(pushed))),
            other => Err(error("UnsupportedCommandType", format!("This model of ECR has no {other}."))),
        }
    }

    fn describe_images(&self, request: &Value) -> Answer {
        let (name, images) = self.images(request)?;
        let ids = request.get("imageIds").and_then(Value::as_array);
        let mut found: Vec<&Kept> = match ids {
            None => images.iter().collect(),
            Some(ids) => {
                ids.iter().map(|id| find(images, id).ok_or_else(|| absent(id))).collect::<Result<_, _>>()?
            }
        };
        let all = found.len();
        let from = match request.get("nextToken").and_then(Value::as_str) {
            None => 0,
            Some(token) => token
                .parse::<usize>()
                .map_err(|_| error("InvalidParameterException", "Invalid parameter 'nextToken'"))?,
        };
        let size = request.get("maxResults").and_then(Value::as_u64).unwrap_or(100).clamp(1, 1000);
        let size = usize::try_from(size).unwrap_or(1000);
        found = found.into_iter().skip(from).take(size).collect();
        let details: Vec<Value> = found.iter().map(|kept| self.detail(name, kept)).collect();
        let mut answer = json!({ "imageDetails": details });
        if from + size < all {
            answer["nextToken"] = json!((from + size).to_string());
        }
        Ok(answer)
    }

    fn detail(&self, repository: &str, kept: &Kept) -> Value {
        let mut detail = json!({
            "registryId": self.account,
            "repositoryName": repository,
            "imageDigest": kept.image.digest,
            "imageSizeInBytes": kept.image.bytes,
            "imagePushedAt": crate::ecs::events::seconds(kept.pushed_at),
            "imageManifestMediaType": MANIFEST_TYPE,
            "artifactMediaType": CONFIG_TYPE,
        });
        if !kept.tags.is_empty() {
            detail["imageTags"] = json!(kept.tags);
        }
        detail
    }

    fn batch_get_image(&self, request: &Value) -> Answer {
        let (name, images) = self.images(request)?;
        let accepted = request.get("acceptedMediaTypes").and_then(Value::as_array);
        let accepts = accepted.is_none_or(|kinds| kinds.iter().any(|kind| kind == MANIFEST_TYPE));
        let (mut found, mut failures) = (Vec::new(), Vec::new());
        for id in request.get("imageIds").and_then(Value::as_array).into_iter().flatten() {
            match find(images, id) {
                Some(kept) if accepts => found.push(json!({
                    "registryId": self.account,
                    "repositoryName": name,
                    "imageId": id_of(kept, id),
                    "imageManifest": kept.image.manifest,
                    "imageManifestMediaType": MANIFEST_TYPE,
                })),
                // ECR turns a manifest into an accepted type where it can; it has no index to make of this one.
                Some(_) | None => failures.push(json!({
                    "imageId": id, "failureCode": "ImageNotFound", "failureReason": "Requested image not found",
                })),
            }
        }
        Ok(json!({ "images": found, "failures": failures }))
    }

    fn scan_findings(&self, request: &Value) -> Answer {
        let (name, images) = self.images(request)?;
        let id = request.get("imageId").cloned().unwrap_or_default();
        let kept = find(images, &id).ok_or_else(|| absent(&id))?;
        let what =
            format!("Image scan does not exist for the image with '{}' in '{name}'", kept.image.digest);
        Err(error("ScanNotFoundException", what))
    }

    fn put_image(&mut self, request: &Value, now: Ms) -> Result<(Value, Pushed), EcrError> {
        let (name, images) = self.images(request)?;
        let name = name.to_owned();
        let text = |key: &str| request.get(key).and_then(Value::as_str).unwrap_or_default();
        let (manifest, tag) = (text("imageManifest"), text("imageTag"));
        let digest = digest_of(manifest.as_bytes());
        let told = text("imageDigest");
        if !told.is_empty() && told != digest {
            let what = format!("The manifest's digest is '{digest}', not '{told}'");
            return Err(error("ImageDigestDoesNotMatchException", what));
        }
        let Some(kept) = images.iter().find(|kept| kept.image.digest == digest) else {
            let what = "The layers of the image are not in the repository";
            return Err(error("LayersNotFoundException", what));
        };
        let image = kept.image.clone();
        let pushed = self.push(&name, image, tag, now)?;
        let answer = json!({ "image": {
            "registryId": self.account, "repositoryName": name,
            "imageId": { "imageDigest": digest, "imageTag": tag },
            "imageManifest": manifest, "imageManifestMediaType": MANIFEST_TYPE,
        }});
        Ok((answer, pushed))
    }

    fn images<'a>(&'a self, request: &'a Value) -> Result<(&'a str, &'a [Kept]), EcrError> {
        let name = request.get("repositoryName").and_then(Value::as_str).unwrap_or_default();
        let images = self.repositories.get(name).ok_or_else(|| self.no_repository(name))?;
        Ok((name, images))
    }

    fn images_mut(&mut self, name: &str) -> Result<&mut Vec<Kept>, EcrError> {
        let missing = self.no_repository(name);
        self.repositories.get_mut(name).ok_or(missing)
    }

    fn no_repository(&self, name: &str) -> EcrError {
        let what = format!(
            "The repository with name '{name}' does not exist in the registry with id '{}'",
            self.account
        );
        error("RepositoryNotFoundException", what)
    }
}

/// By digest, by tag, or by both.
fn find<'a>(images: &'a [Kept], id: &Value) -> Option<&'a Kept> {
    let text = |key: &str| id.get(key).and_then(Value::as_str);
    let (digest, tag) = (text("imageDigest"), text("imageTag"));
    if digest.is_none() && tag.is_none() {
        return None;
    }
    images.iter().find(|kept| {
        digest.is_none_or(|digest| kept.image.digest == digest)
            && tag.is_none_or(|tag| kept.tags.iter().any(|it| it == tag))
    })
}

fn id_of(kept: &Kept, asked: &Value) -> Value {
    let mut id = asked.clone();
    id["imageDigest"] = kept.image.digest.clone().into();
    id
}

fn absent(id: &Value) -> EcrError {
    error(
        "ImageNotFoundException",
        format!("The image with imageId {id} does not exist within the repository"),
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn image(seed: &str) -> Image {
        let manifest = json!({ "layers": [seed] }).to_string();
        Image { digest: digest_of(manifest.as_bytes()), manifest, bytes: 7, root: PathBuf::from(seed) }
    }

    fn ecr() -> Ecr {
        let mut ecr = Ecr::new("111122223333");
        ecr.create("shop");
        ecr
    }

    #[test]
    fn a_tag_names_one_image_for_ever() {
        let mut ecr = ecr();
        let pushed = ecr.push("shop", image("a"), "1.0.0", 5_000).unwrap();
        assert_eq!((pushed.digest.as_str(), pushed.tag.as_str()), (image("a").digest.as_str(), "1.0.0"));
        let again = ecr.push("shop", image("a"), "1.0.0", 6_000).unwrap_err();
        assert_eq!(again.code, "ImageAlreadyExistsException");
        let other = ecr.push("shop", image("b"), "1.0.0", 6_000).unwrap_err();
        assert_eq!(other.code, "ImageTagAlreadyExistsException");
        ecr.push("shop", image("a"), "stable", 7_000).unwrap();
        let (answer, _) = ecr.call("DescribeImages", &json!({ "repositoryName": "shop" }), 0).unwrap();
        let details = answer["imageDetails"].as_array().unwrap();
        assert_eq!(details.len(), 1);
        assert_eq!(
            (&details[0]["imageTags"], &details[0]["imagePushedAt"]),
            (&json!(["1.0.0", "stable"]), &json!(5.0))
        );
    }

    #[test]
    fn images_are_pulled_by_digest_and_by_tag() {
        let mut ecr = ecr();
        ecr.push("shop", image("a"), "1.0.0", 0).unwrap();
        let digest = image("a").digest;
        assert_eq!(ecr.pull(&format!("registry/shop@{digest}")).unwrap().root, PathBuf::from("a"));
        assert!(ecr.pull("registry/shop:1.0.0").is_some());
        assert!(ecr.pull("registry/shop:2.0.0").is_none() && ecr.pull("registry/other:1.0.0").is_none());
    }

    #[test]
    fn a_manifest_that_is_there_takes_one_more_tag_and_an_unknown_one_is_refused() {
        let mut ecr = ecr();
        ecr.push("shop", image("a"), "1.0.0", 0).unwrap();
        let put = |manifest: &str| json!({ "repositoryName": "shop", "imageManifest": manifest, "imageTag": "landfall-keep-1" });
        let (_, pushed) = ecr.call("PutImage", &put(&image("a").manifest), 0).unwrap();
        assert_eq!(pushed.unwrap().tag, "landfall-keep-1");
        assert_eq!(ecr.call("PutImage", &put("{}"), 0).unwrap_err().code, "LayersNotFoundException");
    }

    #[test]
    fn pages_go_on_where_they_ended() {
        let mut ecr = ecr();
        for n in 0..5 {
            ecr.push("shop", image(&n.to_string()), &format!("1.0.{n}"), n).unwrap();
        }
        let mut request = json!({ "repositoryName": "shop", "maxResults": 2 });
        let mut seen = 0;
        loop {
            let (answer, _) = ecr.call("DescribeImages", &request, 0).unwrap();
            seen += answer["imageDetails"].as_array().unwrap().len();
            match answer.get("nextToken") {
                Some(token) => request["nextToken"] = token.clone(),
                None => break,
            }
        }
        assert_eq!(seen, 5);
        let unknown = ecr.call("DescribeImages", &json!({ "repositoryName": "nope" }), 0).unwrap_err();
        assert_eq!(unknown.code, "RepositoryNotFoundException");
    }
}
