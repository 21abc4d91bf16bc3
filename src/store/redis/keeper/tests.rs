//! Members on a real redis-server in real time, which is stopped, emptied and ended meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use super::super::address::Address;
use super::super::server::{self, Server};
use super::*;
use crate::limits::lease::WhenDown;
use crate::limits::{Budget, Limit, QuotaSpec, Wait};
use crate::transport::Settings;
use crate::types::rate_limit::{Signals, Tokens};

/// Admissions of all members, and a way to stop them.
#[derive(Clone)]
struct Log {
    admissions: Arc<Mutex<Vec<Instant>>>,
    done: Arc<AtomicBool>,
}

impl Log {
    fn most(&self, window: Duration) -> usize {
        let mut times = self.admissions.lock().unwrap().clone();
        times.sort();
        let first = |last: usize| times.partition_point(|time| *time + window <= times[last]);
        (0..times.len()).map(|last| last + 1 - first(last)).max().unwrap_or(0)
    }

    fn len(&self) -> usize {
        self.admissions.lock().unwrap().len()
    }
}

/// Starts saturated members, each with its own connection and clock.
fn members(server: &Server, number: usize, limit: u64, when_down: WhenDown) -> (Log, Vec<tokio::task::JoinHandle<()>>) {
    let log = Log { admissions: Arc::default(), done: Arc::default() };
    let limit = Limit { requests: Some(limit), ..Limit::per(Duration::from_secs(1)) };
    let spec = QuotaSpec { limits: vec![limit], ..QuotaSpec::default() };
    let mut tasks = Vec::new();
    for number in 0..number {
        let client = Client::start(Address::parse("share", &server.url()).unwrap(), &Settings::default());
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let keeper = Keeper::new(LeaseState::new(&spec, when_down, Time::ZERO, wall), Instant::now());
        let running = keeper.clone();
        tasks.push(tokio::spawn(async move {
            running.run(&client, &Key::new("test", "quota"), &format!("member {number}")).await;
        }));
        let log = log.clone();
        tasks.push(tokio::spawn(async move {
            while !log.done.load(Ordering::Relaxed) {
                let now = keeper.now();
                let taken = keeper.state().try_take(now, Tokens::default());
                match taken {
                    Ok(taken) => {
                        log.admissions.lock().unwrap().push(Instant::now());
                        keeper.state().settle(now, taken, None, &Signals::default());
                        tokio::task::yield_now().await;
                    }
                    Err(Wait::Until(time)) => {
                        keeper.wake();
                        // Woken by an answer, or by the time.
                        let _ = tokio::time::timeout_at(keeper.begun + time, keeper.replied()).await;
                    }
                    Err(wait) => panic!("{wait:?}"),
                }
            }
        }));
    }
    (log, tasks)
}

async fn pass(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

#[tokio::test]
async fn the_limit_holds_whatever_becomes_of_the_redis() {
    let Some(mut server) = server::start(&[]) else { return };
    let (log, tasks) = members(&server, 3, 120, WhenDown::Share(0.3));
    pass(1500).await;
    let before = log.len();
    assert!(before >= 60, "{before}");
    server.signal("STOP");
    pass(1200).await;
    let frozen = log.len() - before;
    assert!(frozen >= 30, "calls waited for a Redis that is frozen: {frozen}");
    server.signal("CONT");
    pass(700).await;
    server.restart();
    pass(1300).await;
    server.end();
    let ended = log.len();
    pass(1200).await;
    assert!(log.len() - ended >= 30, "calls waited for a Redis that is gone");
    log.done.store(true, Ordering::Relaxed);
    let most = log.most(Duration::from_secs(1));
    assert!(most <= 120, "{most}");
    tasks.into_iter().for_each(|task| task.abort());
}
