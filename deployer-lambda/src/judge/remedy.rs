//! Remedy: what a person can do about how a task ended, by the names of the stack's parameters.
//!
//! Neighbours: table asks for it. Pure.
//! Sources: "Stopped tasks error messages" and "Resolve Amazon ECS stopped task errors" of the Amazon ECS documentation.

/// Words of a stop's reasons, in lower case, and what helps. The first that is found counts.
const BY_REASON: [(&[&str], &str); 5] = [
    (
        &["exec format error", "matching platform"],
        "build it for the CPU that the task definition asks for, or change that (the stack's CpuArchitecture)",
    ),
    (
        &["accessdenied", "access denied", "not authorized to perform", "not authorised"],
        "let the execution role do that (the stack's ExecutionPolicyArn, SecretArns and KmsKeyArn)",
    ),
    (
        &[
            "i/o timeout",
            "connection issue",
            "context deadline exceeded",
            "dial tcp",
            "no route to host",
            "request canceled while waiting for connection",
            "unable to pull registry auth",
            "unable to pull secrets or registry auth",
            "failed to validate logger args",
        ],
        "its subnets need a way to ECR, S3 and CloudWatch Logs: a NAT, a public address or VPC endpoints (the stack's \
         Subnets, Egress and RouteTables)",
    ),
    (&["log group does not exist", "log stream"], "make the log group that the task definition names"),
    (
        &["capacity is unavailable"],
        "AWS has none there now; subnets in more zones help (the stack's Subnets)",
    ),
];

/// What helps where a task never ran.
pub(super) fn of_start(text: &str) -> Option<&'static str> {
    BY_REASON
        .iter()
        .find(|(signs, _)| signs.iter().any(|sign| text.contains(sign)))
        .map(|(_, remedy)| *remedy)
}

/// What helps where it ended with this code. Its own log names the thing itself.
pub(super) fn of_exit(code: i32) -> Option<&'static str> {
    match code {
        66 => Some("its log names the topic: create it, or change `topics` in pipeline.toml"),
        69 => Some(
            "its log names which; check the brokers (the stack's KafkaBootstrap), what their security group lets in \
             (MskSecurityGroup), and the way to S3 (Egress and RouteTables)",
        ),
        77 => Some(
            "its log names the permission and on what; those for Kafka come from the stack's MskClusterArn, TopicPattern \
             and GroupId, that for a key from KmsKeyArn",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ecs_says_of_a_start_leads_to_the_parameter_that_mends_it() {
        for (said, parameter) in [
            (
                "ResourceInitializationError: unable to pull secrets or registry auth: The task cannot pull registry auth \
                 from Amazon ECR: There is a connection issue between the task and Amazon ECR. Check your task network \
                 configuration.",
                "Egress",
            ),
            (
                "CannotPullContainerError: ref pull has been retried 5 time(s): failed to copy: httpReadSeeker: failed open: \
                 dial tcp 52.217.0.1:443: i/o timeout",
                "Subnets",
            ),
            (
                "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: \
                 AccessDeniedException: … is not authorized to perform: secretsmanager:GetSecretValue",
                "SecretArns",
            ),
            (
                "CannotPullContainerError: image Manifest does not contain descriptor matching platform 'linux/arm64'",
                "CpuArchitecture",
            ),
            ("exec /usr/local/bin/worker: exec format error", "CpuArchitecture"),
            (
                "Capacity is unavailable at this time. Please try again later or in a different availability zone",
                "Subnets",
            ),
        ] {
            let remedy = of_start(&said.to_ascii_lowercase()).unwrap_or_default();
            assert!(remedy.contains(parameter), "{said}: {remedy}");
        }
        assert_eq!(of_start("something new"), None);
    }
}
