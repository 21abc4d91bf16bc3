//! The floor: what the same calls cost a pure Rust program with common parts (reqwest,
//! `serde_json::Value`, tokio's current_thread runtime) and nothing around them.
//!
//! It takes the same flags as `driver.py` and prints the same JSON line. Build it on its own
//! (`cargo build --release -p ritellm-bench`): built along with the rest of the workspace it would
//! get the features that others want of serde_json, which make `Value` slower.

mod arguments;
mod calls;
mod resources;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use arguments::Arguments;
use calls::Client;
use serde_json::json;

fn main() -> ExitCode {
    // The same cryptography as RiteLLM's.
    rustls::crypto::ring::default_provider().install_default().expect("nothing was installed before");
    let outcome = Arguments::parse(std::env::args().skip(1)).and_then(|arguments| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| error.to_string())?.block_on(measure(&arguments))
    });
    match outcome {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("floor_client: {problem}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &Arguments) -> Result<serde_json::Value, String> {
    let client = Arc::new(Client::new(arguments)?);
    calls::run(&client, arguments.warmup, arguments.concurrency).await?;
    let (cpu, wall) = (resources::cpu_seconds(), Instant::now());
    let tally = calls::run(&client, arguments.calls, arguments.concurrency).await?;
    Ok(json!({
        "client": "floor",
        "calls": arguments.calls,
        "chunks": tally.chunks,
        "characters": tally.characters,
        "wall_s": wall.elapsed().as_secs_f64(),
        "cpu_s": resources::cpu_seconds() - cpu,
        "max_rss_kb": resources::peak_memory_kb(),
    }))
}
