//! Calls: every call that this room makes, by its verb for people and its action for IAM.
//!
//! Order: a call gets its row here first; a test reads the sources for calls without one, and ARCHITECTURE.md lists
//! the actions.
//! Neighbours: aws. Pure.

/// A call to AWS.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Call {
    BatchGetImage,
    CreateService,
    DeleteService,
    DeregisterScalableTarget,
    DescribeAlarms,
    DescribeImageScanFindings,
    DescribeImages,
    DescribeLogGroups,
    DescribeParameters,
    DescribeSecret,
    DescribeServiceDeployments,
    DescribeServiceRevisions,
    DescribeServices,
    DescribeTaskDefinition,
    DescribeTasks,
    GetRole,
    GetTable,
    ListServiceDeployments,
    ListTaskDefinitions,
    ListTasks,
    Publish,
    PutImage,
    PutMetricData,
    PutScalingPolicy,
    RegisterScalableTarget,
    RegisterTaskDefinition,
    TagResource,
    UpdateService,
    UpdateTable,
}

/// What the deployer's role must be allowed of these services, sorted. Registering and pointing also pass the task's
/// two roles to ECS: `iam:PassRole` on just these two.
pub const ACTIONS: [&str; 30] = [
    "application-autoscaling:DeregisterScalableTarget",
    "application-autoscaling:PutScalingPolicy",
    "application-autoscaling:RegisterScalableTarget",
    "cloudwatch:DescribeAlarms",
    "cloudwatch:PutMetricData",
    "ecr:BatchGetImage",
    "ecr:DescribeImageScanFindings",
    "ecr:DescribeImages",
    "ecr:PutImage",
    "ecs:CreateService",
    "ecs:DeleteService",
    "ecs:DescribeServiceDeployments",
    "ecs:DescribeServiceRevisions",
    "ecs:DescribeServices",
    "ecs:DescribeTaskDefinition",
    "ecs:DescribeTasks",
    "ecs:ListServiceDeployments",
    "ecs:ListTaskDefinitions",
    "ecs:ListTasks",
    "ecs:RegisterTaskDefinition",
    "ecs:TagResource",
    "ecs:UpdateService",
    "glue:GetTable",
    "glue:UpdateTable",
    "iam:GetRole",
    "iam:PassRole",
    "logs:DescribeLogGroups",
    "secretsmanager:DescribeSecret",
    "sns:Publish",
    "ssm:DescribeParameters",
];

impl Call {
    pub const ALL: [Call; 29] = [
        Call::BatchGetImage,
        Call::CreateService,
        Call::DeleteService,
        Call::DeregisterScalableTarget,
        Call::DescribeAlarms,
        Call::DescribeImageScanFindings,
        Call::DescribeImages,
        Call::DescribeLogGroups,
        Call::DescribeParameters,
        Call::DescribeSecret,
        Call::DescribeServiceDeployments,
        Call::DescribeServiceRevisions,
        Call::DescribeServices,
        Call::DescribeTaskDefinition,
        Call::DescribeTasks,
        Call::GetRole,
        Call::GetTable,
        Call::ListServiceDeployments,
        Call::ListTaskDefinitions,
        Call::ListTasks,
        Call::Publish,
        Call::PutImage,
        Call::PutMetricData,
        Call::PutScalingPolicy,
        Call::RegisterScalableTarget,
        Call::RegisterTaskDefinition,
        Call::TagResource,
        Call::UpdateService,
        Call::UpdateTable,
    ];

    /// As IAM names it.
    pub fn action(self) -> &'static str {
        match self {
            Call::BatchGetImage => "ecr:BatchGetImage",
            Call::CreateService => "ecs:CreateService",
            Call::DeleteService => "ecs:DeleteService",
            Call::DeregisterScalableTarget => "application-autoscaling:DeregisterScalableTarget",
            Call::DescribeAlarms => "cloudwatch:DescribeAlarms",
            Call::DescribeImageScanFindings => "ecr:DescribeImageScanFindings",
            Call::DescribeImages => "ecr:DescribeImages",
            Call::DescribeLogGroups => "logs:DescribeLogGroups",
            Call::DescribeParameters => "ssm:DescribeParameters",
            Call::DescribeSecret => "secretsmanager:DescribeSecret",
            Call::DescribeServiceDeployments => "ecs:DescribeServiceDeployments",
            Call::DescribeServiceRevisions => "ecs:DescribeServiceRevisions",
            Call::DescribeServices => "ecs:DescribeServices",
            Call::DescribeTaskDefinition => "ecs:DescribeTaskDefinition",
            Call::DescribeTasks => "ecs:DescribeTasks",
            Call::GetRole => "iam:GetRole",
            Call::GetTable => "glue:GetTable",
            Call::ListServiceDeployments => "ecs:ListServiceDeployments",
            Call::ListTaskDefinitions => "ecs:ListTaskDefinitions",
            Call::ListTasks => "ecs:ListTasks",
            Call::Publish => "sns:Publish",
            Call::PutImage => "ecr:PutImage",
            Call::PutMetricData => "cloudwatch:PutMetricData",
            Call::PutScalingPolicy => "application-autoscaling:PutScalingPolicy",
            Call::RegisterScalableTarget => "application-autoscaling:RegisterScalableTarget",
            Call::RegisterTaskDefinition => "ecs:RegisterTaskDefinition",
            Call::TagResource => "ecs:TagResource",
            Call::UpdateService => "ecs:UpdateService",
            Call::UpdateTable => "glue:UpdateTable",
        }
    }

    /// Service and operation: the action's two halves.
    pub(super) fn halves(self) -> (&'static str, &'static str) {
        self.action().split_once(':').expect("an action is `service:Operation`: a test reads all of them")
    }

    /// Verb and kind of object, before the object's name.
    pub(super) fn verb(self) -> &'static str {
        match self {
            Call::BatchGetImage => "read manifests of repository",
            Call::CreateService => "create service",
            Call::DeleteService => "delete service",
            Call::DeregisterScalableTarget => "stop the scaling of service",
            Call::DescribeAlarms => "describe alarms",
            Call::DescribeImageScanFindings => "read the scan of image",
            Call::DescribeImages => "describe images of repository",
            Call::DescribeLogGroups => "look for log group",
            Call::DescribeParameters => "look for parameter",
            Call::DescribeSecret => "describe secret",
            Call::DescribeServiceDeployments => "describe deployments of service",
            Call::DescribeServiceRevisions => "describe revisions of service",
            Call::DescribeServices => "describe service",
            Call::DescribeTaskDefinition => "describe task definition",
            Call::DescribeTasks => "describe tasks of service",
            Call::GetRole => "read role",
            Call::GetTable => "read table",
            Call::ListServiceDeployments => "list deployments of service",
            Call::ListTaskDefinitions => "list task definitions of family",
            Call::ListTasks => "list tasks of service",
            Call::Publish => "publish to topic",
            Call::PutImage => "tag image",
            Call::PutMetricData => "put metrics into namespace",
            Call::PutScalingPolicy => "let lag scale service",
            Call::RegisterScalableTarget => "let lag scale service",
            Call::RegisterTaskDefinition => "register task definition of family",
            Call::TagResource => "tag",
            Call::UpdateService => "update service",
            Call::UpdateTable => "give columns to table",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// `describe_services` of `self.ecs.describe_services()` and the like, wherever a line is broken.
    fn called(source: &str) -> BTreeSet<String> {
        let squeezed: String = source.split_whitespace().collect();
        let mut found = BTreeSet::new();
        for client in ["self.ecs.", "self.ecr.", "self.cloudwatch.", "self.sns."] {
            for (at, _) in squeezed.match_indices(client) {
                let rest = &squeezed[at + client.len()..];
                let name: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                found.insert(name);
            }
        }
        found
    }

    /// `describe_secret` of `.json(Call::DescribeSecret, …)` and the like: calls without an SDK.
    fn called_plainly(source: &str) -> BTreeSet<String> {
        let squeezed: String = source.split_whitespace().collect();
        let mut found = BTreeSet::new();
        for way in ["plain.json(Call::", "plain.query(Call::"] {
            for (at, _) in squeezed.match_indices(way) {
                let rest = &squeezed[at + way.len()..];
                found.insert(snaked(&rest.chars().take_while(char::is_ascii_alphabetic).collect::<String>()));
            }
        }
        found
    }

    fn snake(call: Call) -> String {
        snaked(call.halves().1)
    }

    fn snaked(name: &str) -> String {
        let mut snake = String::new();
        for letter in name.chars() {
            if letter.is_ascii_uppercase() && !snake.is_empty() {
                snake.push('_');
            }
            snake.push(letter.to_ascii_lowercase());
        }
        snake
    }

    #[test]
    fn the_actions_listed_are_the_calls_that_the_sources_make() {
        let sources = [
            include_str!("cloudwatch.rs"),
            include_str!("ecr.rs"),
            include_str!("ecs.rs"),
            include_str!("rollouts.rs"),
            include_str!("sns.rs"),
        ];
        let mut made: BTreeSet<String> = sources.iter().flat_map(|source| called(source)).collect();
        for plain in [include_str!("glue.rs"), include_str!("needs.rs"), include_str!("scaling.rs")] {
            made.extend(called_plainly(plain));
        }
        let rows: BTreeSet<String> = Call::ALL.into_iter().map(snake).collect();
        assert_eq!(made, rows);
        let mut actions: Vec<&str> =
            Call::ALL.into_iter().map(Call::action).chain(["iam:PassRole"]).collect();
        actions.sort_unstable();
        assert_eq!(actions, ACTIONS);
    }
}
