//! Budgets in US dollars: what calls may cost in a period. What a call may cost is set aside before it is sent, and settled with
//! what it did cost.
//!
//! Amounts are whole numbers of [`UNIT`]. In a process and on a host, an amount and the period that it belongs to are one word
//! of memory, so that no lock is held and a process that ends leaves nothing half done.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::call::Call;
use super::codec::unix_seconds;
use super::gate;
use super::pricing::prompt_usage;
use super::redis_budget::{self, RedisSettings};
use super::settings::{Share, WhenDown};
use super::spending_limit::{Per, SpendingLimit};
use crate::catalog::{Bill, Catalog, Model};
use crate::error::{Error, ErrorKind, Result};
use crate::platform::{Mapping, SharedFile, fork_epoch};
use crate::store::redis::client::{COMMAND, Client, Script};
use crate::store::redis::resp::Value;
use crate::transport;

/// Code of the error of a call whose price is not known, so that its budget cannot be kept.
pub const NO_PRICE: &str = "no_price";

/// Parts of a US dollar in which amounts are counted.
const UNIT: f64 = 1e8;
/// Number of bits of an amount in a word.
const AMOUNT_BITS: u32 = 48;
/// Length of the file in shared memory: a page.
const FILE: usize = 4096;

impl Per {
    /// Returns the number of the period at a Unix time in seconds.
    fn number(self, at: u64) -> u64 {
        match self {
            Self::Seconds(seconds) => at / seconds.max(1),
            // 1970 began on a Thursday.
            Self::Week => (at + 3 * 86_400) / 604_800,
            Self::Month => {
                // Days since March of the year 0, of which each 400 years have 146,097: <http://howardhinnant.github.io/date_algorithms.html>.
                let days = at / 86_400 + 719_468;
                let day_of_era = days % 146_097;
                let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
                let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
                (days / 146_097 * 400 + year) * 12 + (5 * day_of_year + 2) / 153
            }
            Self::Ever => 0,
        }
    }

    /// Returns a time after which a period that is under way has ended; `None` if it does not end.
    fn longest(self) -> Option<Duration> {
        Some(Duration::from_secs(match self {
            Self::Seconds(seconds) => seconds,
            Self::Week => 604_800,
            Self::Month => 31 * 86_400,
            Self::Ever => return None,
        }))
    }
}

/// A counter of what was spent.
#[derive(Clone)]
enum Counter {
    Process(Arc<AtomicU64>),
    Host(Arc<(SharedFile, Mapping)>),
}

impl Counter {
    fn word(&self) -> &AtomicU64 {
        match self {
            Self::Process(word) => word,
            Self::Host(shared) => &shared.1.words()[0],
        }
    }
}

fn units(dollars: f64) -> u64 {
    // Rounded up, so that many small costs do not add up to nothing.
    (dollars * UNIT).ceil().clamp(0.0, (1u64 << AMOUNT_BITS) as f64 - 1.0) as u64
}

fn dollars(units: u64) -> f64 {
    units as f64 / UNIT
}

/// Returns the amount that a word holds for a period; what it holds for another one has ended.
fn amount_of(word: u64, period: u64) -> u64 {
    if word >> AMOUNT_BITS == period & 0xffff { word & ((1 << AMOUNT_BITS) - 1) } else { 0 }
}

fn word_of(amount: u64, period: u64) -> u64 {
    (period & 0xffff) << AMOUNT_BITS | amount.min((1 << AMOUNT_BITS) - 1)
}

/// Number of periods by which a word may be ahead of a thread that read the clock and was interrupted. One that seems to be further
/// ahead was last used many periods ago: a word has the last 16 bits of a period's number.
const AHEAD: u64 = 2;

/// Returns the period in which an addition to a word counts: the caller's, or a later one that has begun meanwhile.
fn current(word: u64, period: u64) -> u64 {
    let ahead = (word >> AMOUNT_BITS).wrapping_sub(period) & 0xffff;
    if ahead <= AHEAD { period + ahead } else { period }
}

/// Adds a cost to a word unless that would exceed the limit. Returns what was spent before, and the period in which it counts.
fn add(word: &AtomicU64, period: u64, cost: u64, limit: u64) -> std::result::Result<(u64, u64), u64> {
    let spent = |known| (amount_of(known, current(known, period)), current(known, period));
    let added = word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |known| {
        let (spent, period) = spent(known);
        (spent + cost <= limit).then(|| word_of(spent + cost, period))
    });
    added.map(spent).map_err(|known| spent(known).0)
}

/// Replaces what was set aside by what was spent, if the period is still the same.
fn correct(word: &AtomicU64, period: u64, reserved: u64, cost: u64) {
    // The closure never refuses while the period is the same.
    let _ = word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |known| {
        let is_same = known >> AMOUNT_BITS == period & 0xffff;
        is_same.then(|| word_of(amount_of(known, period).saturating_sub(reserved) + cost, period))
    });
}

/// Adds ARGV[1] to the counter unless it would exceed ARGV[2], which is "-" for a correction: that is made down to nothing, of a
/// counter that is there. A Redis may have forgotten it, and what was set aside with it. ARGV[3] is the time in milliseconds after
/// which it goes, 0 for never. Returns -1, or what was spent if that is too much.
static SCRIPT: Script = Script::new(
    "local known = redis.call('GET', KEYS[1]) \
     local spent, added = tonumber(known or '0'), ARGV[1] \
     if ARGV[2] == '-' then \
       if not known then return -1 end \
       if spent + tonumber(added) < 0 then added = spent > 0 and '-' .. known or '0' end \
     elseif spent + tonumber(added) > tonumber(ARGV[2]) then return spent end \
     redis.call('INCRBY', KEYS[1], added) \
     if ARGV[3] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end \
     return -1",
);

impl SpendingLimit {
    /// Returns its name as a hash: in a file's name and a Redis's key, a person's name should not stand.
    fn hash(&self, namespace: &str) -> String {
        let salted = Sha256::new()
            .chain_update("ritellm budget\0")
            .chain_update(namespace.len().to_le_bytes())
            .chain_update(namespace)
            .chain_update(&self.key)
            .chain_update(format!("{:?}", self.per));
        salted.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns the counter of this process or host; `None` if it is in a Redis.
    fn counter(&self) -> Result<Option<Counter>> {
        type Counters = (u64, HashMap<(String, Per, Share), Counter>);
        static COUNTERS: LazyLock<Mutex<Counters>> = LazyLock::new(Mutex::default);
        if matches!(self.share, Share::Redis { .. }) {
            return Ok(None);
        }
        let mut counters = COUNTERS.lock().unwrap_or_else(PoisonError::into_inner);
        if counters.0 != fork_epoch() {
            // A child counts anew.
            std::mem::forget(std::mem::take(&mut counters.1));
            counters.0 = fork_epoch();
        }
        let key = (self.key.clone(), self.per, self.share.clone());
        if let Some(known) = counters.1.get(&key) {
            return Ok(Some(known.clone()));
        }
        let counter = match &self.share {
            Share::Host(name) => Counter::Host(Arc::new(self.open(name)?)),
            _ => Counter::Process(Arc::default()),
        };
        counters.1.insert(key, counter.clone());
        Ok(Some(counter))
    }

    /// Opens the counter that the processes of this machine share.
    fn open(&self, name: &str) -> Result<(SharedFile, Mapping)> {
        let failed =
            |why: &dyn std::fmt::Display| Error::argument(format!("share: the budget cannot be shared: {why}"));
        let file =
            SharedFile::open(&format!("ritellm-budget-1-{}", self.hash(name))).map_err(|error| failed(&error))?;
        let io = |error: std::io::Error| failed(&error);
        while file.length().map_err(io)? == 0 {
            if file.try_lock(0).map_err(io)? {
                // Another one may have been first.
                if file.length().map_err(io)? == 0 {
                    file.clear(FILE as u64).map_err(io)?;
                    file.reserve(0..FILE as u64).map_err(io)?;
                }
                file.unlock(0).map_err(io)?;
            } else {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let mapping = file.map(1, FILE).map_err(io)?;
        Ok((file, mapping))
    }

    /// Returns what was spent in this period in this process or host, in US dollars; `None` if it is in a Redis.
    ///
    /// # Errors
    ///
    /// The counter cannot be shared.
    pub fn spent(&self) -> Result<Option<f64>> {
        let period = self.per.number(unix_seconds());
        Ok(self.counter()?.map(|counter| dollars(amount_of(counter.word().load(Ordering::Acquire), period))))
    }

    /// Opens what is shared, so that what is wrong with it is said when the budget is made.
    ///
    /// # Errors
    ///
    /// The counter cannot be shared.
    pub fn check(&self) -> Result<()> {
        self.counter().map(|_| ())
    }

    /// Returns the error of a call that is not sent.
    fn exceeded(&self, spent: u64, cost: f64) -> Box<Error> {
        let message = format!(
            "the budget {:?} of {} US dollars{} would be exceeded: {:.6} are spent or set aside, and this call may cost {cost:.6}",
            self.key,
            self.amount,
            self.shown,
            dollars(spent)
        );
        let mut error = Error::new(ErrorKind::BudgetExceeded, message).unsent();
        error.code = Some("budget_exceeded".to_owned());
        error.should_retry = Some(false);
        error
    }

    /// Sets aside what a call may cost.
    ///
    /// # Errors
    ///
    /// `BudgetExceeded` if that is more than what is left, unless the call cannot cost anything; `InvalidArgument` if the price is not
    /// known.
    pub(super) async fn reserve(
        self: Arc<Self>,
        catalog: Option<&Catalog>,
        call: &Call,
        transport: &transport::Settings,
    ) -> Result<Reservation> {
        let (provider, model) = (call.deployment.provider.row().name, &call.deployment.model);
        let entry = catalog.and_then(|catalog| catalog.find(provider, model));
        let cost = entry.as_ref().and_then(|entry| expected_cost(entry, call));
        let is_free = || entry.as_ref().is_some_and(|entry| entry.is_free(unix_seconds()));
        // What cannot cost anything is not refused, though the budget is spent.
        if cost.map_or(self.allows_unknown, |cost| cost == 0.0 && is_free()) {
            return Ok(Reservation { limit: self, period: 0, reserved: 0, at: Held::Nothing });
        }
        let Some(cost) = cost else {
            let mut error = Error::argument(format!(
                "the budget {:?} cannot be kept: the client's catalog has no price for {provider}/{model}. Add one, or make the \
                 budget with unknown=\"allow\"",
                self.key
            ));
            error.code = Some(NO_PRICE.to_owned());
            return Err(error.unsent());
        };
        let period = self.per.number(unix_seconds());
        let (reserved, limit) = (units(cost), units(self.amount));
        if let Some(counter) = self.counter()? {
            let added = add(counter.word(), period, reserved, limit);
            let (_, period) = added.map_err(|spent| self.exceeded(spent, cost))?;
            return Ok(Reservation { limit: self, period, reserved, at: Held::Word(counter) });
        }
        let Share::Redis { url, namespace } = &self.share else { unreachable!("others have a counter") };
        let settings = RedisSettings { url, namespace, when_down: WhenDown::Error, transport };
        let client = redis_budget::client(&settings)?;
        let key = format!("ritellm:budget:1:{{{}}}:{period}", self.hash(namespace));
        let arguments = self.arguments(reserved as i64, Some(limit));
        // While a connection is being made, commands wait for it.
        let reply = timeout(COMMAND, client.run(&SCRIPT, &key, &arguments)).await;
        match reply.unwrap_or_else(|_| Err(Error::timeout(format!("the Redis does not answer within {COMMAND:?}")))) {
            Ok(Value::Integer(-1)) => Ok(Reservation { limit: self, period, reserved, at: Held::Redis(client, key) }),
            Ok(Value::Integer(spent)) => Err(self.exceeded(u64::try_from(spent).unwrap_or(0), cost)),
            _ if self.allows_down => Ok(Reservation { limit: self, period, reserved, at: Held::Nothing }),
            Ok(_) => Err(Error::connection("the answer of the Redis cannot be read").unsent()),
            Err(error) => {
                let message = format!("the budget {:?} cannot be kept: {}", self.key, error.message);
                Err(Error::connection(message).unsent())
            }
        }
    }

    fn arguments(&self, cost: i64, limit: Option<u64>) -> [Bytes; 3] {
        // A day longer, for clocks that differ.
        let end = self.per.longest().map_or(0, |longest| (longest.as_millis() as u64).saturating_add(86_400_000));
        let limit = limit.map_or("-".to_owned(), |limit| limit.to_string());
        [cost.to_string().into(), limit.into(), end.to_string().into()]
    }
}

/// Returns an estimate of what a call may cost, in US dollars: with all the tokens that it may answer.
fn expected_cost(model: &Model, call: &Call) -> Option<f64> {
    let usage = prompt_usage(call.request.operation, &call.request.params, gate::max_tokens(&call.request.params));
    // Nobody knows how long it will take: what that costs is counted afterwards.
    model.cost_of(&Bill { usage: Some(usage), service: None, seconds: Some(0.0) }, unix_seconds())
}

/// Returns the cost of a call that failed, if it is known: a refusal costs nothing. Nobody knows of what was given up on its way, nor
/// of a call of several requests, of which some were answered.
pub(super) fn cost_of_failure(error: &Error) -> Option<f64> {
    let is_refusal = !error.was_sent || error.status.is_some_and(|status| status >= 400);
    (is_refusal && error.inputs.is_none()).then_some(0.0)
}

/// What was set aside for a call. Dropped without being settled, it counts as spent: nobody knows what a call that was given up
/// did cost.
pub struct Reservation {
    limit: Arc<SpendingLimit>,
    period: u64,
    reserved: u64,
    at: Held,
}

/// Where it was set aside.
enum Held {
    Nothing,
    Word(Counter),
    Redis(Client, String),
}

impl Reservation {
    /// Replaces what was set aside by what the call did cost; `None` if that is not known, so that the estimate stands.
    pub fn settle(self, cost: Option<f64>) {
        let Some(cost) = cost.map(units).filter(|cost| *cost != self.reserved) else { return };
        match self.at {
            Held::Nothing => {}
            Held::Word(counter) => correct(counter.word(), self.period, self.reserved, cost),
            Held::Redis(client, key) => {
                let arguments = self.limit.arguments(cost as i64 - self.reserved as i64, None);
                Handle::current().spawn(async move {
                    // What is lost counts as the estimate.
                    let _ = client.run(&SCRIPT, &key, &arguments).await;
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::spending_limit::MAX_AMOUNT;
    use super::*;

    #[test]
    fn periods_of_the_calendar() {
        // 2024-02-29T23:59:59Z, a Thursday, and the second after it.
        let (before, after) = (1_709_251_199, 1_709_251_200);
        assert_eq!(Per::Month.number(after), Per::Month.number(before) + 1);
        assert_eq!(Per::Month.number(after), Per::Month.number(after + 31 * 86_400 - 1));
        assert_eq!(Per::Month.number(after + 31 * 86_400), Per::Month.number(after) + 1);
        assert_eq!(Per::Seconds(86_400).number(after), Per::Seconds(86_400).number(before) + 1);
        assert_eq!(Per::Week.number(after), Per::Week.number(before));
        // Monday, 2024-03-04.
        let monday = 1_709_510_400;
        assert_eq!(Per::Week.number(monday), Per::Week.number(monday - 1) + 1);
        assert_eq!(Per::Ever.number(monday), Per::Ever.number(0));
    }

    #[test]
    fn a_budget_is_never_exceeded_and_ends_with_its_period() {
        let word = AtomicU64::new(word_of(7, 3));
        assert_eq!(add(&word, 4, 60, 100), Ok((0, 4)), "what was spent in the last period is over");
        assert_eq!(add(&word, 4, 60, 100), Err(60));
        assert_eq!(add(&word, 4, 40, 100), Ok((60, 4)));
        correct(&word, 4, 60, 5);
        assert_eq!(add(&word, 4, 55, 100), Ok((45, 4)));
        correct(&word, 3, 10, 90);
        assert_eq!(amount_of(word.load(Ordering::Relaxed), 4), 100, "a call of an earlier period");
        correct(&word, 4, 1_000_000, 3);
        assert_eq!(amount_of(word.load(Ordering::Relaxed), 4), 3, "it never falls below nothing");
        assert_eq!((units(1e-12), units(0.0), units(MAX_AMOUNT) < 1 << AMOUNT_BITS), (1, 0, true));
    }

    #[test]
    fn a_thread_that_is_late_counts_in_the_period_that_has_begun() {
        let word = AtomicU64::new(word_of(90, 4));
        assert_eq!(add(&word, 3, 20, 100), Err(90));
        assert_eq!(add(&word, 3, 10, 100), Ok((90, 4)));
        assert_eq!(amount_of(word.load(Ordering::Relaxed), 4), 100);
        // The number of a period has no end, that in a word has.
        let word = AtomicU64::new(word_of(90, 0x2_0000));
        assert_eq!(add(&word, 0x1_ffff, 20, 100), Err(90));
        // It was used half a cycle ago, and is not ahead by the other half.
        let word = AtomicU64::new(word_of(90, 4));
        assert_eq!(add(&word, 4 + 0x8001, 20, 100), Ok((0, 4 + 0x8001)));
    }

    #[test]
    fn what_a_failure_costs() {
        let mut error = Error::connection("lost");
        assert_eq!(cost_of_failure(&error), None);
        error.status = Some(429);
        assert_eq!(cost_of_failure(&error), Some(0.0));
        error.inputs = Some(16..32);
        assert_eq!(cost_of_failure(&error), None, "the first 16 inputs may have been answered");
        assert_eq!(cost_of_failure(&Error::connection("none").unsent()), Some(0.0));
    }

    #[test]
    fn many_threads_spend_no_more_than_there_is() {
        let word = AtomicU64::new(0);
        let spent: u64 = std::thread::scope(|scope| {
            let spend = |seed| {
                let word = &word;
                move || {
                    let mut random = fastrand::Rng::with_seed(seed);
                    let (mut total, mut settled) = (0, 0);
                    for _ in 0..2000 {
                        let cost = random.u64(1..50);
                        if add(word, 1, cost, 10_000).is_ok() {
                            let real = random.u64(..cost + 1);
                            correct(word, 1, cost, real);
                            total += real;
                        }
                        settled += 1;
                    }
                    assert_eq!(settled, 2000);
                    total
                }
            };
            let threads: Vec<_> = (0..4).map(|seed| scope.spawn(spend(seed))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert!(spent <= 10_000);
        assert_eq!(amount_of(word.load(Ordering::Relaxed), 1), spent);
    }
}
