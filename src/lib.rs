//! RiteLLM's core: one OpenAI-format interface to every LLM provider.
//!
//! The modules, and the direction of their dependencies:
//!
//! ```text
//! python → bulk → cache → router → client → { providers, credentials } → { types, error }
//!                                    ├→ transport ←┘       transport   → { types, error }
//!                                    └→ store → { limits, transport, platform, types, error }
//! limits, catalog, schema → { types, error }
//! python → testing → { providers, transport } → { types, error }
//! ```
//!
//! - [`bulk`]: many calls from the rows of a table, with a journal that survives the process.
//! - [`cache`]: answers that are kept, and one call for many who ask the same at once.
//! - [`router`]: the deployment that a call goes to next: strategies, breakers, fallbacks, hedges.
//! - [`catalog`]: limits and prices of models, from tables that a client is given. No I/O, no clock, no vendor.
//! - [`client`]: the hot path: encode → send (retries, deadlines) → decode.
//! - [`providers`]: the vendors' formats and rules. No sockets, no clock, no Python.
//! - [`schema`]: checks of JSON values against JSON schemas. No I/O, no vendor.
//! - [`limits`]: budgets and pacing of quotas, as state machines. No I/O, no clock, no vendor.
//! - [`platform`]: what only some systems have: memory that processes share, locks that end with their process.
//! - [`credentials`]: lookup of credentials in files and on other servers, as a provider describes them in `types`.
//! - [`store`]: places where quotas are shared: this host's memory, a Redis. The only layer that knows Redis.
//! - [`testing`]: a server that stands for the providers in tests, on a thread of its own. No client, no Python.
//! - [`transport`]: connections, deadlines and stream framing. No vendor-specific code.
//! - [`types`]: OpenAI's types and plain HTTP messages.
//! - [`error`]: the error type.
//! - `python`: the Python module, the only one that uses pyo3; enabled by the feature of the same name.
//!
//! The output of [`client`] is JSON in OpenAI's format, as bytes: the provider's own bytes where it uses that format.

pub mod bulk;
pub mod cache;
pub mod catalog;
pub mod client;
pub mod credentials;
pub mod error;
pub mod limits;
pub mod platform;
pub mod providers;
#[cfg(feature = "python")]
mod python;
pub mod router;
pub mod schema;
pub mod store;
pub mod testing;
pub mod transport;
pub mod types;
