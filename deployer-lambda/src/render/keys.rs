//! Keys: whether AWS knows what a request's body holds, by lists made from its published model (`keys/make.py`).
//!
//! What AWS does not know it may drop without a word; here it is refused, with what was meant.
//! Neighbours: load. Pure.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use super::places::below;
use crate::fault::{did_you_mean, nearest, shown};

/// One request's keys, by path: `containerDefinitions[].options{}`.
pub struct List {
    /// `RegisterTaskDefinition`.
    pub operation: &'static str,
    rows: BTreeMap<&'static str, Row>,
}

struct Row {
    kind: &'static str,
    is_required: bool,
    /// Empty: any.
    values: Vec<&'static str>,
}

pub static REGISTER_TASK_DEFINITION: LazyLock<List> = LazyLock::new(|| {
    List::read("RegisterTaskDefinition", include_str!("../../keys/register-task-definition.txt"))
});
pub static CREATE_SERVICE: LazyLock<List> =
    LazyLock::new(|| List::read("CreateService", include_str!("../../keys/create-service.txt")));
pub static UPDATE_SERVICE: LazyLock<List> =
    LazyLock::new(|| List::read("UpdateService", include_str!("../../keys/update-service.txt")));

/// Something that AWS would refuse or drop.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wrong {
    /// `containerDefinitions[0].memory`.
    pub path: String,
    /// It is the key that is wrong, not its value.
    pub is_key: bool,
    pub wrong: String,
    pub right: String,
}

impl Wrong {
    pub fn value(path: impl Into<String>, wrong: impl Into<String>, right: impl Into<String>) -> Wrong {
        Wrong { path: path.into(), is_key: false, wrong: wrong.into(), right: right.into() }
    }
}

impl List {
    fn read(operation: &'static str, text: &'static str) -> List {
        let row = |line: &'static str| {
            let mut words = line.split(' ');
            let (path, kind) = (words.next()?, words.next()?);
            let (mut is_required, mut values) = (false, Vec::new());
            for word in words {
                match word {
                    "required" => is_required = true,
                    _ => values = word.split('|').collect(),
                }
            }
            Some((path, Row { kind, is_required, values }))
        };
        List { operation, rows: text.lines().filter(|line| !line.starts_with('#')).filter_map(row).collect() }
    }

    /// Whether the request has this key at its top.
    pub fn has(&self, key: &str) -> bool {
        self.rows.contains_key(key)
    }

    /// All that is wrong with a body.
    pub fn check(&self, body: &Value) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        match body {
            Value::Object(_) => self.object("", "", body, &mut wrong),
            other => {
                wrong.push(Wrong::value("", format!("this is {}", kind_of(other)), "write an object: `{…}`"))
            }
        }
        wrong
    }

    fn object(&self, pattern: &str, path: &str, value: &Value, wrong: &mut Vec<Wrong>) {
        let Some(map) = value.as_object() else { return };
        for (key, value) in map {
            let (inner_pattern, inner) = (below(pattern, key), below(path, key));
            if self.rows.contains_key(&*inner_pattern) {
                self.value(&inner_pattern, &inner, value, wrong);
            } else {
                wrong.push(Wrong {
                    wrong: format!("`{inner}` is no key of {}", self.operation),
                    right: did_you_mean(key, self.below(pattern).map(|(key, _)| key)),
                    path: inner,
                    is_key: true,
                });
            }
        }
        for (key, _) in self.below(pattern).filter(|(key, row)| row.is_required && !map.contains_key(*key)) {
            let text = format!("`{}` is missing", below(path, key));
            wrong.push(Wrong::value(path, text, format!("{} requires it", self.operation)));
        }
    }

    fn value(&self, pattern: &str, path: &str, value: &Value, wrong: &mut Vec<Wrong>) {
        let Some(row) = self.rows.get(pattern) else { return };
        let fits = match row.kind {
            "object" | "map" => value.is_object(),
            "list" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            // A document: whatever one likes.
            _ => true,
        };
        if !fits {
            let right = match row.kind {
                "integer" => {
                    "write a whole number without quotes; a hole gives one as \"${NAME#}\"".to_owned()
                }
                "list" => "write a list: `[…]`; a hole gives one as \"${NAME[]}\"".to_owned(),
                kind => format!("{} takes {kind}", self.operation),
            };
            wrong.push(Wrong::value(path, format!("`{path}` is {}", kind_of(value)), right));
            return;
        }
        match (row.kind, value) {
            ("object", _) => self.object(pattern, path, value, wrong),
            ("list", Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.value(&format!("{pattern}[]"), &format!("{path}[{index}]"), item, wrong);
                }
            }
            ("map", Value::Object(map)) => {
                for (key, value) in map {
                    self.value(&format!("{pattern}{{}}"), &below(path, key), value, wrong);
                }
            }
            (_, Value::String(text)) if !row.values.is_empty() && !row.values.contains(&text.as_str()) => {
                let right = match nearest(text, row.values.iter().copied()) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => format!("write one of {}", row.values.join(", ")),
                };
                wrong.push(Wrong::value(path, format!("`{path}` is {}", shown(text)), right));
            }
            _ => {}
        }
    }

    /// The keys right below a path.
    fn below<'l>(&'l self, pattern: &'l str) -> impl Iterator<Item = (&'static str, &'l Row)> + Clone {
        self.rows.iter().filter_map(move |(path, row)| {
            let key = match pattern {
                "" => *path,
                _ => path.strip_prefix(pattern)?.strip_prefix('.')?,
            };
            (!key.contains(['.', '[', '{'])).then_some((key, row))
        })
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(list: &List, body: Value) -> Vec<String> {
        list.check(&body).into_iter().map(|wrong| format!("{}; {}", wrong.wrong, wrong.right)).collect()
    }

    #[test]
    fn the_lists_are_read_whole() {
        for list in [&*REGISTER_TASK_DEFINITION, &*CREATE_SERVICE, &*UPDATE_SERVICE] {
            assert!(list.rows.len() > 150, "{}", list.operation);
            for (path, row) in &list.rows {
                let known = ["object", "map", "list", "string", "boolean", "integer", "number", "document"];
                assert!(known.contains(&row.kind), "{path} {}", row.kind);
                // What is above a key is there too.
                if let Some((above, _)) = path.rsplit_once('.') {
                    assert!(list.rows.contains_key(above), "{path}");
                }
            }
        }
        assert!(REGISTER_TASK_DEFINITION.rows["family"].is_required);
        assert!(CREATE_SERVICE.has("desiredCount") && !UPDATE_SERVICE.has("launchType"));
    }

    #[test]
    fn what_aws_gained_in_july_2026_is_known() {
        let breaker = json!({"serviceName": "s", "deploymentConfiguration": {"deploymentCircuitBreaker": {
            "enable": true, "rollback": true, "resetOnHealthyTask": false,
            "thresholdConfiguration": {"type": "COUNT", "value": 2}}}});
        assert_eq!(told(&CREATE_SERVICE, breaker), Vec::<String>::new());
    }

    #[test]
    fn an_unknown_key_at_any_depth_is_refused_with_what_was_meant() {
        let body = json!({"family": "f", "containerDefinitions": [{"healthcheck": {}, "healthCheck": {
            "command": [], "retrys": 3}}], "nonsense": 1});
        let told = told(&REGISTER_TASK_DEFINITION, body);
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!(
            told[0],
            "`containerDefinitions[0].healthCheck.retrys` is no key of RegisterTaskDefinition; did you mean `retries`?"
        );
        assert!(told[1].ends_with("did you mean `healthCheck`?"), "{told:?}");
        assert!(told[2].starts_with("`nonsense` is no key") && told[2].contains("known here: `containerDef"));
    }

    #[test]
    fn maps_take_any_key_and_documents_anything() {
        let body = json!({"family": "f", "containerDefinitions": [
            {"dockerLabels": {"any": "x"}, "logConfiguration": {"logDriver": "awslogs", "options": {"mode": 1}}}]});
        assert_eq!(
            told(&REGISTER_TASK_DEFINITION, body),
            [
                "`containerDefinitions[0].logConfiguration.options.mode` is a number; RegisterTaskDefinition takes string"
            ]
        );
        let body = json!({"serviceName": "s", "deploymentConfiguration": {"lifecycleHooks": [
            {"hookDetails": {"any": [1, {"x": null}]}}]}});
        assert_eq!(told(&CREATE_SERVICE, body), Vec::<String>::new());
    }

    #[test]
    fn wrong_types_values_and_missing_keys_are_told() {
        let body = json!({"launchType": "FARGAT", "desiredCount": "1", "networkConfiguration": {
            "awsvpcConfiguration": {"assignPublicIp": "DISABLED"}}, "enableExecuteCommand": null});
        let told = told(&CREATE_SERVICE, body);
        assert_eq!(
            told,
            [
                "`desiredCount` is a string; write a whole number without quotes; a hole gives one as \"${NAME#}\"",
                "`enableExecuteCommand` is null; CreateService takes boolean",
                "`launchType` is \"FARGAT\"; did you mean \"FARGATE\"?",
                "`networkConfiguration.awsvpcConfiguration.subnets` is missing; CreateService requires it",
                "`serviceName` is missing; CreateService requires it",
            ]
        );
        assert_eq!(told_whole(), "this is a list");
        fn told_whole() -> String {
            CREATE_SERVICE.check(&json!([]))[0].wrong.clone()
        }
    }
}
