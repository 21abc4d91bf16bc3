//! What this machine takes for handing on from one sleeping thread to the next: the least that a call of `completion` from
//! one of many threads costs beside the call itself. CPU µs a hand-over, as one JSON line.

#[path = "../floor_client/resources.rs"]
#[allow(dead_code, reason = "memory is not measured here")]
mod resources;

use std::sync::mpsc::channel;
use std::thread;

const THREADS: usize = 32;
const ROUNDS: usize = 3_000;

fn main() {
    let (mut senders, receivers): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| channel()).unzip();
    // Each thread has the way to the one behind it, and the last has the way to the first.
    senders.rotate_left(1);
    let first = senders[THREADS - 1].clone();
    let before = resources::cpu_seconds();
    thread::scope(|scope| {
        for (receiver, sender) in receivers.into_iter().zip(senders) {
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    receiver.recv().expect("whoever sends is there");
                    // The first has heard enough when the last sends to it once more.
                    let _ = sender.send(());
                }
            });
        }
        first.send(()).expect("it waits");
    });
    let spent = resources::cpu_seconds() - before;
    println!("{}", serde_json::json!({ "figure": spent * 1e6 / (THREADS * ROUNDS) as f64 }));
}
