//! The way between machines and their Redis, and what happens to both.

use std::time::Duration;

use ritellm::limits::Time;
use ritellm::limits::lease::{Reply, Request};

use super::provider::MINUTE;
use super::site::{HOSTS, MACHINES, Place, QUOTAS, WALL};
use super::{Happening, World, seconds};

/// Condition of the Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    None,
    /// Nobody listens.
    Gone,
    /// It does not answer.
    Silent,
    /// It answers after longer than members wait.
    Slow,
}

/// A request on its way, or its answer.
pub struct Message {
    worker: usize,
    quota: usize,
    /// Number of the process that has sent it.
    process: usize,
    request: Request,
    reply: Option<Reply>,
}

/// Time after which all members are back, and know of each other.
pub const BACK: Duration = Duration::from_secs(3);

impl World {
    /// Lets a member exchange with the Redis when it wants to.
    pub fn exchange_soon(&mut self, site: usize, worker: usize, quota: usize) {
        let of_worker = &mut self.sites[site].workers[worker];
        let Some(next) = of_worker.leases.get(quota).and_then(|lease| lease.next_exchange()) else { return };
        let time = next.max(self.now);
        let known = &mut of_worker.lines[quota].exchange;
        if time < *known {
            *known = time;
            self.at(time, Happening::Exchange { worker, quota });
        }
    }

    /// Sends a member's request.
    pub fn exchange(&mut self, worker: usize, quota: usize) {
        let now = self.now;
        let of_worker = &mut self.sites[HOSTS].workers[worker];
        if of_worker.lines[quota].exchange != now || !of_worker.is_alive {
            return;
        }
        of_worker.lines[quota].exchange = Time::MAX;
        let (lease, process) = (&mut of_worker.leases[quota], of_worker.id);
        if lease.next_exchange().is_some_and(|next| next <= now)
            && let Some(request) = lease.request(now)
        {
            let is_cut = now < of_worker.cut_until;
            let way = self.way();
            let message = Message { worker, quota, process, request, reply: None };
            let trouble = if is_cut { Trouble::Silent } else { self.trouble };
            match trouble {
                Trouble::None | Trouble::Slow => self.post(now + way, message),
                // The connection is refused.
                Trouble::Gone => self.post(now + 2 * way, message),
                Trouble::Silent => {}
            }
        }
        self.exchange_soon(HOSTS, worker, quota);
        // What was lost is noticed by asking; those who wait may go on without the Redis.
        self.wake(HOSTS, worker, quota);
    }

    fn way(&mut self) -> Duration {
        let fast = 0.0003 + 0.002 * self.random.f64();
        seconds(if self.trouble == Trouble::Slow { 0.2 + 0.6 * self.random.f64() } else { fast })
    }

    fn post(&mut self, time: Time, message: Message) {
        let number = self.free_messages.pop().unwrap_or_else(|| {
            self.messages.push(None);
            self.messages.len() - 1
        });
        self.messages[number] = Some(message);
        self.at(time, Happening::Message { number });
    }

    /// A message arrives.
    pub fn deliver(&mut self, number: usize) {
        let now = self.now;
        let mut message = self.messages[number].take().expect("a message");
        self.free_messages.push(number);
        let Message { worker, quota, process, .. } = message;
        if message.reply.is_none() && self.trouble != Trouble::Gone {
            if self.trouble == Trouble::Silent {
                return;
            }
            self.tally.exchanges += 1;
            let Place::Store(store) = &mut self.sites[HOSTS].quotas[quota].place else { return };
            message.reply = Some(store.exchange(process, WALL + now, &message.request));
            let way = self.way();
            return self.post(now + way, message);
        }
        let of_worker = &mut self.sites[HOSTS].workers[worker];
        if of_worker.id != process || !of_worker.is_alive {
            return;
        }
        let (lease, is_cut) = (&mut of_worker.leases[quota], now < of_worker.cut_until);
        match message.reply {
            _ if is_cut => return,
            Some(reply) => {
                of_worker.lines[quota].has_heard |= matches!(reply, Reply::Granted(_));
                lease.answered(now, message.request.number, reply);
            }
            None => lease.failed(now, message.request.number),
        }
        self.exchange_soon(HOSTS, worker, quota);
        self.wake(HOSTS, worker, quota);
    }

    /// A machine dies. Of what it used only the Redis knows, unless it is lost or has just come back.
    pub fn lose_use(&mut self, worker: usize) {
        let is_known = self.trouble == Trouble::None && self.now >= self.complete_from;
        self.sites[HOSTS].quotas.iter_mut().for_each(|quota| quota.observer.died(worker, is_known));
    }

    /// Something happens to the Redis or to the way to it.
    pub fn trouble(&mut self) {
        let now = self.now;
        let length = seconds(5.0 + 115.0 * self.random.f64());
        let until = now + length;
        let windows = until + MINUTE + BACK;
        self.tally.troubles += 1;
        let kind = self.random.usize(..6);
        if kind < 3 {
            self.trouble = [Trouble::Gone, Trouble::Silent, Trouble::Slow][kind];
            self.at(until, Happening::Healed);
        }
        let machines = &mut self.sites[HOSTS];
        // Half of the time, what it knew is lost.
        if kind == 3 || kind < 2 && self.random.bool() {
            for quota in &mut machines.quotas {
                if let Place::Store(store) = &mut quota.place {
                    store.forget();
                }
                quota.observer.forget();
            }
            self.complete_from = now + BACK;
        }
        let mut cut = 0;
        if kind > 3 {
            // Some are cut off, the others go on without them.
            cut = if kind == 4 { 1 } else { self.random.usize(2..MACHINES / 2) };
            for worker in 0..cut {
                let of_worker = &mut machines.workers[(worker + self.tally.troubles as usize) % MACHINES];
                of_worker.cut_until = until;
            }
        }
        for quota in 0..QUOTAS {
            let observer = &mut machines.quotas[quota].observer;
            observer.disturb(now, windows);
            observer.deaf_until = observer.deaf_until.max(until);
            if cut > 0 {
                observer.allow(now, cut as f64 / MACHINES as f64, windows);
            }
        }
    }
}
