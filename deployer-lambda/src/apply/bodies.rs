//! Bodies: the templates' answer to what a call's body is.
//!
//! Order: what is registered or created must be the release that the record names; the templates may have changed
//! since it was picked. The service is pointed at older revisions with today's settings: there are no others.
//! Neighbours: apply and render.

use serde_json::Value;

use super::{Bodies, BodyError};
use crate::journal::Record;
use crate::release::RevisionArn;
use crate::render::{
    Rendered, Templates, create_body, delete_body, mirror_tags, own_rollback_body, register_body, render,
    scale_body, update_body,
};

/// Bodies from the function's own templates.
#[derive(Clone, Debug)]
pub struct Templated {
    pub templates: Templates,
}

impl Templated {
    fn rendered(&self, record: &Record) -> Result<Rendered, BodyError> {
        render(&self.templates, &record.digest).map_err(|error| BodyError::Render(Box::new(error)))
    }

    fn same(&self, record: &Record) -> Result<Rendered, BodyError> {
        let rendered = self.rendered(record)?;
        if rendered.release != record.release {
            let (made, wanted) = (rendered.release, record.release.clone());
            return Err(BodyError::OtherRelease { made, wanted });
        }
        Ok(rendered)
    }
}

impl Bodies for Templated {
    fn register(&self, record: &Record) -> Result<Value, BodyError> {
        Ok(register_body(&self.same(record)?, &mirror_tags(record)))
    }

    fn create(&self, record: &Record, revision: &RevisionArn) -> Result<Value, BodyError> {
        // A release that is picked again, because its service is gone, is another request.
        let client_token = format!("{}-{:x}", record.release, record.picked_at.0);
        Ok(create_body(&self.same(record)?, revision, &client_token, &mirror_tags(record)))
    }

    fn update(
        &self,
        record: &Record,
        revision: &RevisionArn,
        own_rollback: bool,
        force: bool,
    ) -> Result<Value, BodyError> {
        Ok(update_body(&self.rendered(record)?, revision, own_rollback, force))
    }

    fn own_rollback(&self, on: bool) -> Result<Value, BodyError> {
        Ok(own_rollback_body(&self.templates.service, on))
    }

    fn scale(&self, desired: u32) -> Result<Value, BodyError> {
        Ok(scale_body(&self.templates.service, desired))
    }

    fn delete(&self) -> Value {
        delete_body(&self.templates.service)
    }

    fn mirror(&self, record: &Record) -> Vec<(String, String)> {
        mirror_tags(record)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::release::{Digest, Moment, ReleaseId};

    fn templated(memory: u32) -> Templated {
        let container = json!({"name": "worker", "image": "${IMAGE}", "memory": memory});
        Templated {
            templates: Templates {
                task_definition: json!({"family": "shop-worker", "containerDefinitions": [container]}),
                service: json!({"cluster": "main", "serviceName": "shop", "desiredCount": 1}),
                fills: BTreeMap::new(),
                repository_uri: "r".to_owned(),
            },
        }
    }

    #[test]
    fn what_is_registered_is_the_release_that_was_picked_or_nothing() {
        let digest = Digest::from("sha256:aa");
        let picked = render(&templated(512).templates, &digest).unwrap().release;
        let record = Record::of(picked.clone(), digest, Moment(0));
        let body = templated(512).register(&record).unwrap();
        assert_eq!(body["containerDefinitions"][0]["image"], "r@sha256:aa");
        let tag = json!({"key": "landfall:release", "value": picked});
        assert!(body["tags"].as_array().unwrap().contains(&tag), "{body}");

        let error = templated(1024).register(&record).unwrap_err();
        assert!(matches!(error, BodyError::OtherRelease { wanted, .. } if wanted == picked));
        let revision = RevisionArn::from("shop-worker:7");
        assert!(templated(1024).create(&record, &revision).is_err());
        // An older release is gone back to with today's settings.
        let older = Record::of(ReleaseId::from("feedfeedfeedfeed"), "sha256:bb".into(), Moment(0));
        let body = templated(1024).update(&older, &revision, false, false).unwrap();
        assert_eq!((&body["taskDefinition"], &body["desiredCount"]), (&json!("shop-worker:7"), &Value::Null));
    }
}
