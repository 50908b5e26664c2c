//! A web service that computes in worker processes: each request is a task of a pool.
//!
//!     cargo run --release --features async --example web_service
//!     curl http://127.0.0.1:8080/primes/10000000
//!
//! A request that crashes or takes too long costs no other one. If the client goes away, axum drops the future of its
//! request, which cancels the task: try Ctrl-C in curl. Ctrl-C here ends the service: the pool finishes what it runs.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use workring::pool::{Pool, Shutdown};
use workring::{Context, Failure};

workring::auto_worker!();

/// Counts the prime numbers below `limit`, the slow way.
#[workring::task(time_limit = Duration::from_secs(60))]
fn primes(context: &Context, limit: u64) -> Result<u64, Failure> {
    let mut count = 0;
    for number in 2..limit {
        if context.is_cancelled() {
            return Err(Failure::new("cancelled"));
        }
        let root = number.isqrt();
        let is_prime = (2..=root).all(|divisor| number % divisor != 0);
        count += u64::from(is_prime);
    }
    Ok(count)
}

/// Answers a request. Dropping the future drops the handle, and so cancels the task.
async fn count_primes(
    State(pool): State<Arc<Pool>>,
    Path(limit): Path<u64>,
) -> Result<String, (StatusCode, String)> {
    let unavailable = |error: String| (StatusCode::SERVICE_UNAVAILABLE, error);
    let submitted = pool.submit_async(primes::new(limit)).await;
    let handle = submitted.map_err(|error| unavailable(error.to_string()))?;
    let count = handle.cancel_on_drop().await;
    let count = count.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(format!("{count}\n"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let address = address.unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let pool = Arc::new(Pool::start(2)?);
    let routes = Router::new()
        .route("/primes/{limit}", get(count_primes))
        .with_state(Arc::clone(&pool));

    let listener = TcpListener::bind(address).await?;
    println!("http://{}/primes/1000000", listener.local_addr()?);
    let ctrl_c = async { drop(tokio::signal::ctrl_c().await) };
    axum::serve(listener, routes)
        .with_graceful_shutdown(ctrl_c)
        .await?;

    let report = pool
        .shutdown_async(Shutdown::Drain, Duration::from_secs(10))
        .await?;
    println!("{report}");
    Ok(())
}
