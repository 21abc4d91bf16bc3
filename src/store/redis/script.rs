//! The script that is the ledger of quotas, and one exchange with it.

use std::time::Duration;

use bytes::Bytes;

use super::client::{Client, Script};
use super::resp::Value;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Time;
use crate::limits::lease::{Amount, Grant, Reply, Request};
use crate::types::rate_limit::Unit;

/// Version of the ledger's layout. Ledgers of different versions have different keys.
const VERSION: u32 = 2;

/// A script that is sent by its hash.
pub(super) const TEXT: &str = include_str!("lease.lua");
static SCRIPT: Script = Script::new(TEXT);

/// Name of the key that holds a quota's ledger. It contains neither the quota's name nor the namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// Creates the name for a quota of a namespace.
    pub fn new(namespace: &str, quota: &str) -> Self {
        use sha2::{Digest, Sha256};
        let salted =
            Sha256::new().chain_update(namespace.len().to_le_bytes()).chain_update(namespace).chain_update(quota);
        let hash = salted.finalize();
        let hexadecimal: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        // In braces, so that a cluster keeps all keys of a quota together.
        Self(format!("ritellm:limits:{VERSION}:{{{hexadecimal}}}"))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Sends a member's request to the ledger.
///
/// # Errors
///
/// Returns an error if there is no connection, or no answer in time, or one that cannot be read.
pub async fn exchange(client: &Client, key: &Key, member: &str, request: &Request) -> Result<Reply> {
    let answer = client.run(&SCRIPT, key.as_str(), &arguments(member, request)).await?;
    read(answer).ok_or_else(|| Error::new(ErrorKind::ApiResponseValidation, "the answer of the Redis cannot be read"))
}

pub(super) fn arguments(member: &str, request: &Request) -> Vec<Bytes> {
    let mut arguments = Arguments(vec![Bytes::copy_from_slice(member.as_bytes())]);
    arguments.numbers([request.epoch, request.serial]);
    arguments.times([request.seen, request.elapsed]);
    arguments.numbers([u64::from(request.joins), u64::from(request.returns)]);
    arguments.times([request.grace, request.lease]);
    arguments.numbers([request.report, request.used.len() as u64]);
    for used in &request.used {
        arguments.times([used.age]);
        used.amount.iter().for_each(|amount| arguments.text(amount));
    }
    arguments.numbers([request.windows.len() as u64]);
    for window in &request.windows {
        let unit = match window.unit {
            Unit::Requests | Unit::InFlight => 1,
            Unit::Tokens => 2,
            Unit::InputTokens => 3,
            Unit::OutputTokens => 4,
        };
        arguments.times([window.period]);
        arguments.numbers([unit, window.limit]);
        arguments.text(&window.burst);
        arguments.text(&window.rate);
    }
    [request.keep, request.want, request.least].into_iter().for_each(|amount| arguments.numbers(amount));
    arguments.numbers([request.in_flight.into(), request.seats_wanted.into()]);
    arguments.text(&request.max_in_flight.map_or(-1, i64::from));
    arguments.numbers([u64::from(request.probes), request.snapshot, request.position, request.batch]);
    arguments.0.push(request.events.clone().into());
    arguments.0.push(request.learnt.clone().unwrap_or_default().into());
    arguments.0
}

struct Arguments(Vec<Bytes>);

impl Arguments {
    fn text(&mut self, value: &impl ToString) {
        self.0.push(value.to_string().into());
    }

    fn numbers<const N: usize>(&mut self, numbers: [u64; N]) {
        numbers.iter().for_each(|number| self.text(number));
    }

    fn times<const N: usize>(&mut self, times: [Time; N]) {
        times.iter().for_each(|time| self.text(&time.as_micros()));
    }
}

pub(super) fn read(answer: Value) -> Option<Reply> {
    let Value::Array(values) = answer else { return None };
    let mut values = values.into_iter();
    let [is_unknown, epoch, serial] = numbers(&mut values)?;
    let [now] = times(&mut values)?;
    if is_unknown == 1 {
        return Some(Reply::Unknown { now });
    }
    let amount: Amount = numbers(&mut values)?;
    let [seats, steady_seats] = numbers(&mut values)?;
    let [retry] = times(&mut values)?;
    let [members, rank] = numbers(&mut values)?;
    let [fresh] = times(&mut values)?;
    let [probe, snapshot] = numbers(&mut values)?;
    let mut bytes = || match values.next()? {
        Value::Bytes(bytes) => Some(bytes.to_vec()),
        _ => None,
    };
    let (learnt, missed) = (bytes()?, bytes()?);
    let [appended, position, wants_snapshot, in_flight] = numbers(&mut values)?;
    let Value::Array(usage) = values.next()? else { return None };
    let usage = usage.into_iter().map(|value| number(&value)).collect::<Option<_>>()?;
    let seat = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Some(Reply::Granted(Grant {
        epoch,
        serial,
        now,
        amount,
        seats: seat(seats),
        steady_seats: seat(steady_seats),
        retry,
        members,
        rank,
        fresh,
        probe: probe == 1,
        snapshot,
        learnt: (!learnt.is_empty()).then_some(learnt),
        missed,
        appended: appended == 1,
        position,
        wants_snapshot: wants_snapshot == 1,
        in_flight: seat(in_flight),
        usage,
    }))
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Integer(number) => Some(u64::try_from(*number).unwrap_or(0)),
        _ => None,
    }
}

fn numbers<const N: usize>(values: &mut impl Iterator<Item = Value>) -> Option<[u64; N]> {
    let mut numbers = [0; N];
    for place in &mut numbers {
        *place = number(&values.next()?)?;
    }
    Some(numbers)
}

fn times<const N: usize>(values: &mut impl Iterator<Item = Value>) -> Option<[Time; N]> {
    Some(numbers::<N>(values)?.map(Duration::from_micros))
}
