//! Keyword arguments of calls and clients: read, checked, and told apart from parameters of the request.

mod body;
pub(crate) mod budget;
pub(crate) mod cache;
mod catalog;
pub(crate) mod concealed;
pub(crate) mod configuration;
pub(crate) mod connection;
pub(crate) mod defaults;
pub(crate) mod foreign;
pub(crate) mod functions;
pub(crate) mod job;
pub(crate) mod limits;
mod options;
pub(crate) mod parse;
pub(crate) mod pickling;
pub(crate) mod readers;
pub(crate) mod router;
pub(crate) mod routing;
pub(crate) mod settings;
pub(crate) mod upload;
mod withheld;
