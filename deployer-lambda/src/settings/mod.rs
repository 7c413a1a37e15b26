//! Settings: the Lambda's environment, and with it the files in `taskdefs/`, read once and checked.
//!
//! Order: everything is read, then everything that is wrong is told at once.
//! Neighbours: policy and render read their files; main and aws are told whose pipeline this is.
//!
//! | variable | what |
//! |---|---|
//! | `ACCOUNT` | the AWS account, 12 digits |
//! | `AWS_REGION` | set by Lambda |
//! | `PIPELINE` | the pipeline's name: the metrics' dimension |
//! | `CLUSTER`, `SERVICE` | the ECS service that is looked after, by names |
//! | `REPOSITORY` | in ECR; else `images.repository` of policy.toml |
//! | `REPOSITORY_URI` | else `<account>.dkr.ecr.<region>.amazonaws.com/<repository>` |
//! | `S3_OUTPUT_PATH` | the worker's output, `s3://bucket/prefix`: ledger and journal are there |
//! | `S3_ENDPOINT`, `S3_PATH_STYLE`, `S3_REGION` | for S3-compatible servers |
//! | `SNS_TOPIC_ARN` | where people are told; without it only the log tells |
//! | `TASKS_MAX`, `LAG_SECONDS_TARGET` | the tasks that lag may bring to run, up to 100, and the lag that is aimed at; without, or with 1, nothing scales |
//! | `GLUE_TABLE` | `database.table` in Glue, which gets the columns of a release that proved itself |
//! | `METRICS_NAMESPACE` | in CloudWatch; else `Landfall` |
//! | `LANDFALL_TASKDEFS` | the directory of the files; else `$LAMBDA_TASK_ROOT/taskdefs` |
//! | `LANDFALL_LOG` | a log filter such as `debug`; else `info` |
//! | `FILL_<NAME>` | fills the hole `${NAME}` of the templates |
//!
//! These fill holes as well, without `FILL_`: `ACCOUNT`, `REGION`, `PIPELINE`, `CLUSTER`, `SERVICE`, `REPOSITORY`,
//! `REPOSITORY_URI`, `S3_OUTPUT_PATH`. Nothing else of the environment can get into a template: no credentials.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ledger::store::s3::S3Options;

use crate::fault::{Fault, Faults, Source, nearest, shown};
use crate::journal::Scaling;
use crate::policy::Policy;
use crate::policy::parse::check_repository;
use crate::render::Templates;
use crate::render::holes::is_name;

pub const POLICY_FILE: &str = "policy.toml";
/// Before a hole's name.
const FILL: &str = "FILL_";
/// What faults of variables name as their file.
const ENVIRONMENT: &str = "environment";
/// More tasks than a topic has partitions only wait.
const TASKS_MAX: u32 = 100;
const LAG_SECONDS_MIN: u32 = 60;
/// Twice the time that the worker keeps a file open, if its settings do not say otherwise: a lag of that is no lack of
/// tasks.
const LAG_SECONDS_TARGET: u32 = 600;
/// Where Lambda unpacked the package.
const TASK_ROOT: &str = "LAMBDA_TASK_ROOT";

/// Whose deployer this is.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub account: String,
    pub region: String,
    pub pipeline: String,
    pub cluster: String,
    pub service: String,
    pub repository: String,
    /// Without tag and digest.
    pub repository_uri: String,
    /// `s3://bucket/prefix` or `file:///directory`.
    pub store_url: String,
    pub store: StoreOptions,
    pub topic_arn: Option<String>,
    pub metrics_namespace: String,
    pub scaling: Option<Scaling>,
    /// Database and table.
    pub glue_table: Option<(String, String)>,
    pub taskdefs: PathBuf,
    pub log_filter: String,
}

/// For S3-compatible servers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StoreOptions {
    pub endpoint: Option<String>,
    pub path_style: bool,
    pub region: Option<String>,
}

impl StoreOptions {
    /// As the ledger's stores take them.
    pub fn s3(&self) -> S3Options {
        S3Options {
            endpoint: self.endpoint.clone(),
            path_style: self.path_style,
            region: self.region.clone(),
        }
    }
}

/// Everything that does not change while the Lambda lives.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub settings: Settings,
    pub policy: Policy,
    pub templates: Templates,
}

/// Reads settings, policy and templates. `variables` is the whole environment.
pub fn load(variables: impl IntoIterator<Item = (String, String)>) -> Result<Loaded, Faults> {
    let mut reader = Reader { variables: variables.into_iter().collect(), faults: Vec::new() };
    let taskdefs = reader.taskdefs();
    let policy = taskdefs.as_deref().and_then(|taskdefs| reader.policy(taskdefs));
    let settings = reader.settings(taskdefs.as_deref(), policy.as_ref().map(|policy| &policy.repository));
    let mut fills = reader.fills();
    for (name, value) in names_of(&settings) {
        if fills.contains_key(name) {
            let right = format!("leave it out: the hole `{name}` has its value already");
            reader.wrong(format!("{FILL}{name} is set"), right);
        }
        // What is missing was told; its holes are not to be told as well.
        let value = if value.is_empty() { "missing" } else { value };
        fills.insert(name.to_owned(), value.to_owned());
    }
    let templates = taskdefs.as_deref().and_then(|taskdefs| {
        let templates = Templates::load(taskdefs, fills, &settings.repository_uri);
        templates.map_err(|Faults(faults)| reader.faults.extend(faults)).ok()
    });
    if let Some(templates) = &templates {
        reader.unused_fills(&templates.fills);
    }
    let loaded = policy.zip(templates).map(|(policy, templates)| Loaded { settings, policy, templates });
    Faults::unless(reader.faults, loaded)
}

/// The holes that settings fill.
fn names_of(settings: &Settings) -> [(&'static str, &str); 8] {
    [
        ("ACCOUNT", &settings.account),
        ("REGION", &settings.region),
        ("PIPELINE", &settings.pipeline),
        ("CLUSTER", &settings.cluster),
        ("SERVICE", &settings.service),
        ("REPOSITORY", &settings.repository),
        ("REPOSITORY_URI", &settings.repository_uri),
        ("S3_OUTPUT_PATH", &settings.store_url),
    ]
}

struct Reader {
    variables: BTreeMap<String, String>,
    faults: Vec<Fault>,
}

/// What is wrong with a value, and what would be right.
type Check = fn(&str) -> Result<(), String>;

impl Reader {
    fn wrong(&mut self, wrong: impl Into<String>, right: impl Into<String>) {
        self.faults.push(Fault {
            file: ENVIRONMENT.into(),
            place: None,
            wrong: wrong.into(),
            right: right.into(),
        });
    }

    /// A variable that is set to nothing is as good as none.
    fn get(&self, name: &str) -> Option<String> {
        self.variables.get(name).filter(|value| !value.trim().is_empty()).cloned()
    }

    fn optional(&mut self, name: &str, check: Check) -> Option<String> {
        let value = self.get(name)?;
        match check(&value) {
            Ok(()) => Some(value),
            Err(right) => {
                self.wrong(format!("{name} is {}", shown(&value)), right);
                None
            }
        }
    }

    /// Empty where a fault was told.
    fn required(&mut self, name: &str, right: &str, check: Check) -> String {
        if self.get(name).is_none() {
            let is = if self.variables.contains_key(name) { "is set to nothing" } else { "is not set" };
            let others = self.variables.keys().filter(|other| !self.is_known(other)).map(String::as_str);
            let right = match nearest(name, others) {
                Some(near) => format!("{near} is set: was that meant? Else set {name}: {right}"),
                None => format!("set it: {right}"),
            };
            self.wrong(format!("{name} {is}"), right);
        }
        self.optional(name, check).unwrap_or_default()
    }

    /// Names that mean something, here or to Lambda.
    fn is_known(&self, name: &str) -> bool {
        const KNOWN: [&str; 18] = [
            "ACCOUNT",
            "AWS_REGION",
            "PIPELINE",
            "CLUSTER",
            "SERVICE",
            "REPOSITORY",
            "REPOSITORY_URI",
            "S3_OUTPUT_PATH",
            "S3_ENDPOINT",
            "S3_PATH_STYLE",
            "S3_REGION",
            "SNS_TOPIC_ARN",
            "METRICS_NAMESPACE",
            "TASKS_MAX",
            "LAG_SECONDS_TARGET",
            "GLUE_TABLE",
            "LANDFALL_TASKDEFS",
            "LANDFALL_LOG",
        ];
        KNOWN.contains(&name) || ["AWS_", "LAMBDA_", FILL].iter().any(|prefix| name.starts_with(prefix))
    }

    fn taskdefs(&mut self) -> Option<PathBuf> {
        let directory = match (self.get("LANDFALL_TASKDEFS"), self.get(TASK_ROOT)) {
            (Some(directory), _) => PathBuf::from(directory),
            (None, Some(root)) => Path::new(&root).join("taskdefs"),
            (None, None) => {
                let wrong = format!("neither LANDFALL_TASKDEFS nor {TASK_ROOT} is set");
                self.wrong(wrong, "set LANDFALL_TASKDEFS to the directory of worker.taskdef.json");
                return None;
            }
        };
        if !directory.is_dir() {
            let wrong = format!("{} is no directory", directory.display());
            self.wrong(wrong, "set LANDFALL_TASKDEFS to the directory of worker.taskdef.json");
            return None;
        }
        Some(directory)
    }

    /// A file that is not there is as good as an empty one.
    fn policy(&mut self, taskdefs: &Path) -> Option<Policy> {
        let file = taskdefs.join(POLICY_FILE);
        if !file.exists() {
            return Some(Policy::default());
        }
        let read =
            Source::read(&file).map_err(|fault| Faults(vec![fault])).and_then(|source| Policy::read(&source));
        read.map_err(|Faults(faults)| self.faults.extend(faults)).ok()
    }

    /// `policy`: the repository that it names; `None`: it could not be read.
    fn settings(&mut self, taskdefs: Option<&Path>, policy: Option<&Option<String>>) -> Settings {
        let account = self.required("ACCOUNT", "the AWS account, 12 digits", check_account);
        let region = self.required("AWS_REGION", "a region such as eu-west-1", check_region);
        let pipeline = self.required("PIPELINE", "the pipeline's name", check_pipeline);
        let cluster = self.required("CLUSTER", "the ECS cluster's name", check_ecs_name);
        let service = self.required("SERVICE", "the ECS service's name", check_ecs_name);
        let repository = self.repository(policy);
        let given = self.optional("REPOSITORY_URI", check_uri);
        let repository_uri = given.unwrap_or_else(|| repository_uri(&account, &region, &repository));
        let store_url =
            self.required("S3_OUTPUT_PATH", "s3://bucket/prefix, as the worker has it", check_store);
        let store = StoreOptions {
            endpoint: self.optional("S3_ENDPOINT", check_endpoint),
            path_style: self.optional("S3_PATH_STYLE", check_flag).as_deref() == Some("true"),
            region: self.optional("S3_REGION", check_region),
        };
        let namespace = self.optional("METRICS_NAMESPACE", check_namespace);
        let log_filter = self.optional("LANDFALL_LOG", check_filter);
        Settings {
            topic_arn: self.optional("SNS_TOPIC_ARN", check_topic),
            scaling: self.scaling(),
            glue_table: self.optional("GLUE_TABLE", check_table).and_then(|name| {
                name.split_once('.').map(|(database, table)| (database.to_owned(), table.to_owned()))
            }),
            metrics_namespace: namespace.unwrap_or_else(|| "Landfall".to_owned()),
            taskdefs: taskdefs.map(Path::to_owned).unwrap_or_default(),
            log_filter: log_filter.unwrap_or_else(|| "info".to_owned()),
            account,
            region,
            pipeline,
            cluster,
            service,
            repository,
            repository_uri,
            store_url,
            store,
        }
    }

    fn scaling(&mut self) -> Option<Scaling> {
        let number = |text: Option<String>| text.and_then(|text| text.parse().ok());
        let tasks_max = number(self.optional("TASKS_MAX", check_tasks));
        let lag_seconds = number(self.optional("LAG_SECONDS_TARGET", check_lag));
        let lag_seconds = lag_seconds.unwrap_or(LAG_SECONDS_TARGET);
        tasks_max.filter(|most| *most > 1).map(|tasks_max| Scaling { tasks_max, lag_seconds })
    }

    fn repository(&mut self, policy: Option<&Option<String>>) -> String {
        let check: Check = |name| check_repository(name).map_err(str::to_owned);
        let is_given = self.get("REPOSITORY").is_some();
        match (self.optional("REPOSITORY", check), policy) {
            (Some(given), Some(Some(named))) if given != *named => {
                self.wrong(
                    format!(
                        "REPOSITORY is {}, and `images.repository` in {POLICY_FILE} {}",
                        shown(&given),
                        shown(named)
                    ),
                    "leave one out, or make them agree",
                );
                given
            }
            (Some(given), _) => given,
            (None, Some(Some(named))) => named.clone(),
            (None, Some(None)) if !is_given => {
                let right = format!(
                    "set it: the repository's name in ECR; or write `images.repository` in {POLICY_FILE}"
                );
                self.wrong("REPOSITORY is not set", right);
                String::new()
            }
            // Told already, or to be looked at again once the policy reads.
            (None, Some(None) | None) => String::new(),
        }
    }

    fn fills(&mut self) -> BTreeMap<String, String> {
        let given: Vec<(String, String)> = self
            .variables
            .iter()
            .filter_map(|(variable, value)| Some((variable.strip_prefix(FILL)?.to_owned(), value.clone())))
            .collect();
        for (name, _) in &given {
            if !is_name(name) {
                self.wrong(format!("{FILL}{name} names no hole"), "write FILL_ and the hole's name");
            } else if name == "IMAGE" {
                self.wrong("FILL_IMAGE is set", "leave it out: the image comes from the release");
            }
        }
        given.into_iter().collect()
    }

    fn unused_fills(&mut self, holes: &BTreeMap<String, String>) {
        let given: Vec<String> = self
            .variables
            .keys()
            .filter_map(|variable| variable.strip_prefix(FILL))
            .map(str::to_owned)
            .collect();
        for name in
            given.iter().filter(|name| is_name(name) && *name != "IMAGE" && !holes.contains_key(*name))
        {
            let known = holes.keys().map(String::as_str);
            let right = match nearest(name, known) {
                Some(near) => format!("did you mean FILL_{near}?"),
                None => "leave it out, or write its hole into a template".to_owned(),
            };
            self.wrong(format!("{FILL}{name} is set, and no template has the hole `{name}`"), right);
        }
    }
}

fn repository_uri(account: &str, region: &str, repository: &str) -> String {
    let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("{account}.dkr.ecr.{region}.{suffix}/{repository}")
}

fn expect(is_right: bool, right: &str) -> Result<(), String> {
    if is_right { Ok(()) } else { Err(right.to_owned()) }
}

fn check_account(account: &str) -> Result<(), String> {
    expect(account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()), "write its 12 digits")
}

fn check_region(region: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    expect(region.chars().all(fits), "write a region's name such as eu-west-1")
}

/// The worker's own rule.
fn check_pipeline(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    expect(name.len() <= 128 && name.chars().all(fits), "use 1 to 128 ASCII letters, digits, `-`, `_`, `.`")
}

fn check_ecs_name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let right = "write its name, not its ARN: up to 255 ASCII letters, digits, `-` and `_`";
    expect(name.len() <= 255 && name.chars().all(fits), right)
}

fn check_uri(uri: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':');
    // A colon after the last slash would be a tag; before it, it is a port.
    let name = uri.rsplit('/').next().unwrap_or(uri);
    let is_right = uri.contains('/') && !uri.contains("://") && !name.contains(':') && uri.chars().all(fits);
    expect(
        is_right,
        "write registry and repository, without scheme, tag and digest: registry.example.com/name",
    )
}

fn check_store(url: &str) -> Result<(), String> {
    ledger::store::open::check_url(url).map_err(|why| why.to_string())
}

fn check_endpoint(url: &str) -> Result<(), String> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let is_right = rest.is_some_and(|rest| {
        !rest.is_empty() && !rest.starts_with('/') && !rest.contains(char::is_whitespace)
    });
    expect(is_right, "write http://host:port or https://host")
}

fn check_tasks(text: &str) -> Result<(), String> {
    let is_right = text.parse().is_ok_and(|most: u32| (1..=TASKS_MAX).contains(&most));
    expect(is_right, &format!("write a number of tasks from 1 to {TASKS_MAX}"))
}

fn check_lag(text: &str) -> Result<(), String> {
    let is_right = text.parse().is_ok_and(|seconds: u32| (LAG_SECONDS_MIN..=86_400).contains(&seconds));
    expect(is_right, &format!("write seconds from {LAG_SECONDS_MIN} to 86400"))
}

fn check_table(name: &str) -> Result<(), String> {
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let is_right = name.split_once('.').is_some_and(|(database, table)| is_name(database) && is_name(table));
    expect(is_right, "write database.table, in lower case")
}

fn check_flag(flag: &str) -> Result<(), String> {
    expect(matches!(flag, "true" | "false"), "write true or false")
}

fn check_topic(arn: &str) -> Result<(), String> {
    let parts: Vec<&str> = arn.split(':').collect();
    let is_right = parts.len() == 6 && parts[0] == "arn" && parts[2] == "sns" && !parts[5].is_empty();
    expect(is_right, "write the topic's ARN: arn:aws:sns:<region>:<account>:<name>")
}

/// CloudWatch's own rule.
fn check_namespace(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '#' | ':');
    let is_right = name.len() <= 255 && name.chars().all(fits) && !name.starts_with("AWS/");
    expect(is_right, "use up to 255 ASCII letters, digits and `.-_/#:`, not beginning with `AWS/`")
}

fn check_filter(filter: &str) -> Result<(), String> {
    crate::logs::parse(filter)
        .map(|_| ())
        .map_err(|error| format!("{error}; write a filter such as info or deployer::plan=debug"))
}
