//! A service that accepts jobs, runs them in worker processes, and answers at once.
//!
//!     cargo run --release --features async,metrics --example service
//!     curl -X POST http://127.0.0.1:8080/jobs/high/1000000
//!     curl http://127.0.0.1:8080/metrics
//!
//! Shows tasks whose outcomes no one waits for, priorities, the figures of a pool for Prometheus, and a rolling restart:
//! `kill -HUP` replaces each worker when it has finished its job. Ctrl-C ends the service: queued jobs are finished.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use workring::pool::{Pool, Priority, Shutdown};

workring::auto_worker!();

/// A job: counts the steps of the Collatz sequences of the numbers below `limit`.
#[workring::task(time_limit = Duration::from_secs(60))]
fn collatz(limit: u64) -> u64 {
    let next = |n: u64| {
        if n.is_multiple_of(2) {
            n / 2
        } else {
            3 * n + 1
        }
    };
    let steps = |n| std::iter::successors(Some(n), |&n| (n > 1).then(|| next(n))).count() as u64;
    (1..limit).map(steps).sum()
}

/// What the answers to requests need.
#[derive(Clone)]
struct Service {
    pool: Arc<Pool>,
    figures: PrometheusHandle,
}

/// Accepts a job, unless too many are queued already.
async fn accept(
    State(service): State<Service>,
    Path((priority, limit)): Path<(String, u64)>,
) -> Result<StatusCode, (StatusCode, String)> {
    let priority = match priority.as_str() {
        "low" => Priority::Low,
        "normal" => Priority::Normal,
        "high" => Priority::High,
        _ => return Err((StatusCode::NOT_FOUND, "low, normal or high".to_owned())),
    };
    let job = service.pool.task(collatz::new(limit));
    match job.priority(priority).try_submit() {
        Ok(handle) => {
            handle.detach();
            Ok(StatusCode::ACCEPTED)
        }
        Err(error) => Err((StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
    }
}

/// Returns the figures of the pool, in the text format of Prometheus. They are taken now, when they are asked for.
async fn metrics(State(service): State<Service>) -> String {
    service.pool.publish_metrics();
    service.figures.render()
}

/// Replaces all workers, one after the other, whenever the service gets `SIGHUP`.
async fn restart_on_hangup(pool: Arc<Pool>) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut hangups = signal(SignalKind::hangup())?;
    while hangups.recv().await.is_some() {
        let restart = pool.recycle()?;
        tokio::task::spawn_blocking(move || restart.wait()).await??;
        println!("all workers are replaced");
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let address = address.unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let pool = Pool::builder().workers(2).priorities();
    let pool = Arc::new(pool.name("jobs").timings(true).start()?);
    // The upper ends of the buckets that times are counted in, in seconds.
    let figures = PrometheusBuilder::new().set_buckets(&[0.001, 0.01, 0.1, 1.0, 10.0])?;
    let service = Service {
        pool: Arc::clone(&pool),
        figures: figures.install_recorder()?,
    };
    let routes = Router::new()
        .route("/jobs/{priority}/{limit}", post(accept))
        .route("/metrics", get(metrics))
        .with_state(service);
    let restarts = tokio::spawn(restart_on_hangup(Arc::clone(&pool)));
    let listener = TcpListener::bind(address).await?;
    println!("http://{}/metrics", listener.local_addr()?);
    let ctrl_c = async { drop(tokio::signal::ctrl_c().await) };
    axum::serve(listener, routes)
        .with_graceful_shutdown(ctrl_c)
        .await?;
    restarts.abort();
    let time = Duration::from_secs(10);
    println!("{}", pool.shutdown_async(Shutdown::Drain, time).await?);
    Ok(())
}
