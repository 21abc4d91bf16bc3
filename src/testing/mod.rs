//! What users test their own programs with: a server that stands for the providers, and one that plays recorded answers.
//!
//! - [`server`]: the thread and the port of a server.
//! - [`connection`]: the server's side of HTTP/1.1.
//! - [`reply`]: an answer as it is written.
//! - [`relay`]: a server that plays recorded answers, and records others.
//! - [`script`]: which answer a request gets. No I/O; the time comes in as an argument.
//! - [`window`]: limits of requests and tokens that the server enforces.
//! - [`mock`]: a server with a script.
//!
//! The answers' formats stand in `providers::mock`.

mod connection;
pub mod mock;
pub mod relay;
mod reply;
pub mod script;
mod server;
mod window;
