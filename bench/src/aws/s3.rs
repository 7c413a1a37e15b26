//! S3: objects in memory, with conditional writes.

use std::collections::BTreeMap;

use super::http::{Answer, Request};

#[derive(Debug, Default)]
pub struct S3 {
    objects: BTreeMap<String, (Vec<u8>, String)>,
    writes: u64,
}

impl S3 {
    /// `/bucket/key`, or `/bucket?list-type=2`.
    pub fn answer(&mut self, request: &Request) -> Answer {
        let path = request.path.trim_start_matches('/');
        let key = path.split_once('/').map_or("", |(_, key)| key);
        match request.method.as_str() {
            "GET" if key.is_empty() => self.list(&request.query),
            "GET" => match self.objects.get(key) {
                Some((body, tag)) => {
                    let mut answer = Answer::new(200, "application/json", body.clone());
                    answer.headers.push(("etag", tag.clone()));
                    answer
                }
                None => fault(404, "NoSuchKey"),
            },
            "PUT" => self.put(key, request),
            _ => fault(501, "NotImplemented"),
        }
    }

    pub fn object(&self, key: &str) -> Option<&[u8]> {
        self.objects.get(key).map(|(body, _)| body.as_slice())
    }

    fn put(&mut self, key: &str, request: &Request) -> Answer {
        let there = self.objects.get(key).map(|(_, tag)| tag.as_str());
        let (only_new, only_over) = (request.header("if-none-match"), request.header("if-match"));
        if only_new == "*" && there.is_some() {
            return fault(412, "PreconditionFailed");
        }
        match there {
            None if !only_over.is_empty() => return fault(404, "NoSuchKey"),
            Some(tag) if !only_over.is_empty() && only_over != tag => {
                return fault(412, "PreconditionFailed");
            }
            Some(_) | None => {}
        }
        self.writes += 1;
        let tag = format!("\"{:032x}\"", self.writes);
        self.objects.insert(key.to_owned(), (request.body.clone(), tag.clone()));
        let mut answer = Answer::new(200, "application/xml", "");
        answer.headers.push(("etag", tag));
        answer
    }

    fn list(&self, query: &str) -> Answer {
        let value = |name: &str| {
            let pair = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            pair.unwrap_or_default().replace("%2F", "/")
        };
        let prefix = value("prefix");
        let most: usize = value("max-keys").parse().unwrap_or(1000);
        let found = self.objects.iter().filter(|(key, _)| key.starts_with(&prefix)).take(most);
        let contents: String = found
            .map(|(key, (body, tag))| {
                let (size, tag) = (body.len(), tag.replace('"', "&quot;"));
                format!(
                    "<Contents><Key>{key}</Key><Size>{size}</Size><ETag>{tag}</ETag>\
                     <LastModified>2026-11-22T07:00:00.000Z</LastModified></Contents>"
                )
            })
            .collect();
        let listed =
            format!("<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>");
        Answer::new(200, "application/xml", listed)
    }
}

/// As S3 says it.
pub fn fault(status: u16, code: &str) -> Answer {
    Answer::new(
        status,
        "application/xml",
        format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>"),
    )
}
