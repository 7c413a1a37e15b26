//! What `verify` asks for: calls without an SDK, signed as the SDKs sign.

use std::sync::Mutex;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};

use super::*;
use crate::observe::needs::Role;
use crate::observe::ports::Needs as _;

const SECRET: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:kafka-AbCdEf";

fn xml(body: &str) -> Answer {
    Answer::Text(200, "text/xml", body.to_owned())
}

#[tokio::test]
async fn json_calls_are_signed_for_their_service_and_region() {
    let server = Server::start(|request| {
        Answer::json(&match request.operation() {
            "DescribeLogGroups" => {
                json!({"logGroups": [{"logGroupName": "/shop"}, {"logGroupName": "/shop/2"}]})
            }
            "DescribeSecret" => {
                json!({"ARN": SECRET, "DeletedDate": 1.5, "VersionIdsToStages": {"v": ["AWSCURRENT"]}})
            }
            other => panic!("{other}"),
        })
    })
    .await;
    let aws = aws(&server);
    assert!(aws.log_group("/shop", None).await.unwrap());
    assert!(!aws.log_group("/sho", None).await.unwrap(), "it only begins so");
    let secret = aws.secret(SECRET, Some("eu-central-1")).await.unwrap().unwrap();
    assert!(secret.deleted && secret.versions["v"].contains("AWSCURRENT"));
    let requests = server.requests();
    let group = &requests[0];
    assert_eq!(group.header("x-amz-target"), "Logs_20140328.DescribeLogGroups");
    assert_eq!(group.header("content-type"), "application/x-amz-json-1.1");
    assert_eq!((group.method.as_str(), group.path.as_str()), ("POST", "/"));
    assert_eq!(group.json(), json!({"logGroupNamePrefix": "/shop"}));
    assert_eq!(sigv4::signature_in(group), sigv4::signature_of(group, "logs"));
    let secret = &requests[2];
    assert_eq!(secret.header("x-amz-target"), "secretsmanager.DescribeSecret");
    assert_eq!(secret.json(), json!({"SecretId": SECRET}));
    assert_eq!(
        sigv4::signature_in(secret),
        sigv4::signature_in_region(secret, "secretsmanager", "eu-central-1")
    );
}

#[tokio::test]
async fn a_role_is_read_from_xml_in_iams_own_region() {
    let policy = "%7B%22Statement%22%3A%5B%5D%2C%22Id%22%3A%22a%20%26%20b%22%7D";
    let body = format!(
        "<GetRoleResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><GetRoleResult><Role>\
         <Path>/service/</Path><Arn>arn:aws:iam::123456789012:role/service/task</Arn>\
         <AssumeRolePolicyDocument>{policy}</AssumeRolePolicyDocument></Role></GetRoleResult></GetRoleResponse>"
    );
    let server = Server::start(move |_| xml(&body)).await;
    let role = aws(&server).role("task+1").await.unwrap();
    let arn = "arn:aws:iam::123456789012:role/service/task".to_owned();
    assert_eq!(role, Some(Role { arn, trust: json!({"Statement": [], "Id": "a & b"}) }));
    let request = &server.requests()[0];
    assert_eq!(request.text(), "Action=GetRole&Version=2010-05-08&RoleName=task%2B1");
    assert_eq!(request.header("content-type"), "application/x-www-form-urlencoded");
    assert_eq!(sigv4::signature_in(request), sigv4::signature_in_region(request, "iam", "us-east-1"));
}

#[tokio::test]
async fn only_the_services_own_word_for_it_means_that_there_is_none() {
    let none = "<ErrorResponse><Error><Type>Sender</Type><Code>NoSuchEntity</Code><Message>no such role</Message>\
                </Error><RequestId>r-1</RequestId></ErrorResponse>";
    let server = Server::start(move |_| Answer::Text(404, "text/xml", none.to_owned())).await;
    assert_eq!(aws(&server).role("task").await.unwrap(), None);
    assert!(aws(&server).secret(SECRET, None).await.is_err(), "that is not Secrets Manager's word");
    let server =
        Server::start(|_| Answer::error(400, "ResourceNotFoundException", "can't find the secret")).await;
    assert_eq!(aws(&server).secret(SECRET, None).await.unwrap(), None);
    let server = Server::start(|_| Answer::error(400, "UnknownOperationException", "")).await;
    let error = aws(&server).log_group("/shop", None).await.unwrap_err();
    assert_eq!((error.fault, server.requests().len()), (CallFault::Refused, 1));
    for odd in [xml("<html/>"), Answer::json(&json!([])), Answer::json(&json!({}))] {
        let server = Server::start(move |_| odd.clone()).await;
        let aws = aws(&server);
        let faults = [
            aws.role("task").await.map(drop).unwrap_err().fault,
            aws.log_group("/shop", None).await.map(drop).unwrap_err().fault,
            aws.parameter(&["/shop".to_owned()], None).await.map(drop).unwrap_err().fault,
        ];
        assert_eq!(faults, [CallFault::Unknown; 3]);
    }
}

#[tokio::test]
async fn a_question_is_asked_again_while_nobody_answers_it() {
    let server = Server::start(|request| match request.nth {
        1 => Answer::error(400, "ThrottlingException", "Rate exceeded"),
        2 => Answer::HangUp,
        _ => Answer::json(&json!({"logGroups": []})),
    })
    .await;
    assert!(!aws(&server).log_group("/shop", None).await.unwrap());
    assert_eq!(server.requests().len(), 3);
    let server = Server::start(|_| Answer::error(500, "InternalFailure", "oops")).await;
    let error = aws(&server).log_group("/shop", None).await.unwrap_err();
    assert_eq!((error.fault, server.requests().len()), (CallFault::Unknown, 3));
    let aws = aws(&server);
    server.stop();
    let error = aws.role("task").await.unwrap_err();
    assert_eq!(error.fault, CallFault::Unknown);
    assert!(error.chain().contains("check the network"), "{}", error.chain());
}

#[tokio::test]
async fn a_question_that_may_not_be_asked_names_the_action_to_allow() {
    let said = "User: x is not authorized to perform: ssm:DescribeParameters on resource: *";
    let server = Server::start(move |request| match request.operation() {
        "DescribeParameters" => Answer::error(400, "AccessDeniedException", said),
        _ => Answer::Text(
            403,
            "text/xml",
            "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error>\
             <RequestId>r-7</RequestId></ErrorResponse>"
                .to_owned(),
        ),
    })
    .await;
    let aws = aws(&server);
    let error = aws.parameter(&["/shop".to_owned()], None).await.unwrap_err();
    let expected = format!(
        "look for parameter `/shop`: AccessDeniedException: {said}; allow `ssm:DescribeParameters` in the policy of \
         the deployer's role"
    );
    assert_eq!((error.fault, error.chain()), (CallFault::Denied, expected));
    let error = aws.role("task").await.unwrap_err();
    let expected = "read role `task`: AccessDenied: no (request r-7); allow `iam:GetRole` in the policy of the \
                    deployer's role";
    assert_eq!((error.fault, error.chain().as_str()), (CallFault::Denied, expected));
}

#[tokio::test]
async fn a_parameter_is_looked_for_through_empty_pages_and_not_for_ever() {
    let server = Server::start(|request| {
        Answer::json(&match request.nth {
            1 => json!({"Parameters": [], "NextToken": "more"}),
            _ => json!({"Parameters": [{"Name": "/shop"}]}),
        })
    })
    .await;
    let names = ["shop".to_owned(), "/shop".to_owned()];
    assert!(aws(&server).parameter(&names, None).await.unwrap());
    let filters = json!([{"Key": "Name", "Option": "Equals", "Values": names}]);
    assert_eq!(server.json(0), json!({"ParameterFilters": filters}));
    assert_eq!(server.json(1), json!({"ParameterFilters": filters, "NextToken": "more"}));
    let server = Server::start(|_| Answer::json(&json!({"Parameters": []}))).await;
    assert!(!aws(&server).parameter(&names, None).await.unwrap());
    let server = Server::start(|_| Answer::json(&json!({"Parameters": [], "NextToken": "more"}))).await;
    let error = aws(&server).parameter(&names, None).await.unwrap_err();
    assert_eq!((error.fault, server.requests().len()), (CallFault::Unknown, 10));
}

#[tokio::test]
async fn without_credentials_no_question_is_sent() {
    let server = Server::start(|_| Answer::HangUp).await;
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(aws_config::Region::new(sigv4::REGION))
        .credentials_provider(aws_sdk_ecs::config::SharedCredentialsProvider::new(NoCredentials))
        .endpoint_url(server.url())
        .build();
    let error = Aws::new(&config, aws(&server).target).role("task").await.unwrap_err();
    assert_eq!((error.fault, server.requests().len()), (CallFault::Denied, 0), "{}", error.chain());
}

/// Takes every request, wherever it goes to, and keeps where: no network is used.
#[derive(Clone, Debug, Default)]
struct Everywhere(Arc<Mutex<Vec<String>>>);

impl HttpConnector for Everywhere {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        self.0.lock().unwrap().push(request.uri().to_owned());
        let body = json!({"logGroups": []}).to_string();
        HttpConnectorFuture::ready(Ok(HttpResponse::new(200.try_into().unwrap(), body.into())))
    }
}

/// Where a log group and a role are asked for by a deployer that runs there.
async fn asked_at(region: &'static str, fips: bool) -> Vec<String> {
    let everywhere = Everywhere::default();
    let connector = SharedHttpConnector::new(everywhere.clone());
    let credentials = aws_sdk_ecs::config::Credentials::new(sigv4::KEY_ID, sigv4::SECRET, None, None, "test");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(aws_config::Region::new(region))
        .credentials_provider(aws_sdk_ecs::config::SharedCredentialsProvider::new(credentials))
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .use_fips(fips)
        .build();
    let server = Server::start(|_| Answer::HangUp).await;
    let aws = Aws::new(&config, aws(&server).target);
    assert!(!aws.log_group("/shop", None).await.unwrap());
    assert_eq!(aws.role("task").await.unwrap_err().fault, CallFault::Unknown, "JSON is no role");
    assert!(!aws.log_group("/shop", Some("eu-west-3")).await.unwrap());
    everywhere.0.lock().unwrap().clone()
}

#[tokio::test]
async fn without_an_endpoint_of_ones_own_awss_is_asked() {
    let cases = [
        ("eu-west-1", false, ["https://logs.eu-west-1.amazonaws.com/", "https://iam.amazonaws.com/"]),
        (
            "us-east-1",
            true,
            ["https://logs-fips.us-east-1.amazonaws.com/", "https://iam-fips.amazonaws.com/"],
        ),
        (
            "us-gov-west-1",
            true,
            ["https://logs-fips.us-gov-west-1.amazonaws.com/", "https://iam.us-gov.amazonaws.com/"],
        ),
        (
            "cn-north-1",
            false,
            ["https://logs.cn-north-1.amazonaws.com.cn/", "https://iam.cn-north-1.amazonaws.com.cn/"],
        ),
    ];
    for (region, fips, expected) in cases {
        let asked = asked_at(region, fips).await;
        assert_eq!(asked[..2], expected, "{region}");
        let another = if fips { "https://logs-fips.eu-west-3." } else { "https://logs.eu-west-3." };
        assert!(asked[2].starts_with(another), "{}", asked[2]);
    }
}
