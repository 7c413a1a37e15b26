//! Calls about task definitions, and about tags.

use serde_json::{Value, json};

use super::{includes_tags, page, text};
use crate::ecs::error::EcsError;
use crate::ecs::ids::DefinitionId;
use crate::ecs::model::Ms;
use crate::ecs::tags::{self, Tags};
use crate::ecs::{Answer, Ecs, definition};

impl Ecs {
    pub fn register_task_definition(&mut self, request: &Value, now: Ms) -> Answer {
        let arn_head = self.config.arn_head();
        let id = self.definitions.register(request, &arn_head, now)?;
        self.touch(now);
        Ok(self.definition_answer(id, true))
    }

    pub fn deregister_task_definition(&mut self, request: &Value) -> Answer {
        let id = self.find_definition(request)?;
        self.definitions.deregister(id);
        Ok(self.definition_answer(id, false))
    }

    pub fn describe_task_definition(&self, request: &Value) -> Answer {
        let id = self.find_definition(request)?;
        Ok(self.definition_answer(id, includes_tags(request)))
    }

    /// ARNs, by family and revision; `sort` DESC turns that round; `status` is ACTIVE if not said.
    pub fn list_task_definitions(&self, request: &Value) -> Answer {
        let word = |key: &str| request.get(key).and_then(Value::as_str);
        let active = match word("status") {
            None | Some("ACTIVE") => true,
            Some("INACTIVE") => false,
            Some(other) => return Err(EcsError::InvalidParameter(format!("Invalid status {other}."))),
        };
        let mut arns = self.definitions.list(word("familyPrefix").unwrap_or_default(), active);
        if word("sort") == Some("DESC") {
            arns.reverse();
        }
        page(request, "taskDefinitionArns", arns)
    }

    pub fn tag_resource(&mut self, request: &Value) -> Answer {
        let more = tags::parse(request.get("tags"))?;
        tags::add(self.tags_of(request)?, more)?;
        Ok(json!({}))
    }

    pub fn untag_resource(&mut self, request: &Value) -> Answer {
        let keys = super::texts(request, "tagKeys", 50)?;
        let tags = self.tags_of(request)?;
        for key in keys {
            tags.remove(key);
        }
        Ok(json!({}))
    }

    pub fn list_tags_for_resource(&mut self, request: &Value) -> Answer {
        Ok(json!({ "tags": tags::view(self.tags_of(request)?) }))
    }

    /// Of a service or a task definition, by ARN.
    fn tags_of(&mut self, request: &Value) -> Result<&mut Tags, EcsError> {
        let arn = text(request, "resourceArn")?;
        let wrong =
            || EcsError::InvalidParameter(format!("The specified resource {arn} is not one that has tags."));
        if !arn.starts_with("arn:") {
            return Err(wrong());
        }
        if let Some(at) = self.service_at(arn) {
            return Ok(&mut self.services[at].tags);
        }
        let id = self.definitions.find(arn).ok_or_else(wrong)?;
        Ok(self.definitions.tags_mut(id))
    }

    fn find_definition(&self, request: &Value) -> Result<DefinitionId, EcsError> {
        let name = text(request, "taskDefinition")?;
        self.definitions
            .find(name)
            .ok_or_else(|| EcsError::Client("Unable to describe task definition.".into()))
    }

    fn definition_answer(&self, id: DefinitionId, with_tags: bool) -> Value {
        let it = self.definitions.get(id);
        let mut answer =
            json!({ "taskDefinition": definition::view(it, self.config.variants.defaults_filled) });
        if with_tags {
            answer["tags"] = tags::view(&it.tags);
        }
        answer
    }
}
