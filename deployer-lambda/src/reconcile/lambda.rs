//! Lambda: the loop on real ports: settings, templates and clients once, then invocation after invocation.
//!
//! Order: a command is written down first; then the loop carries it out.
//! Neighbours: settings, aws, write_down, report; serve calls it.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use uuid::Uuid;

use super::stack::delete_now;
use super::{Outcome, Teller, World, WrittenDown, run, stack, write_down};
use crate::apply::ports::Catalog;
use crate::apply::{self, Templated};
use crate::aws::{Aws, GlueTable, LedgerFence, Target, signature, surroundings};
use crate::clock::{Clock, SystemClock};
use crate::command;
use crate::event::{Command, Hint, Place, StackRequest, Verb, Woken};
use crate::journal::store::JournalObject;
use crate::observe;
use crate::observe::needs::{Answered, needs_of, survey};
use crate::plan::{Decision, Rules, Tally};
use crate::policy::Policy;
use crate::release::{Digest, Moment, ReleaseId};
use crate::render::{Templates, delete_body, deployment_alarms, render};
use crate::report::{self, Beside};
use crate::serve::{Fault, LastResort, Reconcile};
use crate::settings::{self, Loaded, Settings};

/// Everything that lives as long as the function's process.
pub struct Function {
    settings: Settings,
    policy: Policy,
    templates: Templates,
    bodies: Templated,
    alarms: Vec<String>,
    teller: Teller,
    aws: Aws,
    table: Option<GlueTable>,
    fence: LedgerFence,
    journals: JournalObject,
    clock: Arc<dyn Clock>,
}

/// Reads settings, policy and templates, and makes the clients. Nothing is asked of AWS yet.
///
/// # Errors
/// A setting, a template or the policy is wrong: all faults in one text.
pub async fn init() -> Result<(Arc<dyn Reconcile>, Place), Fault> {
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let Loaded { settings, policy, templates } = settings::load(variables)?;
    let place = Place {
        account: settings.account.clone(),
        region: settings.region.clone(),
        repository: settings.repository.clone(),
        cluster: settings.cluster.clone(),
        service: settings.service.clone(),
    };
    let target = Target {
        cluster: settings.cluster.clone(),
        service: settings.service.clone(),
        family: templates.family().to_owned(),
        container: templates.container().to_owned(),
        repository: settings.repository.clone(),
        pipeline: settings.pipeline.clone(),
        metrics_namespace: settings.metrics_namespace.clone(),
        topic: settings.topic_arn.clone(),
    };
    let (aws, store) = tokio::join!(async { Aws::new(&surroundings().await, target) }, async {
        ledger::store::open(&settings.store_url, &settings.store.s3()).await
    });
    let store = store?;
    let table = settings.glue_table.clone().map(|(database, table)| GlueTable {
        aws: aws.clone(),
        store: store.clone(),
        database,
        table,
    });
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let signing = clock.clone();
    let fence = LedgerFence::new(store.clone(), move || signature(signing.now(), Uuid::new_v4()));
    let logs = report::notices::Logs::of(&templates.task_definition);
    let at = report::Whereabouts {
        pipeline: settings.pipeline.clone(),
        function: std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|_| "deployer".to_owned()),
        place: place.clone(),
        logs,
    };
    let function = Function {
        alarms: deployment_alarms(&templates),
        bodies: Templated { templates: templates.clone() },
        teller: Teller { at },
        journals: JournalObject::new(store),
        settings,
        policy,
        templates,
        aws,
        table,
        fence,
        clock,
    };
    Ok((Arc::new(function), place))
}

/// What can be done without settings that are right: by two variables of the environment.
#[derive(Clone, Copy, Debug)]
pub struct Remains;

#[async_trait]
impl LastResort for Remains {
    async fn delete_service(&self, until: Moment) -> Result<String, Fault> {
        let (Ok(cluster), Ok(service)) = (std::env::var("CLUSTER"), std::env::var("SERVICE")) else {
            return Ok("CLUSTER and SERVICE name no service, so none was made".to_owned());
        };
        let body = delete_body(&json!({ "cluster": cluster, "serviceName": service }));
        // Nothing else is asked for.
        let target = Target { cluster, service, ..Target::default() };
        let aws = Aws::new(&surroundings().await, target);
        Ok(delete_now(&aws, &aws, &body, &SystemClock, until).await?)
    }
}

impl Function {
    fn release_of(&self, digest: &Digest) -> ReleaseId {
        match render(&self.templates, digest) {
            Ok(rendered) => rendered.release,
            // Checked when the templates were loaded; an image makes no difference to what can be rendered.
            Err(error) => {
                tracing::error!("render {}: {error}", digest.short());
                ReleaseId(format!("unrenderable-{}", digest.short()))
            }
        }
    }

    fn world<'w>(&'w self, release_of: &'w (dyn Fn(&Digest) -> ReleaseId + Sync)) -> World<'w> {
        World {
            look: observe::World {
                registry: &self.aws,
                cluster: &self.aws,
                alarms: &self.aws,
                rejections: &self.fence,
            },
            act: apply::World {
                journals: &self.journals,
                deploy: &self.aws,
                fence: &self.fence,
                keeper: &self.aws,
                notifier: &self.aws,
                bodies: &self.bodies,
                scaler: &self.aws,
                scaling: self.settings.scaling,
                catalog: self.table.as_ref().map(|table| table as &dyn Catalog),
                announce_first: true,
            },
            policy: &self.policy,
            release_of,
            platform: self.templates.platform(),
            alarms: &self.alarms,
            own_rollback: self.templates.own_rollback(),
            teller: &self.teller,
            clock: &*self.clock,
            rules: Rules::ALL,
        }
    }

    async fn hint(&self, world: &World<'_>, hint: &Hint, woke: &str, until: Moment) -> Result<Value, Fault> {
        let outcome = run(world, hint, until).await?;
        self.say(&outcome, woke).await;
        Ok(json!({"ok": outcome.trouble.is_none(), "woke": woke, "decisions": told(&outcome.decisions),
            "trouble": outcome.trouble}))
    }

    async fn command(
        &self,
        world: &World<'_>,
        command: &Command,
        woke: &str,
        until: Moment,
    ) -> Result<Value, Fault> {
        let verb = command.verb.name();
        let rendered = |digest: &Digest| render(&self.templates, digest).map_err(|error| error.to_string());
        let needs = match command.verb {
            Verb::Verify { .. } => self.needs().await,
            Verb::Status {}
            | Verb::History { .. }
            | Verb::Diff { .. }
            | Verb::Plan {}
            | Verb::Deploy { .. }
            | Verb::Pin { .. }
            | Verb::Unpin {}
            | Verb::Rollback { .. }
            | Verb::Approve { .. }
            | Verb::Reject { .. }
            | Verb::Release { .. }
            | Verb::Stop { .. }
            | Verb::Start {}
            | Verb::Freeze { .. }
            | Verb::Unfreeze {} => Vec::new(),
        };
        let said = match write_down(world, command, &rendered, &needs).await? {
            WrittenDown::Refused(refusal) => return Ok(refusal.json(verb)),
            WrittenDown::Answered(said) => return Ok(said.json(verb)),
            WrittenDown::Written(said) => said,
        };
        let outcome = run(world, &Hint::Schedule, until).await?;
        self.say(&outcome, woke).await;
        let mut answer = said.json(verb);
        answer["decisions"] = told(&outcome.decisions);
        answer["trouble"] = json!(outcome.trouble);
        Ok(answer)
    }

    async fn stack(
        &self,
        world: &World<'_>,
        request: &StackRequest,
        woke: &str,
        until: Moment,
    ) -> Result<Value, Fault> {
        let (said, outcome) = stack(world, request.change, &request.sender.stack_id, until).await;
        self.say(&outcome, woke).await;
        let decisions = told(&outcome.decisions);
        Ok(
            json!({"ok": true, "woke": woke, "said": said?, "decisions": decisions, "trouble": outcome.trouble}),
        )
    }

    /// Asks for what tasks need beside their image. That is the same for every image: only `${IMAGE}` is still open in
    /// these templates.
    async fn needs(&self) -> Vec<Answered> {
        let needs = needs_of(&self.templates.task_definition, &self.templates.fills);
        survey(&self.aws, needs, &self.settings.account).await
    }

    /// The log's lines and the metrics. Neither undoes anything.
    async fn say(&self, outcome: &Outcome, woke: &str) {
        for decision in &outcome.decisions {
            report::log(decision, None, woke);
        }
        let beside = Beside { errors: u32::from(outcome.trouble.is_some()), pages: outcome.pages };
        self.count(&outcome.tallies, beside).await;
    }

    async fn count(&self, tallies: &[Tally], beside: Beside) {
        let batch = report::batch(&self.settings.pipeline, tallies, beside, self.clock.now());
        let Some(batch) = batch else { return };
        if let Err(error) = self.aws.put_metrics(&self.settings.metrics_namespace, &batch).await {
            tracing::warn!("the metrics of this invocation are lost: {}", error.chain());
        }
    }
}

#[async_trait]
impl Reconcile for Function {
    async fn run(&self, woken: &Woken, until: Moment) -> Result<Value, Fault> {
        let release_of = |digest: &Digest| self.release_of(digest);
        let world = self.world(&release_of);
        match woken {
            Woken::Hint(hint) => self.hint(&world, hint, &woken.named(), until).await,
            Woken::Command(command) => self.command(&world, command, &woken.named(), until).await,
            Woken::Stack(request) => self.stack(&world, request, &woken.named(), until).await,
            Woken::Nothing { why } => Ok(json!({"ok": true, "ignored": why})),
        }
    }

    async fn failed(&self) {
        self.count(&[], Beside { errors: 1, pages: 0 }).await;
    }
}

fn told(decisions: &[Decision]) -> Value {
    decisions.iter().map(command::decision).collect()
}
