//! Server: `/health` and `/metrics` on one listener.
//!
//! Neighbours: health and metrics before it; the container's health check and Prometheus ask.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use super::{Limits, health};
use crate::clock::Clock;
use crate::metrics::{Metrics, prometheus};

/// What the answers are made of.
#[derive(Clone, Debug)]
pub struct View {
    pub pipeline: Arc<str>,
    pub metrics: Metrics,
    pub limits: Limits,
    pub clock: Arc<dyn Clock>,
}

/// The port is taken, or not ours to take.
#[derive(Debug, thiserror::Error)]
#[error("listen on {listen} (`health.listen`; \"none\" listens nowhere)")]
pub struct ListenError {
    pub listen: SocketAddr,
    #[source]
    source: io::Error,
}

/// Answers until `stop`. The address is the one that was bound, which tells the port if 0 was asked for.
pub async fn serve(
    listen: SocketAddr,
    view: View,
    stop: CancellationToken,
) -> Result<SocketAddr, ListenError> {
    let fault = |source| ListenError { listen, source };
    let listener = tokio::net::TcpListener::bind(listen).await.map_err(fault)?;
    let bound = listener.local_addr().map_err(fault)?;
    let router = Router::new()
        .route("/health", get(answer_health))
        .route("/metrics", get(answer_metrics))
        .with_state(view);
    tokio::spawn(async move {
        // Dropped rather than drained: a client that holds its connection must not hold up the end.
        tokio::select! {
            ended = axum::serve(listener, router) => {
                if let Err(error) = ended {
                    tracing::error!(error = &error as &dyn std::error::Error, "stop answering /health and /metrics");
                }
            }
            () = stop.cancelled() => {}
        }
    });
    Ok(bound)
}

async fn answer_health(State(view): State<View>) -> impl IntoResponse {
    let health = health(&view.metrics.snapshot(view.clock.moment()), &view.limits);
    let status = if health.is_well() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::to_string(&health).expect("health is plain text and numbers");
    (status, [(header::CONTENT_TYPE, "application/json")], body)
}

async fn answer_metrics(State(view): State<View>) -> impl IntoResponse {
    let text = prometheus::render(&view.pipeline, &view.metrics.snapshot(view.clock.moment()));
    ([(header::CONTENT_TYPE, prometheus::CONTENT_TYPE)], text)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::{ManualClock, SystemClock};
    use crate::health::ask::ask;
    use crate::http;
    use crate::metrics::Counter;
    use crate::metrics::tests::{at, lag, partition};

    async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        tokio::task::spawn_blocking(work).await.expect("it does not panic")
    }

    #[tokio::test]
    async fn the_listener_tells_health_and_metrics_as_they_change() {
        let clock = Arc::new(ManualClock::at_utc_ms(0));
        let metrics = Metrics::new(at(0));
        let limits = Limits { no_progress_max: Duration::from_secs(600), start_max: Duration::from_secs(60) };
        let view = View {
            pipeline: "shop".into(),
            metrics: metrics.clone(),
            limits,
            clock: Arc::<ManualClock>::clone(&clock) as Arc<dyn Clock>,
        };
        let stop = CancellationToken::new();
        let bound =
            serve("127.0.0.1:0".parse().expect("an address"), view, stop.clone()).await.expect("bound");
        let url = format!("http://{bound}/health");
        let ask_now = || {
            let url = url.clone();
            blocking(move || ask(&url, &SystemClock::start()).expect("answered"))
        };
        let starting = ask_now().await;
        assert!(!starting.is_well && starting.sentence.contains("joining the group"), "{starting:?}");

        metrics.assigned(at(0), &[partition(0)]);
        metrics.lag(at(0), lag(&[3]));
        assert!(ask_now().await.is_well);
        clock.advance(Duration::from_secs(601));
        let sick = ask_now().await;
        assert!(!sick.is_well && sick.sentence.contains("hangs"), "{sick:?}");

        metrics.add(Counter::Files, 4);
        let url = format!("http://{bound}/metrics");
        let answer = blocking(move || http::get(&url, Duration::from_secs(3), &SystemClock::start())).await;
        let text = String::from_utf8(answer.expect("answered").body).expect("text");
        assert!(text.contains("landfall_files_total{pipeline=\"shop\"} 4"), "{text}");

        stop.cancel();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let url = format!("http://{bound}/health");
        assert!(blocking(move || ask(&url, &SystemClock::start())).await.is_err(), "nobody listens any more");
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_told_with_its_setting() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let view = View {
            pipeline: "shop".into(),
            metrics: Metrics::new(at(0)),
            limits: Limits { no_progress_max: Duration::ZERO, start_max: Duration::ZERO },
            clock: Arc::new(ManualClock::at_utc_ms(0)),
        };
        let listen = taken.local_addr().expect("bound");
        let error = serve(listen, view, CancellationToken::new()).await.expect_err("it is taken");
        assert!(error.to_string().contains("health.listen"));
    }
}
