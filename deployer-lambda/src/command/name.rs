//! Name: from what a person typed to the image or release that is meant.

use std::collections::BTreeSet;

use super::{DIGITS_MIN, Facts, Refusal, back, known};
use crate::journal::Record;
use crate::observe::facts::Image;
use crate::release::{Digest, ReleaseId};

/// What a person meant.
#[derive(Clone, Debug)]
pub struct Named<'a> {
    pub digest: Digest,
    /// As it was named, else what today's templates make of the image, else the newest that was made of it.
    pub release: ReleaseId,
    /// Named by digest in full: `reject` then means the image, under any tag and settings.
    pub by_digest: bool,
    /// None: it is no longer in the registry.
    pub image: Option<&'a Image>,
    /// The releases that the journal knows of it, newest first; just the one where a release was named.
    pub records: Vec<&'a Record>,
}

impl Named<'_> {
    /// For people: `v1.4.0 (release 0123456789abcdef, image 4b7c1f0e6a52)`.
    pub fn shown(&self) -> String {
        let tags = match (self.image, self.records.first()) {
            (Some(image), _) => &image.tags,
            (None, Some(record)) => &record.tags,
            (None, None) => return shown(&[], &self.release, &self.digest),
        };
        shown(tags, &self.release, &self.digest)
    }
}

pub fn shown(tags: &[String], release: &ReleaseId, digest: &Digest) -> String {
    let rest = format!("release {release}, image {}", digest.short());
    match tags.iter().find(|tag| !tag.starts_with("landfall-keep-")) {
        Some(tag) => format!("{tag} ({rest})"),
        None => rest,
    }
}

pub fn shown_record(record: &Record) -> String {
    shown(&record.tags, &record.release, &record.digest)
}

/// Who is meant: an image by its digest alone, or one release of it.
type Meant = BTreeSet<(Digest, Option<ReleaseId>)>;

/// What `what` names, in this order: a tag that an image has, a digest or a release id in full; then what starts so
/// (at least six digits, `sha256:` may be left out), and tags that an image had. What is exact beats what merely starts
/// so, and nothing is guessed among several.
///
/// # Errors
/// Nothing or several things are called so, or the registry could not be read.
pub fn find<'a>(facts: &Facts<'a>, what: &str) -> Result<Named<'a>, Refusal> {
    let images = known(&facts.observed.images)?;
    let what = what.trim();
    let mut meant = exact(facts, images, what);
    if meant.is_empty() {
        meant = loose(facts, images, what)?;
    }
    let mut candidates = Vec::new();
    for (digest, release) in meant {
        let candidate = named(facts, images, digest, release, what)?;
        // An image and the release that today's templates make of it are one answer to two questions.
        let is_new =
            |known: &Named<'_>| known.digest != candidate.digest || known.release != candidate.release;
        if candidates.iter().all(is_new) {
            candidates.push(candidate);
        }
    }
    match candidates.len() {
        0 => Err(not_found(what, images)),
        1 => Ok(candidates.swap_remove(0)),
        _ => {
            let candidates = candidates.iter().map(Named::shown).collect();
            Err(Refusal::Ambiguous { what: what.to_owned(), candidates })
        }
    }
}

fn exact(facts: &Facts<'_>, images: &[Image], what: &str) -> Meant {
    let mut meant = Meant::new();
    for image in images {
        let is_child = image.children.iter().flatten().any(|child| child.digest.as_str() == what);
        if image.tags.iter().any(|tag| tag == what) || image.digest.as_str() == what || is_child {
            meant.insert((image.digest.clone(), None));
        }
    }
    for record in &facts.journal.releases {
        let is_child = record.children.iter().any(|child| child.digest.as_str() == what);
        if record.digest.as_str() == what || is_child {
            meant.insert((record.digest.clone(), None));
        }
        if record.release.as_str() == what {
            meant.insert((record.digest.clone(), Some(record.release.clone())));
        }
    }
    meant
}

fn loose(facts: &Facts<'_>, images: &[Image], what: &str) -> Result<Meant, Refusal> {
    let mut meant = Meant::new();
    for record in facts.journal.releases.iter().filter(|record| record.tags.iter().any(|tag| tag == what)) {
        meant.insert((record.digest.clone(), None));
    }
    let digits = what.strip_prefix("sha256:").unwrap_or(what);
    let is_hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex {
        return Ok(meant);
    }
    if digits.len() < DIGITS_MIN {
        return if meant.is_empty() { Err(Refusal::TooShort { what: what.to_owned() }) } else { Ok(meant) };
    }
    let starts =
        |digest: &Digest| digest.as_str().strip_prefix("sha256:").is_some_and(|hex| hex.starts_with(digits));
    for image in images {
        if starts(&image.digest) || image.children.iter().flatten().any(|child| starts(&child.digest)) {
            meant.insert((image.digest.clone(), None));
        }
    }
    for record in &facts.journal.releases {
        if starts(&record.digest) || record.children.iter().any(|child| starts(&child.digest)) {
            meant.insert((record.digest.clone(), None));
        }
    }
    if digits.len() == what.len() {
        add_releases(facts, images, digits, &mut meant);
    }
    Ok(meant)
}

/// Releases whose id starts so; those of the journal, and what today's templates would make of an image.
fn add_releases(facts: &Facts<'_>, images: &[Image], digits: &str, meant: &mut Meant) {
    for record in facts.journal.releases.iter().filter(|record| record.release.as_str().starts_with(digits)) {
        meant.insert((record.digest.clone(), Some(record.release.clone())));
    }
    for image in images {
        // An image that cannot be rendered has no release id that anybody could have seen.
        if let Ok(rendered) = (facts.rendered)(&image.digest)
            && rendered.release.as_str().starts_with(digits)
        {
            meant.insert((image.digest.clone(), Some(rendered.release)));
        }
    }
}

fn named<'a>(
    facts: &Facts<'a>,
    images: &'a [Image],
    digest: Digest,
    release: Option<ReleaseId>,
    what: &str,
) -> Result<Named<'a>, Refusal> {
    let image = images.iter().find(|image| image.digest == digest);
    let is_meant = |record: &&Record| {
        record.digest == digest && release.as_ref().is_none_or(|release| record.release == *release)
    };
    let mut records: Vec<&Record> = facts.journal.releases.iter().filter(is_meant).collect();
    back::newest_first(&mut records, facts.policy.order);
    let by_digest = what.starts_with("sha256:") && digest.as_str() == what;
    let release = match (release, image, records.first()) {
        (Some(release), _, _) => release,
        (None, Some(_), _) => {
            let render = |why| Refusal::Render { name: what.to_owned(), why };
            (facts.rendered)(&digest).map_err(render)?.release
        }
        (None, None, Some(record)) => record.release.clone(),
        (None, None, None) => return Err(not_found(what, images)),
    };
    Ok(Named { digest, release, by_digest, image, records })
}

/// With the newest tags, so that a typing error is seen.
fn not_found(what: &str, images: &[Image]) -> Refusal {
    let mut newest: Vec<&Image> = images.iter().collect();
    newest.sort_by_key(|image| std::cmp::Reverse(image.pushed_at));
    let tags = newest.iter().flat_map(|image| &image.tags).filter(|tag| !tag.starts_with("landfall-keep-"));
    Refusal::NotFound { what: what.to_owned(), known: tags.take(5).cloned().collect() }
}
