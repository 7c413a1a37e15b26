//! Needs: whether roles, secrets, parameters and log groups are there. Nobody's value is read.
//!
//! Order: "not there" is only what the service itself says; whatever else it says is an error with its cause.
//! Neighbours: aws. Only `verify` asks.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::error::code_of;
use super::plain::{Service, percent_decoded, xml_text};
use super::{Aws, Call};
use crate::observe::needs::{Role, Secret};
use crate::observe::ports::{CallError, CallFault, Needs};

const LOGS: Service = Service { id: "CloudWatch Logs", target: "Logs_20140328" };
const SECRETS: Service = Service { id: "Secrets Manager", target: "secretsmanager" };
const SSM: Service = Service { id: "SSM", target: "AmazonSSM" };
const IAM_VERSION: &str = "2010-05-08";

/// A filtered list may come in empty pages with more behind them. Source: "DescribeParameters".
const PAGES_MAX: usize = 10;

#[async_trait]
impl Needs for Aws {
    async fn role(&self, name: &str) -> Result<Option<Role>, CallError> {
        let asked = [("RoleName", name)];
        let answer = self.plain.query(Call::GetRole, IAM_VERSION, name, &asked).await;
        let Some(xml) = unless_absent(answer, "NoSuchEntity")? else { return Ok(None) };
        let odd =
            |what: &str| Call::GetRole.odd(name, CallFault::Unknown, format!("the answer has no {what}"));
        let told = |field: &str| xml_text(&xml, &["GetRoleResult", "Role", field]);
        let arn = told("Arn").ok_or_else(|| odd("Arn"))?;
        let policy = told("AssumeRolePolicyDocument").and_then(|text| percent_decoded(&text));
        let policy = policy.and_then(|text| serde_json::from_str(&text).ok());
        Ok(Some(Role { arn, trust: policy.ok_or_else(|| odd("AssumeRolePolicyDocument that is JSON"))? }))
    }

    async fn secret(&self, id: &str, region: Option<&str>) -> Result<Option<Secret>, CallError> {
        let region = self.region_of(Call::DescribeSecret, id, region)?;
        let asked = json!({ "SecretId": id });
        let answer = self.plain.json(Call::DescribeSecret, SECRETS, region, id, &asked).await;
        let Some(found) = unless_absent(answer, "ResourceNotFoundException")? else { return Ok(None) };
        let versions = found.get("VersionIdsToStages").and_then(Value::as_object).into_iter().flatten();
        let stages = |stages: &Value| {
            let stages = stages.as_array().into_iter().flatten();
            stages.filter_map(|stage| stage.as_str().map(str::to_owned)).collect()
        };
        let versions: BTreeMap<_, _> = versions.map(|(id, told)| (id.clone(), stages(told))).collect();
        let deleted = found.get("DeletedDate").is_some_and(|date| !date.is_null());
        Ok(Some(Secret { deleted, versions }))
    }

    async fn parameter(&self, names: &[String], region: Option<&str>) -> Result<bool, CallError> {
        let object = names.first().map_or("", String::as_str);
        let region = self.region_of(Call::DescribeParameters, object, region)?;
        let mut asked =
            json!({ "ParameterFilters": [{ "Key": "Name", "Option": "Equals", "Values": names }] });
        for _ in 0..PAGES_MAX {
            let answer = self.plain.json(Call::DescribeParameters, SSM, region, object, &asked).await?;
            let found = answer.get("Parameters").and_then(Value::as_array);
            let odd = |what| Call::DescribeParameters.odd(object, CallFault::Unknown, what);
            let found = found.ok_or_else(|| odd("the answer has no Parameters"))?;
            let is_named = |found: &Value| names.iter().any(|name| found["Name"] == name.as_str());
            if found.iter().any(is_named) {
                return Ok(true);
            }
            match answer.get("NextToken").and_then(Value::as_str).filter(|token| !token.is_empty()) {
                Some(token) => asked["NextToken"] = token.into(),
                None => return Ok(false),
            }
        }
        let more = format!("there is more after {PAGES_MAX} pages without it");
        Err(Call::DescribeParameters.odd(object, CallFault::Unknown, more))
    }

    async fn log_group(&self, name: &str, region: Option<&str>) -> Result<bool, CallError> {
        let region = self.region_of(Call::DescribeLogGroups, name, region)?;
        let asked = json!({ "logGroupNamePrefix": name });
        let answer = self.plain.json(Call::DescribeLogGroups, LOGS, region, name, &asked).await?;
        // Sorted by name, and none with this prefix sorts before the prefix itself: one page tells.
        let found = answer.get("logGroups").and_then(Value::as_array);
        let odd = || Call::DescribeLogGroups.odd(name, CallFault::Unknown, "the answer has no logGroups");
        Ok(found.ok_or_else(odd)?.iter().any(|group| group["logGroupName"] == name))
    }
}

impl Aws {
    /// The one that was named, else the deployer's.
    pub(super) fn region_of<'r>(
        &'r self,
        call: Call,
        object: &str,
        named: Option<&'r str>,
    ) -> Result<&'r str, CallError> {
        let no_region = || call.odd(object, CallFault::Refused, "no region is set: set AWS_REGION");
        named.or_else(|| self.plain.region()).ok_or_else(no_region)
    }
}

/// None where the service answered by this code that there is no such thing.
fn unless_absent<T>(answer: Result<T, CallError>, code: &str) -> Result<Option<T>, CallError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if code_of(&error) == Some(code) => Ok(None),
        Err(error) => Err(error),
    }
}
