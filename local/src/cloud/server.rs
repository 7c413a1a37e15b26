//! Server: HTTP on loopback, for all services at one address, as `AWS_ENDPOINT_URL` wants it.
//!
//! | request | service |
//! |---|---|
//! | `POST /`, `X-Amz-Target: AmazonEC2ContainerServiceV20141113.…` | ECS, JSON 1.1 |
//! | `POST /`, `X-Amz-Target: AmazonEC2ContainerRegistry_V20150921.…` | ECR, JSON 1.1 |
//! | `POST /`, a form | SNS, query protocol |
//! | `POST /service/GraniteServiceVersion20100801/operation/…` | CloudWatch, rpc-v2-cbor |
//! | `GET /v4/<task>`, `GET /v4/<task>/task` | the task metadata endpoint |
//! | `/2018-06-01/runtime/…` | Lambda's runtime API |
//!
//! Neighbours: mod does what is asked; here it is only read and written down.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::function::Outcome;
use super::{Cloud, cbor, now, sns};
use crate::ecs::TaskId;

const ECS: &str = "AmazonEC2ContainerServiceV20141113.";
const ECR: &str = "AmazonEC2ContainerRegistry_V20150921.";
const CLOUDWATCH: &str = "/service/GraniteServiceVersion20100801/operation/";
const RUNTIME: &str = "/2018-06-01/runtime/";
const METADATA: &str = "/v4/";
/// More than any call that is made here.
const BODY_MAX: usize = 8 << 20;

type Answer = Response<Body>;

/// Begins to serve, for as long as this process lives; the answer is where.
pub async fn serve(cloud: Arc<Cloud>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let at = listener.local_addr()?;
    let router = Router::new().fallback(handle).with_state(cloud);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(at)
}

async fn handle(State(cloud): State<Arc<Cloud>>, request: Request) -> Answer {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_MAX).await else {
        return json_answer(StatusCode::PAYLOAD_TOO_LARGE, &json!({ "message": "the request is too large" }));
    };
    let path = head.uri.path();
    if let Some(call) = path.strip_prefix(RUNTIME) {
        return runtime(&cloud, &head.method, call, &body).await;
    }
    if let Some(of) = path.strip_prefix(METADATA) {
        return metadata(&cloud, of);
    }
    if let Some(call) = path.strip_prefix(CLOUDWATCH) {
        return cloudwatch(&cloud, call, &body);
    }
    match (&head.method, path) {
        (&Method::POST, "/") => at_the_root(&cloud, &head.headers, &body),
        (method, path) => {
            let what = format!("nothing here answers {method} {path}");
            json_answer(
                StatusCode::NOT_FOUND,
                &json!({ "__type": "UnknownOperationException", "message": what }),
            )
        }
    }
}

fn at_the_root(cloud: &Cloud, headers: &HeaderMap, body: &Bytes) -> Answer {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let target = header("x-amz-target");
    if target.is_empty() && header("content-type").starts_with("application/x-www-form-urlencoded") {
        return publish(cloud, body);
    }
    let Ok(request) = serde_json::from_slice::<Value>(body) else {
        let what = json!({ "__type": "SerializationException", "message": "the body is not JSON" });
        return json_answer(StatusCode::BAD_REQUEST, &what);
    };
    if let Some(call) = target.strip_prefix(ECS) {
        return match cloud.act(|world, now| world.ecs.call(call, &request, now)) {
            Ok(answer) => json_answer(StatusCode::OK, &answer),
            Err(error) => {
                let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
                json_answer(status, &error.body())
            }
        };
    }
    if let Some(call) = target.strip_prefix(ECR) {
        let answer = cloud.act(|world, now| {
            let (answer, pushed) = world.ecr.call(call, &request, now)?;
            if let Some(pushed) = pushed {
                cloud.tell_push(world, &pushed, now);
            }
            Ok::<_, super::ecr::EcrError>(answer)
        });
        return match answer {
            Ok(answer) => json_answer(StatusCode::OK, &answer),
            Err(error) => json_answer(StatusCode::BAD_REQUEST, &error.body()),
        };
    }
    let what = format!("there is no service for the target `{target}`");
    json_answer(StatusCode::BAD_REQUEST, &json!({ "__type": "UnknownOperationException", "message": what }))
}

fn publish(cloud: &Cloud, body: &Bytes) -> Answer {
    let (status, text) = match sns::read(body) {
        Ok(notice) => {
            cloud.publish(notice);
            (StatusCode::OK, sns::answer(&crate::ecs::ids::uuid(now())))
        }
        Err(why) => (StatusCode::BAD_REQUEST, sns::error(&why)),
    };
    answer(status, "text/xml", text.into())
}

fn cloudwatch(cloud: &Cloud, call: &str, body: &Bytes) -> Answer {
    let refused = |code: &str, why: &str| (StatusCode::BAD_REQUEST, cbor::error(code, why));
    let (status, bytes) = match (cbor::read(body), call) {
        (Err(error), _) => refused("SerializationException", &error.to_string()),
        (Ok(request), "PutMetricData") => {
            let put = cloud.act(|world, now| {
                let changes = world.watch.put(&request, now)?;
                cloud.tell_alarms(world, changes, now);
                Ok::<_, String>(())
            });
            match put {
                Ok(()) => (StatusCode::OK, cbor::nothing()),
                Err(why) => refused("com.amazonaws.cloudwatch#MissingRequiredParameterException", &why),
            }
        }
        (Ok(request), "DescribeAlarms") => {
            (StatusCode::OK, cloud.look(|world| cbor::alarms(&world.watch.alarms(&request))))
        }
        (Ok(_), other) => refused("UnknownOperationException", &format!("CloudWatch has no {other} here")),
    };
    let mut answer = answer(status, "application/cbor", bytes.into());
    answer.headers_mut().insert("smithy-protocol", header::HeaderValue::from_static("rpc-v2-cbor"));
    answer
}

/// Source: "Amazon ECS task metadata endpoint version 4 for tasks on Fargate".
fn metadata(cloud: &Cloud, of: &str) -> Answer {
    let (id, of_task) = match of.strip_suffix("/task") {
        Some(id) => (id, true),
        None => (of, false),
    };
    let told = cloud.look(|world| {
        let ecs = &world.ecs;
        let task = ecs.task(TaskId::parse(id)?)?;
        let definition = ecs.definition(task.definition);
        let container = definition.containers.first()?;
        let arn = ecs.config().task_arn(task.id);
        let number = |value: Option<&Value>| {
            value.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()))
        };
        let memory = number(definition.body.pointer("/containerDefinitions/0/memory"));
        Some(if of_task {
            json!({
                "Cluster": ecs.config().cluster_arn(), "TaskARN": arn, "Family": &*definition.family,
                "Revision": definition.revision.to_string(), "DesiredStatus": "RUNNING",
                "KnownStatus": task.status.name(), "LaunchType": "FARGATE",
                "Limits": { "Memory": number(definition.body.get("memory")) },
            })
        } else {
            json!({
                "DockerId": id, "Name": &*container.name, "DockerName": &*container.name,
                "Image": &*container.image, "ImageID": task.pulled_digest.as_deref(),
                "Labels": { "com.amazonaws.ecs.task-arn": arn }, "DesiredStatus": "RUNNING",
                "KnownStatus": task.status.name(), "Limits": { "Memory": memory },
            })
        })
    });
    match told {
        Some(told) => json_answer(StatusCode::OK, &told),
        None => json_answer(StatusCode::NOT_FOUND, &json!({ "message": format!("there is no task `{id}`") })),
    }
}

async fn runtime(cloud: &Cloud, method: &Method, call: &str, body: &Bytes) -> Answer {
    let parts: Vec<&str> = call.split('/').collect();
    match (method, parts.as_slice()) {
        (&Method::GET, ["invocation", "next"]) => next_invocation(cloud).await,
        (&Method::POST, ["invocation", id, how @ ("response" | "error")]) => {
            let said: Value = serde_json::from_slice(body)
                .unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned().into());
            let outcome = if *how == "response" { Outcome::Answered(said) } else { Outcome::Failed(said) };
            if cloud.function.answer(id, outcome) {
                json_answer(StatusCode::ACCEPTED, &json!({ "status": "OK" }))
            } else {
                let what = json!({ "errorType": "InvalidRequestID", "errorMessage": "Invalid request ID" });
                json_answer(StatusCode::BAD_REQUEST, &what)
            }
        }
        // The process ends after it has said why; whoever started it sees that.
        (&Method::POST, ["init", "error"]) => json_answer(StatusCode::ACCEPTED, &json!({ "status": "OK" })),
        (method, _) => {
            let what = format!("the runtime API has no {method} {call}");
            json_answer(StatusCode::NOT_FOUND, &json!({ "errorMessage": what }))
        }
    }
}

async fn next_invocation(cloud: &Cloud) -> Answer {
    let (id, alias, payload) = cloud.function.next().await;
    let timeout = u64::try_from(cloud.function.timeout.as_millis()).unwrap_or(u64::MAX);
    let deadline = now().saturating_add(timeout).to_string();
    let arn = format!("{}:{alias}", cloud.function.arn);
    let built = Response::builder()
        .header(header::CONTENT_TYPE, "application/json")
        .header("Lambda-Runtime-Aws-Request-Id", id)
        .header("Lambda-Runtime-Deadline-Ms", deadline)
        .header("Lambda-Runtime-Invoked-Function-Arn", arn)
        .header("Lambda-Runtime-Trace-Id", "Root=1-00000000-000000000000000000000000")
        .body(Body::from(payload.to_string()));
    built.expect("ids and ARNs are legal in headers")
}

fn json_answer(status: StatusCode, body: &Value) -> Answer {
    answer(status, "application/x-amz-json-1.1", body.to_string().into())
}

fn answer(status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    answer
}
