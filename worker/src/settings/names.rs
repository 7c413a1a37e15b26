//! Names that others rule over: Kafka's topics and groups, addresses, output paths.
//!
//! Each function answers with what is wrong and what would be right.
//! Neighbours: load. Pure.

use super::Auth;

type Verdict = Result<(), (String, String)>;

fn wrong(wrong: impl Into<String>, right: impl Into<String>) -> Verdict {
    Err((wrong.into(), right.into()))
}

/// The pipeline's name: a metrics dimension, a consumer group, a label.
pub(super) fn pipeline(name: &str) -> Verdict {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 128 || !name.chars().all(fits) {
        return wrong(
            format!("{} cannot name a pipeline", super::reader::shown(name)),
            "use 1 to 128 ASCII letters, digits, `-`, `_`, `.`",
        );
    }
    Ok(())
}

/// Kafka's own rule. Source: org.apache.kafka.common.internals.Topic.
pub(super) fn topic(name: &str) -> Verdict {
    let quoted = super::reader::shown(name);
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.contains(',') {
        return wrong(format!("{quoted} is more than one topic"), "write each as an item: [\"a\", \"b\"]");
    }
    if name.starts_with('^') || name.contains('*') {
        return wrong(format!("{quoted} is a pattern"), "name each topic in full");
    }
    if name.is_empty() || name.len() > 249 || name == "." || name == ".." || !name.chars().all(fits) {
        return wrong(
            format!("{quoted} cannot name a topic"),
            "Kafka takes 1 to 249 ASCII letters, digits, `.`, `_`, `-`",
        );
    }
    Ok(())
}

/// MSK publishes no lag for a group whose name has a `:` or is not ASCII.
pub(super) fn group(name: &str) -> Verdict {
    if name.is_empty()
        || name.len() > 255
        || name.contains(':')
        || !name.chars().all(|c| c.is_ascii_graphic())
    {
        return wrong(
            format!("{} cannot name a consumer group", super::reader::shown(name)),
            "use 1 to 255 ASCII characters without `:` and spaces: for any other, MSK publishes no lag",
        );
    }
    Ok(())
}

/// `host:port`, comma-separated.
pub(super) fn bootstrap(servers: &str) -> Verdict {
    let example =
        "write `host:port`, more of them with commas: \"b-1.example.com:9098,b-2.example.com:9098\"";
    if servers.trim().is_empty() {
        return wrong("`kafka.bootstrap` is empty", example);
    }
    for server in servers.split(',').map(str::trim) {
        let quoted = super::reader::shown(server);
        if let Some((scheme, rest)) = server.split_once("://") {
            return wrong(
                format!("{quoted} has a scheme, `{scheme}://`"),
                format!("leave it out: \"{rest}\""),
            );
        }
        let Some((host, port)) = server.rsplit_once(':') else {
            return wrong(format!("{quoted} has no port"), example);
        };
        let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host_reads = match in_brackets {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty()
                    && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
            }
        };
        if !host_reads {
            return wrong(format!("{quoted} has no host that reads"), example);
        }
        if !port.bytes().all(|b| b.is_ascii_digit()) || port.parse::<u16>().map_or(true, |port| port == 0) {
            return wrong(format!("{quoted} has no port from 1 to 65535"), example);
        }
    }
    Ok(())
}

/// On MSK each port speaks one way of authentication; the wrong pair only times out, without a word.
/// Source: Amazon MSK Developer Guide, "Port information".
pub(super) fn msk_port(servers: &str, auth: &Auth) -> Verdict {
    for server in servers.split(',').map(str::trim) {
        let Some((host, port)) = server.rsplit_once(':') else { continue };
        if !(host.contains(".kafka") && host.contains(".amazonaws.com")) {
            continue;
        }
        let (speaks, fits) = match port {
            "9092" => ("plain text", matches!(auth, Auth::None)),
            "9094" | "9194" => ("TLS", matches!(auth, Auth::Tls { .. })),
            "9096" | "9196" => ("SASL/SCRAM", matches!(auth, Auth::Scram { tls: true, .. })),
            "9098" | "9198" => ("IAM", matches!(auth, Auth::MskIam { .. })),
            _ => continue,
        };
        if !fits {
            return wrong(
                format!("port {port} of MSK speaks {speaks}, which `kafka.auth` does not"),
                "MSK's ports: 9092 none, 9094 tls, 9096 scram with tls, 9098 msk-iam (9194, 9196, 9198 in public)",
            );
        }
    }
    Ok(())
}

/// `s3://bucket/prefix` or `file:///directory`.
pub(super) fn output_path(path: &str) -> Verdict {
    let quoted = super::reader::shown(path);
    let example = "write \"s3://bucket/prefix\" or \"file:///directory\"";
    if let Some(rest) = path.strip_prefix("s3a://").or_else(|| path.strip_prefix("s3n://")) {
        return wrong(format!("{quoted} has Hadoop's scheme"), format!("write \"s3://{rest}\""));
    }
    if let Some(rest) = path.strip_prefix("s3://") {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if bucket.len() < 3 || bucket.len() > 255 || !bucket.chars().all(fits) {
            return wrong(format!("{quoted} names no bucket"), example);
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if !prefix.is_empty() && prefix.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return wrong(format!("{quoted} has an empty, `.` or `..` part"), example);
        }
        if prefix.len() > 700 || prefix.chars().any(char::is_control) {
            return wrong(
                format!("{quoted} is no prefix for keys"),
                "use at most 700 bytes, no control characters",
            );
        }
        return as_the_store_reads(path, &quoted, example);
    }
    if let Some(rest) = path.strip_prefix("file://") {
        if !rest.starts_with('/') {
            return wrong(
                format!("{quoted} is not absolute"),
                "write three slashes and the whole path: \"file:///…\"",
            );
        }
        return as_the_store_reads(path, &quoted, example);
    }
    wrong(format!("{quoted} is neither s3:// nor file://"), example)
}

/// The store opens fewer URLs than look right: told here, with the place.
fn as_the_store_reads(path: &str, quoted: &str, example: &str) -> Verdict {
    match ledger::store::open::check_url(path) {
        Ok(()) => Ok(()),
        Err(why) => wrong(format!("{quoted} opens no store: {why}"), example),
    }
}

pub(super) fn endpoint(url: &str) -> Verdict {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/') || rest.contains(char::is_whitespace))
    {
        return wrong(
            format!("{} is no URL of a server", super::reader::shown(url)),
            "write \"http://host:port\" or \"https://host\"",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_names_that_msk_is_blind_to_are_refused() {
        assert!(group("shop-events").is_ok());
        for name in ["", "a:b", "gruppe-ü", "a b", &"x".repeat(256)] {
            assert!(group(name).is_err(), "{name}");
        }
    }

    #[test]
    fn topic_names_follow_kafkas_rule() {
        assert!(topic("shop-events_v1.2").is_ok());
        for name in ["", ".", "..", "a/b", "^shop-.*", "a,b", "ü", &"x".repeat(250)] {
            assert!(topic(name).is_err(), "{name}");
        }
    }

    #[test]
    fn bootstrap_servers_are_hosts_with_ports() {
        for servers in ["localhost:9092", "b-1.x.kafka.us-east-1.amazonaws.com:9098, b-2:9098", "[::1]:9092"]
        {
            assert!(bootstrap(servers).is_ok(), "{servers}");
        }
        for servers in
            ["", "localhost", "a:0", "a:70000", "a:+1", "kafka://a:1", "a:9092,", "::1:9092", "a b:1"]
        {
            assert!(bootstrap(servers).is_err(), "{servers}");
        }
    }

    #[test]
    fn an_msk_port_that_speaks_another_way_is_told() {
        let iam = Auth::MskIam { region: None, role_arn: None };
        let host = "b-1.x.abc.c2.kafka.us-east-1.amazonaws.com";
        assert!(msk_port(&format!("{host}:9098"), &iam).is_ok());
        assert!(msk_port(&format!("{host}:9092"), &iam).is_err());
        assert!(msk_port(&format!("{host}:9098"), &Auth::None).is_err());
        assert!(msk_port(&format!("{host}:14001"), &iam).is_ok());
        assert!(msk_port("kafka.internal:9092", &iam).is_ok());
    }

    #[test]
    fn output_paths_are_s3_or_file() {
        for path in ["s3://bucket", "s3://bucket/", "s3://bucket/a/b/", "file:///tmp/out"] {
            assert!(output_path(path).is_ok(), "{path}");
        }
        for path in [
            "",
            "bucket/a",
            "s3://",
            "s3:///a",
            "s3://b/a//c",
            "s3://bkt/../x",
            "file://out",
            "s3a://bucket/x",
        ] {
            assert!(output_path(path).is_err(), "{path}");
        }
    }

    #[test]
    fn endpoints_are_urls() {
        assert!(endpoint("http://127.0.0.1:9000").is_ok());
        for url in ["", "127.0.0.1:9000", "http://", "http:// x"] {
            assert!(endpoint(url).is_err(), "{url}");
        }
    }
}
