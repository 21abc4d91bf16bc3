//! Types of OpenAI's API, plain HTTP messages and JSON helpers. No vendor-specific types, no sockets, no Python.

pub mod accumulate;
pub mod answer;
pub mod completion;
pub mod credentials;
pub mod dot_segments;
pub mod embedding;
pub mod http;
pub mod json_template;
pub mod lenient;
pub mod media;
pub mod members;
pub mod merge;
pub mod object;
pub mod operation;
pub mod params;
pub mod redact;
pub mod request;
pub mod response;
pub mod secret;
pub mod secrets;
pub mod shared;
pub mod snapshot;
pub mod strict;
pub mod unix_socket;
pub mod values;
