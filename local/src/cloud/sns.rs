//! Sns: Publish, by the query protocol. What is published is kept, and shown.
//!
//! Neighbours: mod keeps the notices. Source: *Amazon SNS API Reference*, "Publish".

use std::collections::BTreeMap;

/// What a person would get by mail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    pub topic: String,
    pub subject: String,
    pub text: String,
}

/// Reads a request. The error is the message; its code is `InvalidParameter` or `InvalidAction`.
pub fn read(body: &[u8]) -> Result<Notice, String> {
    let mut fields = form(body);
    let action = fields.remove("Action").unwrap_or_default();
    if action != "Publish" {
        return Err(format!("This model of SNS has no `{action}`."));
    }
    let mut take = |name: &str| fields.remove(name).filter(|value| !value.is_empty());
    let topic = take("TopicArn").ok_or("Invalid parameter: TopicArn")?;
    let subject = take("Subject").unwrap_or_default();
    if subject.len() >= 100 || !subject.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err("Invalid parameter: Subject".to_owned());
    }
    let text = take("Message").ok_or("Invalid parameter: Empty message")?;
    Ok(Notice { topic, subject, text })
}

pub fn answer(id: &str) -> String {
    format!(
        "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult><MessageId>{id}</MessageId>\
         </PublishResult><ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata></PublishResponse>"
    )
}

pub fn error(message: &str) -> String {
    let plain = message.replace('&', "&amp;").replace('<', "&lt;");
    format!(
        "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error><Type>Sender</Type>\
         <Code>InvalidParameter</Code><Message>{plain}</Message></Error></ErrorResponse>"
    )
}

/// `application/x-www-form-urlencoded`.
fn form(body: &[u8]) -> BTreeMap<String, String> {
    let pairs = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            (plain(&pair[..at]), plain(pair.get(at + 1..).unwrap_or_default()))
        })
        .collect()
}

fn plain(encoded: &[u8]) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut at = 0;
    while at < encoded.len() {
        let decoded = match (encoded[at], digit(encoded.get(at + 1)), digit(encoded.get(at + 2))) {
            (b'%', Some(high), Some(low)) => u8::try_from(high * 16 + low).ok(),
            _ => None,
        };
        match (decoded, encoded[at]) {
            (Some(byte), _) => {
                bytes.push(byte);
                at += 2;
            }
            (None, b'+') => bytes.push(b' '),
            (None, byte) => bytes.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_read_as_it_was_written() {
        let body = b"Action=Publish&TopicArn=arn%3Aaws%3Asns&Subject=shop%3A+v1+%3E+v2&Message=a%26b%0A100%25+%C3%A4";
        let notice = read(body).unwrap();
        assert_eq!((notice.topic.as_str(), notice.subject.as_str()), ("arn:aws:sns", "shop: v1 > v2"));
        assert_eq!(notice.text, "a&b\n100% ä");
    }

    #[test]
    fn what_sns_refuses_is_refused() {
        for body in [
            &b"Action=Subscribe"[..],
            b"Action=Publish&TopicArn=a",
            b"Action=Publish&Message=m",
            b"Action=Publish&TopicArn=a&Message=m&Subject=%C3%A4",
            b"",
        ] {
            assert!(read(body).is_err(), "{}", String::from_utf8_lossy(body));
        }
    }
}
