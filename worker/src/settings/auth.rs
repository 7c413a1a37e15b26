//! Auth: `[kafka.auth]`, where each method takes its own keys and refuses the others'.
//!
//! Neighbours: load; reader below it.

use std::path::{Path, PathBuf};

use super::reader::{Found, Reader, Section};
use super::{Auth, ScramMechanism, Secret};

#[derive(Clone, Copy, Eq, PartialEq)]
enum Method {
    None,
    Tls,
    Scram,
    MskIam,
}

const METHODS: [(&str, Method); 4] =
    [("none", Method::None), ("tls", Method::Tls), ("scram", Method::Scram), ("msk-iam", Method::MskIam)];

/// None when it is too faulty to tell.
pub(super) fn read(reader: &mut Reader<'_>, kafka: &mut Section<'_>, dir: &Path) -> Option<Auth> {
    let mut section = reader.section(kafka, "auth");
    let method = reader.choice(&mut section, "method", &METHODS);
    let mechanisms = [("scram-sha-256", ScramMechanism::Sha256), ("scram-sha-512", ScramMechanism::Sha512)];
    let ca = reader.text(&mut section, "ca");
    let mechanism = reader.choice(&mut section, "mechanism", &mechanisms);
    let username = reader.text(&mut section, "username");
    let password = reader.text(&mut section, "password");
    let tls = reader.flag(&mut section, "tls");
    let region = reader.text(&mut section, "region");
    let role_arn = reader.text(&mut section, "role_arn");

    let method = match method {
        Found::Is(method, _) => method,
        Found::Absent if !section.is_there() => Method::None,
        Found::Absent => {
            reader.missing(&section, "method", "write one of \"none\", \"tls\", \"scram\", \"msk-iam\"");
            reader.close(section);
            return None;
        }
        Found::Faulty => {
            reader.close(section);
            return None;
        }
    };
    let uses: &[Method] = &[Method::Tls, Method::Scram];
    useless(reader, &ca, "ca", uses, method);
    useless(reader, &mechanism, "mechanism", &[Method::Scram], method);
    useless(reader, &username, "username", &[Method::Scram], method);
    useless(reader, &password, "password", &[Method::Scram], method);
    useless(reader, &tls, "tls", &[Method::Scram], method);
    useless(reader, &region, "region", &[Method::MskIam], method);
    useless(reader, &role_arn, "role_arn", &[Method::MskIam], method);

    let ca = certificate(reader, ca, dir);
    let auth = match method {
        Method::None => Auth::None,
        Method::Tls => Auth::Tls { ca },
        Method::Scram => Auth::Scram {
            mechanism: mechanism.or(ScramMechanism::Sha512),
            username: needed(reader, &section, "username", username),
            password: Secret(needed(reader, &section, "password", password)),
            tls: tls.or(true),
            ca,
        },
        Method::MskIam => Auth::MskIam { region: region.filled(), role_arn: role_arn.filled() },
    };
    reader.close(section);
    Some(auth)
}

fn useless<T>(reader: &mut Reader<'_>, found: &Found<T>, key: &str, uses: &[Method], method: Method) {
    if let Found::Is(_, span) = found
        && !uses.contains(&method)
    {
        let name = |wanted: &Method| METHODS.iter().find(|(_, m)| m == wanted).map_or("", |(name, _)| *name);
        let right: Vec<String> = uses.iter().map(|method| format!("method = \"{}\"", name(method))).collect();
        reader.wrong(
            span.clone(),
            format!("`kafka.auth.{key}` has no use with method = \"{}\"", name(&method)),
            format!("leave it out, or set {}", right.join(" or ")),
        );
    }
}

fn certificate(reader: &mut Reader<'_>, ca: Found<String>, dir: &Path) -> Option<PathBuf> {
    let Found::Is(text, span) = ca else { return None };
    if text.is_empty() {
        return None;
    }
    let path = dir.join(text);
    if !path.is_file() {
        reader.wrong(
            span,
            format!("there is no file {}", path.display()),
            "name a PEM file; a relative path starts at the pipeline's directory",
        );
    }
    Some(path)
}

fn needed(reader: &mut Reader<'_>, section: &Section<'_>, key: &str, found: Found<String>) -> String {
    match found {
        Found::Is(text, span) => {
            if text.is_empty() {
                reader.wrong(span, format!("`kafka.auth.{key}` is empty"), "SCRAM needs it");
            }
            text
        }
        Found::Absent => {
            let variable = format!("KAFKA_{}", key.to_uppercase());
            reader.missing(section, key, format!("under [kafka.auth]: {key} = \"${{{variable}}}\""));
            String::new()
        }
        Found::Faulty => String::new(),
    }
}
