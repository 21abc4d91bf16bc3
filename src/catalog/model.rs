//! The entry of a model: its limits, its prices, and the cost of a call.

use crate::types::usage::Usage;

/// Number of classes of tokens.
pub(super) const CLASSES: usize = 9;

/// The classes of tokens, by their names in a table.
pub(super) const NAMES: [&str; CLASSES] = [
    "input",
    "cached",
    "cache_write",
    "cache_write_hour",
    "audio_input",
    "image_input",
    "output",
    "reasoning",
    "audio_output",
];

/// Number of tokens of each class, in the order of [`NAMES`].
fn counts(usage: &Usage) -> [u64; CLASSES] {
    let Usage {
        input,
        cached_read,
        cache_write,
        cache_write_hour,
        output,
        reasoning,
        audio_input,
        audio_output,
        image_input,
    } = *usage;
    [input, cached_read, cache_write, cache_write_hour, audio_input, image_input, output, reasoning, audio_output]
}

/// Limits and prices of a model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Model {
    /// Number of tokens that input and output may have together.
    pub context_window: Option<u64>,
    /// Number of tokens that an output may have.
    pub max_output_tokens: Option<u64>,
    /// Prices; of several that are valid, the last one counts, and if none is, the first one.
    pub(super) periods: Vec<Period>,
    /// Prices of service tiers and of batches, by name.
    pub(super) services: Vec<(&'static str, Service)>,
}

/// The names of service tiers whose prices an entry may have.
pub(super) const SERVICES: [&str; 3] = ["batch", "flex", "priority"];

/// Names of the usual service tier, in requests and answers.
const USUAL: [&str; 5] = ["auto", "default", "on_demand", "standard", "standard_only"];

/// Prices of a service tier.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Service {
    /// Part of the usual price.
    Part(f64),
    /// Prices of its own.
    Own(Period),
}

/// Prices, and the time at which they are valid.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Period {
    pub valid: Valid,
    /// Price of a request in US dollars, in addition to that of its tokens.
    pub request: f64,
    /// Price of a second of the call in US dollars, in addition.
    pub second: f64,
    /// Prices by the number of input tokens: the last one whose threshold is exceeded counts for all tokens.
    pub tiers: Vec<Tier>,
}

/// Time at which prices are valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Valid {
    Always,
    /// From this day on, in days since 1970.
    From(u64),
    /// Between these two seconds of each day (UTC); if the second is smaller, across midnight.
    Daily(u64, u64),
}

/// Prices of calls with more than a number of input tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tier {
    /// The number of input tokens that is to be exceeded. The first tier has no threshold.
    pub above: Option<u64>,
    /// Price of a million tokens of each class in US dollars.
    pub prices: [Option<f64>; CLASSES],
}

impl Valid {
    fn is_valid(self, at: u64) -> bool {
        let second = at % 86_400;
        match self {
            Self::Always => true,
            Self::From(day) => at / 86_400 >= day,
            Self::Daily(start, end) if end < start => second >= start || second < end,
            Self::Daily(start, end) => (start..end).contains(&second),
        }
    }
}

impl Model {
    /// Returns the cost of a call in US dollars, at a time in seconds since 1970, or `None` if it is not known: tokens of a
    /// class without a price make it unknown, not smaller.
    pub fn cost(&self, usage: &Usage, at: u64) -> Option<f64> {
        self.cost_of(&Bill { usage: Some(*usage), ..Bill::default() }, at)
    }

    /// Returns the cost of a call, likewise, of which more is known. It is not known of a service tier that the entry does not
    /// have.
    pub fn cost_of(&self, bill: &Bill<'_>, at: u64) -> Option<f64> {
        let usual = self.usual(at);
        match bill.service.filter(|service| !USUAL.contains(service)) {
            None => usual?.cost(bill),
            Some(name) => match &self.services.iter().find(|(known, _)| *known == name)?.1 {
                Service::Part(part) => usual?.cost(bill).map(|cost| cost * part),
                Service::Own(period) => period.cost(bill),
            },
        }
    }

    /// Returns true if no call costs anything at a time in seconds since 1970: the entry has prices, all of them 0.
    pub fn is_free(&self, at: u64) -> bool {
        let is_free = |(_, service): &(_, Service)| match service {
            Service::Part(_) => true,
            Service::Own(period) => period.is_free(),
        };
        self.usual(at).is_some_and(Period::is_free) && self.services.iter().all(is_free)
    }

    /// Returns the prices of the usual service tier that are valid at a time.
    fn usual(&self, at: u64) -> Option<&Period> {
        self.periods.iter().rev().find(|period| period.valid.is_valid(at)).or(self.periods.first())
    }

    /// Returns true if a prompt of about this many tokens exceeds the context window, as far as that is known.
    pub fn is_too_small_for(&self, input: u64) -> bool {
        self.context_window.is_some_and(|window| input > window)
    }
}

/// What the cost of a call depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bill<'a> {
    /// Its tokens, if they are told.
    pub usage: Option<Usage>,
    /// Name of its service tier, if it is told.
    pub service: Option<&'a str>,
    /// Its duration in seconds, if it is known.
    pub seconds: Option<f64>,
}

impl Period {
    fn is_free(&self) -> bool {
        let mut prices = self.tiers.iter().flat_map(|tier| tier.prices).flatten().chain([self.request, self.second]);
        prices.all(|price| price == 0.0)
    }

    fn cost(&self, bill: &Bill<'_>) -> Option<f64> {
        let of_time = if self.second > 0.0 { self.second * bill.seconds? } else { 0.0 };
        let apart = self.request + of_time;
        let are_tokens_priced = self.tiers.iter().any(|tier| tier.prices.iter().any(Option::is_some));
        // Where only the request or the time has a price, tokens cost nothing.
        if !are_tokens_priced && (self.request > 0.0 || self.second > 0.0) {
            return Some(apart);
        }
        let usage = bill.usage.as_ref()?;
        let input = usage.all_input();
        let tier = self.tiers.iter().rev().find(|tier| tier.above.is_none_or(|above| input > above))?;
        let mut millionths = 0.0;
        for (count, price) in counts(usage).into_iter().zip(tier.prices) {
            if count > 0 {
                millionths += count as f64 * price?;
            }
        }
        Some(millionths / 1e6 + apart)
    }
}
