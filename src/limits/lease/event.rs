//! Events that may change what the members of a quota learn together, and their bytes in the ledger's log.
//!
//! Numbers are varints (seven bits a byte, the lowest first); times are in nanoseconds, each but the first of a batch as the
//! difference to the one before. The ledger ends each batch with the number of requests in flight of all members.

use std::time::Duration;

use super::super::Time;
use super::super::breaker::BreakerReport;
use super::super::budget::{Budget, Taken};
use super::super::ledger::Ledger;
use super::super::stop::{number_of, stop_of};
use crate::types::rate_limit::{FailureClass, Refused, Reset, Signals, Tokens, Unit, WindowSignal};

/// Something that may change what members learn together.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Event {
    /// A request was admitted; true if it waited because of the learnt rate.
    Take(Taken, bool),
    Observe(Time, Taken, Signals),
    Settle(Time, Taken, Option<Tokens>, Signals),
    Cancel(Time, Taken),
    GiveBack(Time, Taken),
    Enable(Time),
    /// Number of requests in flight of all members.
    InFlight(u32),
    /// What a member found out about a deployment.
    Breaker(Time, u64, BreakerReport),
    /// A member's claim to probe it, and the time for which it holds.
    Claim(Time, u64, Time),
}

const TAKE: u8 = 0;
const OBSERVE: u8 = 1;
const SETTLE: u8 = 2;
const CANCEL: u8 = 3;
const GIVE_BACK: u8 = 4;
const ENABLE: u8 = 5;
/// `lease.lua` writes it, with a number of four bytes.
const IN_FLIGHT: u8 = 6;
const BREAKER: u8 = 7;
const CLAIM: u8 = 8;

/// What was found out about a deployment. Above them: the number of the stop.
const CLOSED: u8 = 0;
const RELEASED: u8 = 1;
const OPENED: u8 = 2;
const FIRST_STOP: u8 = 3;

/// What an event has, beside its times.
const PROBE: u8 = 1;
const USED: u8 = 2;
const FAILURE: u8 = 4;
const RETRY_AFTER: u8 = 8;
const WINDOWS: u8 = 16;
const HAS_WAITED: u8 = 32;
const REFUSED: u8 = 64;

/// What a window's signal has.
const PERIOD: u8 = 1;
const LIMIT: u8 = 2;
const REMAINING: u8 = 4;
const RESET_FULL: u8 = 8;
const RESET_SOME: u8 = 16;

const UNITS: [Unit; 5] = [Unit::Requests, Unit::Tokens, Unit::InputTokens, Unit::OutputTokens, Unit::InFlight];
const REFUSALS: [Refused; 3] = [Refused::Key, Refused::Access, Refused::Model];
const FAILURES: [FailureClass; 7] = [
    FailureClass::Rate,
    FailureClass::Overload,
    FailureClass::DayQuota,
    FailureClass::QuotaFatal,
    FailureClass::Auth,
    FailureClass::BadRequest,
    FailureClass::Transient,
];

impl Event {
    /// True if the other members are to know of it at once: it may begin or end a pause.
    pub(super) fn is_urgent(&self) -> bool {
        match self {
            Self::Take(taken, _) | Self::Cancel(_, taken) | Self::GiveBack(_, taken) => taken.probe,
            Self::Observe(_, taken, signals) | Self::Settle(_, taken, _, signals) => {
                taken.probe || signals.failure.is_some()
            }
            Self::Enable(_) | Self::Breaker(..) | Self::Claim(..) => true,
            Self::InFlight(_) => false,
        }
    }

    /// Changes what a ledger has learnt.
    pub(super) fn apply(&self, ledger: &mut Ledger) {
        match self {
            Self::Take(taken, has_waited) => ledger.count_taken(taken, *has_waited),
            Self::Observe(now, taken, signals) => ledger.member(0).observe(*now, taken, signals),
            Self::Settle(now, taken, used, outcome) => ledger.member(0).settle(*now, *taken, *used, outcome),
            Self::Cancel(now, taken) => ledger.member(0).cancel(*now, *taken),
            Self::GiveBack(now, taken) => ledger.member(0).give_back(*now, *taken),
            Self::Enable(now) => ledger.member(0).enable(*now),
            Self::InFlight(count) => ledger.set_in_flight(*count),
            Self::Breaker(now, member, report) => ledger.member(0).report_breaker(*now, *member, *report),
            Self::Claim(now, member, length) => drop(ledger.claim_for(*now, *member, *length)),
        }
    }
}

fn index<T: PartialEq>(table: &[T], value: &T) -> u8 {
    table.iter().position(|other| other == value).unwrap_or_default() as u8
}

/// Returns the bytes of a batch.
pub(super) fn encode(events: &[Event]) -> Vec<u8> {
    let mut writer = Writer { bytes: Vec::with_capacity(24 * events.len()), time: 0 };
    events.iter().for_each(|event| writer.event(event));
    writer.bytes
}

struct Writer {
    bytes: Vec<u8>,
    time: u64,
}

impl Writer {
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    fn duration(&mut self, duration: Duration) {
        self.number(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    fn time(&mut self, time: Time) {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let difference = time.wrapping_sub(self.time) as i64;
        self.number(((difference << 1) ^ (difference >> 63)) as u64);
        self.time = time;
    }

    fn tokens(&mut self, tokens: Tokens) {
        self.number(tokens.input);
        self.number(tokens.output);
    }

    fn taken(&mut self, taken: &Taken) {
        self.time(taken.at);
        self.tokens(taken.tokens);
    }

    fn event(&mut self, event: &Event) {
        let none = Signals::default();
        let (kind, now, taken, used, signals) = match event {
            Event::Take(taken, _) => (TAKE, None, Some(taken), None, &none),
            Event::Observe(now, taken, signals) => (OBSERVE, Some(now), Some(taken), None, signals),
            Event::Settle(now, taken, used, signals) => (SETTLE, Some(now), Some(taken), *used, signals),
            Event::Cancel(now, taken) => (CANCEL, Some(now), Some(taken), None, &none),
            Event::GiveBack(now, taken) => (GIVE_BACK, Some(now), Some(taken), None, &none),
            Event::Enable(now) => (ENABLE, Some(now), None, None, &none),
            Event::InFlight(count) => {
                self.bytes.push(IN_FLIGHT);
                self.bytes.extend(count.to_le_bytes());
                self.time = 0;
                return;
            }
            Event::Breaker(now, member, report) => return self.breaker(*now, *member, *report),
            Event::Claim(now, member, length) => {
                self.bytes.extend([CLAIM, 0]);
                self.time(*now);
                self.number(*member);
                return self.duration(*length);
            }
        };
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let flags = flag(taken.is_some_and(|taken| taken.probe), PROBE)
            | flag(used.is_some(), USED)
            | flag(signals.failure.is_some(), FAILURE)
            | flag(signals.retry_after.is_some(), RETRY_AFTER)
            | flag(!signals.windows.is_empty(), WINDOWS)
            | flag(matches!(event, Event::Take(_, true)), HAS_WAITED)
            | flag(signals.refused.is_some(), REFUSED);
        self.bytes.extend([kind, flags]);
        if let Some(taken) = taken {
            self.taken(taken);
        }
        if let Some(now) = now {
            self.time(*now);
        }
        if let Some(used) = used {
            self.tokens(used);
        }
        if let Some(failure) = signals.failure {
            self.bytes.push(index(&FAILURES, &failure));
        }
        if let Some(retry_after) = signals.retry_after {
            self.duration(retry_after);
        }
        if !signals.windows.is_empty() {
            self.number(signals.windows.len() as u64);
            signals.windows.iter().for_each(|window| self.window(window));
        }
        if let Some(refused) = signals.refused {
            self.bytes.push(index(&REFUSALS, &refused));
        }
    }

    fn breaker(&mut self, now: Time, member: u64, report: BreakerReport) {
        let (found, pause, times) = match report {
            BreakerReport::Closed => (CLOSED, Time::ZERO, 0),
            BreakerReport::Released => (RELEASED, Time::ZERO, 0),
            BreakerReport::Opened(pause, times) => (OPENED, pause, times),
            BreakerReport::Out(class, kind, pause) => {
                let stop = number_of(class, Some(kind)).unwrap_or_default();
                (FIRST_STOP + stop as u8, pause, 0)
            }
        };
        self.bytes.extend([BREAKER, found]);
        self.time(now);
        self.number(member);
        self.duration(pause);
        self.number(u64::from(times));
    }

    fn window(&mut self, window: &WindowSignal) {
        let (reset, time) = match window.reset {
            Some(Reset::Full(time)) => (RESET_FULL, Some(time)),
            Some(Reset::Some(time)) => (RESET_SOME, Some(time)),
            None => (0, None),
        };
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let flags = reset
            | flag(window.period.is_some(), PERIOD)
            | flag(window.limit.is_some(), LIMIT)
            | flag(window.remaining.is_some(), REMAINING);
        self.bytes.extend([index(&UNITS, &window.unit), flags]);
        window.period.into_iter().for_each(|period| self.duration(period));
        window.limit.into_iter().for_each(|limit| self.number(limit));
        window.remaining.into_iter().for_each(|remaining| self.number(remaining));
        time.into_iter().for_each(|time| self.duration(time));
    }
}

/// Returns the events of a log, up to what cannot be read.
pub(super) fn decode(bytes: &[u8]) -> impl Iterator<Item = Event> {
    let mut reader = Reader { bytes, time: 0 };
    std::iter::from_fn(move || reader.event())
}

struct Reader<'a> {
    bytes: &'a [u8],
    time: u64,
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(number);
            }
            shift += 7;
        }
    }

    fn duration(&mut self) -> Option<Duration> {
        Some(Duration::from_nanos(self.number()?))
    }

    fn time(&mut self) -> Option<Time> {
        let number = self.number()?;
        let difference = (number >> 1) as i64 ^ -((number & 1) as i64);
        self.time = self.time.wrapping_add(difference as u64);
        Some(Time::from_nanos(self.time))
    }

    fn tokens(&mut self) -> Option<Tokens> {
        Some(Tokens { input: self.number()?, output: self.number()? })
    }

    fn event(&mut self) -> Option<Event> {
        let kind = self.byte()?;
        if kind == IN_FLIGHT {
            let (count, rest) = self.bytes.split_first_chunk()?;
            (self.bytes, self.time) = (rest, 0);
            return Some(Event::InFlight(u32::from_le_bytes(*count)));
        }
        let flags = self.byte()?;
        match kind {
            ENABLE => return Some(Event::Enable(self.time()?)),
            CLAIM => return Some(Event::Claim(self.time()?, self.number()?, self.duration()?)),
            BREAKER => return self.breaker(flags),
            _ => {}
        }
        let (at, tokens) = (self.time()?, self.tokens()?);
        let taken = Taken { at, tokens, alone: None, probe: flags & PROBE != 0 };
        if kind == TAKE {
            return Some(Event::Take(taken, flags & HAS_WAITED != 0));
        }
        let now = self.time()?;
        let used = if flags & USED != 0 { Some(self.tokens()?) } else { None };
        let mut signals = Signals::default();
        if flags & FAILURE != 0 {
            signals.failure = Some(*FAILURES.get(usize::from(self.byte()?))?);
        }
        if flags & RETRY_AFTER != 0 {
            signals.retry_after = Some(self.duration()?);
        }
        if flags & WINDOWS != 0 {
            for _ in 0..self.number()? {
                let window = self.window()?;
                signals.windows.push(window);
            }
        }
        if flags & REFUSED != 0 {
            signals.refused = Some(*REFUSALS.get(usize::from(self.byte()?))?);
        }
        Some(match kind {
            OBSERVE => Event::Observe(now, taken, signals),
            SETTLE => Event::Settle(now, taken, used, signals),
            CANCEL => Event::Cancel(now, taken),
            GIVE_BACK => Event::GiveBack(now, taken),
            _ => return None,
        })
    }

    fn breaker(&mut self, found: u8) -> Option<Event> {
        let (now, member, pause) = (self.time()?, self.number()?, self.duration()?);
        let times = u32::try_from(self.number()?).ok()?;
        let report = match found {
            CLOSED => BreakerReport::Closed,
            RELEASED => BreakerReport::Released,
            OPENED => BreakerReport::Opened(pause, times),
            stop => {
                let (class, kind) = stop_of(u32::from(stop - FIRST_STOP))?;
                BreakerReport::Out(class, kind, pause)
            }
        };
        Some(Event::Breaker(now, member, report))
    }

    fn window(&mut self) -> Option<WindowSignal> {
        let unit = *UNITS.get(usize::from(self.byte()?))?;
        let flags = self.byte()?;
        let mut window = WindowSignal { unit, period: None, limit: None, remaining: None, reset: None };
        if flags & PERIOD != 0 {
            window.period = Some(self.duration()?);
        }
        if flags & LIMIT != 0 {
            window.limit = Some(self.number()?);
        }
        if flags & REMAINING != 0 {
            window.remaining = Some(self.number()?);
        }
        if flags & RESET_FULL != 0 {
            window.reset = Some(Reset::Full(self.duration()?));
        } else if flags & RESET_SOME != 0 {
            window.reset = Some(Reset::Some(self.duration()?));
        }
        Some(window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn batch() -> Vec<Event> {
        let at = |nanos: u64| Time::from_nanos(1_800_000_000_000_000_000 + nanos);
        let taken = Taken { at: at(5), tokens: Tokens { input: 300, output: u64::MAX }, alone: None, probe: true };
        let other = Taken { at: at(9_000_000), probe: false, ..taken };
        let windows = [
            WindowSignal {
                unit: Unit::Tokens,
                period: Some(Duration::from_secs(60)),
                limit: Some(1000),
                remaining: Some(0),
                reset: Some(Reset::Full(Duration::from_millis(1))),
            },
            WindowSignal { unit: Unit::InFlight, period: None, limit: None, remaining: None, reset: None },
        ];
        let signals = Signals {
            windows: windows.into_iter().collect(),
            retry_after: Some(Duration::from_secs(2)),
            failure: Some(FailureClass::Transient),
            refused: Some(Refused::Access),
        };
        let out = BreakerReport::Out(FailureClass::Auth, ErrorKind::NotFound, Duration::from_secs(300));
        vec![
            Event::Take(taken, false),
            Event::Take(other, true),
            Event::Observe(at(8), other, signals.clone()),
            Event::Settle(at(10_000_000), taken, Some(Tokens { input: 1, output: 2 }), signals),
            Event::Settle(at(10_000_001), other, None, Signals::default()),
            Event::InFlight(70_000),
            Event::Cancel(at(0), other),
            Event::GiveBack(at(1), taken),
            Event::Enable(at(2)),
            Event::Breaker(at(3), u64::MAX, BreakerReport::Opened(Duration::from_secs(5), 3)),
            Event::Breaker(at(4), 1, out),
            Event::Breaker(at(5), 2, BreakerReport::Released),
            Event::Claim(at(6), 3, Duration::from_secs(30)),
            Event::Breaker(at(7), 3, BreakerReport::Closed),
        ]
    }

    #[test]
    fn events_survive_their_bytes() {
        let bytes = encode(&batch());
        assert_eq!(decode(&bytes).collect::<Vec<_>>(), batch());
        // An answer without signals is what nearly all are.
        assert!(encode(&batch()[4..5]).len() < 40);
    }

    #[test]
    fn damaged_bytes_are_survived() {
        let bytes = encode(&batch());
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).count() < batch().len());
        }
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..2000 {
            let mut damaged = bytes.clone();
            for _ in 0..1 + random.usize(..4) {
                let place = random.usize(..damaged.len());
                damaged[place] = random.u8(..);
            }
            let mut ledger: Box<Ledger> = bytemuck::allocation::zeroed_box();
            decode(&damaged).for_each(|event| event.apply(&mut ledger));
        }
    }
}
