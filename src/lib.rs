//! RiteLLM's core: one OpenAI-format interface to every LLM provider.
//!
//! The rooms, and which way they may look:
//!
//! ```text
//! python → client → { providers, credentials } → { types, error }
//!             └→ transport ←┘       transport   → { types, error }
//! ```
//!
//! - [`client`]: the hot path: encode → send (retry, deadlines) → decode.
//! - [`providers`]: vendors. No socket, no clock, no Python.
//! - [`credentials`]: those that lie in files or with other servers. A provider says in words of `types` what it wants.
//! - [`transport`]: bytes and time. No vendor.
//! - [`types`]: OpenAI's shapes and plain HTTP messages.
//! - [`error`]: one error.
//! - `python`: the only room that knows Python; behind the feature of that name.
//!
//! What leaves [`client`] is OpenAI-shaped JSON, as bytes: for OpenAI-shaped providers the provider's own.

pub mod client;
pub mod credentials;
pub mod error;
pub mod providers;
#[cfg(feature = "python")]
mod python;
pub mod transport;
pub mod types;
