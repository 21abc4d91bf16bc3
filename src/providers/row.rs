//! A provider as data: its name, address and key, and what it spells differently.

use std::borrow::Cow;

use super::embeddings::{self, EmbeddingRow};
use super::media_sizes::{self, MediaSizes};
use super::rate_limits::{RateLimits, table};
use super::rerank::{self, RerankRow};
use super::structured::support as structured;
use super::tools::grammar::Grammar;
use super::{Deployment, Operation};

/// A provider's name and address, and what it spells differently from OpenAI.
///
/// Every field is taken from the provider's own documentation, whose address is the row's `docs`,
/// or from its own SDK where that says more.
#[derive(Debug)]
pub struct Row {
    /// The word before the slash in `provider/model`.
    pub name: &'static str,
    /// Address of the documentation that says all this.
    pub docs: &'static str,
    /// Base URL, version segment included, no trailing slash; empty if the caller has to give one.
    pub base_url: &'static str,
    /// True if the base URL has no version and chat completions alone are at the root: the rest is under `/v1`.
    pub root_is_chat: bool,
    /// Environment variables that hold a key; the first that is set wins.
    pub key_variables: &'static [&'static str],
    /// Environment variables that hold a base URL; the first that is set wins.
    pub base_url_variables: &'static [&'static str],
    /// Environment variables whose value stops before the path, as the vendor's own SDK reads them,
    /// and the path that follows: (variable, path). Looked at after `base_url_variables`. People put
    /// the whole base URL there too, so the path is added unless the value already ends with it.
    pub root_url_variables: &'static [(&'static str, &'static str)],
    /// Required if a call without a key is an error; a server on the user's own machine wants none.
    pub key: Key,
    /// True if a stream may be asked for its usage with `stream_options.include_usage`.
    pub stream_usage: bool,
    /// True if the usage of an answer says what the call cost, in US dollars, as OpenRouter's does.
    pub tells_cost: bool,
    /// True if a stream carries its usage unasked, from a provider that has no `stream_options`:
    /// the caller's own is not sent either. Never together with `stream_usage`.
    pub usage_unasked: bool,
    /// Parameters beside which the provider refuses `stream_options`, the caller's own too.
    pub no_stream_options_beside: &'static [&'static str],
    /// Parameters that have another name here: (OpenAI's, the provider's).
    pub spelled: &'static [(&'static str, &'static str)],
    /// Arguments of the provider's own, beside key and base URL.
    pub settings: &'static [Setting],
    /// True if the API has versions that a call may choose from, with `api_version`.
    pub api_versions: bool,
    /// OpenAI chat parameters documented as not available: they are refused before they are sent.
    /// A parameter that a provider documents as accepted and without effect is not listed: it is sent.
    pub unsupported: &'static [&'static str],
    /// Members of an assistant message in the history that are refused, null or empty ones too, though other hosts have
    /// them.
    pub refused_in_history: &'static [&'static str],
    /// True if reasoning models of OpenAI or xAI get here what the caller gave, so that it has to be what they take.
    pub fits_reasoning_models: bool,
    /// True if the provider has OpenAI's role `developer`; `system` says the same everywhere else.
    pub has_developer_role: bool,
    /// Names of tools and ids of calls that the provider takes.
    pub tools: Grammar,
    /// Operations of a provider with OpenAI's format, in groups. A host that is not known to lack an operation is asked,
    /// and answers itself that it has none. A wire of its own lists its operations as endpoints, and ignores this.
    pub operations: &'static [&'static [Operation]],
    /// Differences of its embeddings from OpenAI's.
    pub embedding: EmbeddingRow,
    /// Differences of its reranking from Cohere's.
    pub rerank: RerankRow,
    /// Structured output of its models.
    pub(super) structured: &'static [structured::Rule],
    /// Sizes of pictures and files that it takes.
    pub media: MediaSizes,
    /// Header fields that tell its rate limits, and how it counts tokens.
    pub rate_limits: &'static RateLimits,
}

/// A row with nothing but defaults: a hosted provider that needs a key.
pub(super) const HOSTED: Row = Row {
    name: "",
    docs: "",
    base_url: "",
    root_is_chat: false,
    key_variables: &[],
    base_url_variables: &[],
    root_url_variables: &[],
    key: Key::Required,
    stream_usage: false,
    tells_cost: false,
    usage_unasked: false,
    no_stream_options_beside: &[],
    spelled: &[],
    settings: &[],
    api_versions: false,
    unsupported: &[],
    refused_in_history: &[],
    fits_reasoning_models: false,
    has_developer_role: false,
    tools: Grammar::HOSTED,
    operations: &[MODELS],
    embedding: embeddings::PLAIN,
    rerank: rerank::PLAIN,
    structured: structured::ANY,
    media: media_sizes::UNKNOWN,
    rate_limits: &table::SILENT,
};

/// The defaults of a server that people run themselves: a key is optional.
pub(super) const OWN_SERVER: Row = Row { key: Key::Optional, tools: Grammar::ANY, rate_limits: &table::OWN, ..HOSTED };

/// Operations that every host is asked for that is not known to lack them.
pub(super) const MODELS: &[Operation] = &[Operation::Chat, Operation::Embedding, Operation::Responses];

/// Speech from text.
pub(super) const SPEECH: &[Operation] = &[Operation::Speech];

/// Counts of tokens.
pub(super) const TOKENS: &[Operation] = &[Operation::CountTokens];

/// Reranking.
pub(super) const RERANK: &[Operation] = &[Operation::Rerank];

/// OpenAI's files and batches.
pub(super) const FILES_AND_BATCHES: &[Operation] = &[
    Operation::FileCreate,
    Operation::FileList,
    Operation::FileRetrieve,
    Operation::FileContent,
    Operation::FileDelete,
    Operation::BatchCreate,
    Operation::BatchList,
    Operation::BatchRetrieve,
    Operation::BatchCancel,
    Operation::BatchResults,
    Operation::BatchOutput,
];

impl Row {
    /// Returns the path, below the base URL, of an operation other than chat: with the version, if the base URL has none.
    pub(super) fn below_version<'a>(&self, deployment: &Deployment, path: &'a str) -> Cow<'a, str> {
        match self.root_is_chat && !deployment.base_url.ends_with("/v1") {
            true => format!("v1/{path}").into(),
            false => path.into(),
        }
    }
}

/// An argument of a provider's own, which the environment may give too.
#[derive(Debug)]
pub struct Setting {
    /// The argument's name, as LiteLLM names it.
    pub name: &'static str,
    /// Environment variables that hold it; the first that is set wins.
    pub variables: &'static [&'static str],
    /// Subject of the setting.
    pub about: About,
}

/// Subject of a setting.
///
/// The settings that identify the caller are a set, together with the key: as soon as one of them is an argument, none is
/// read from the environment. One account's key must not be sent with another's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The address or the form of the API: a region, a version.
    Location,
    /// The caller, by a name that may be shown.
    Caller,
    /// The caller, by a secret.
    Secret,
}

impl Setting {
    /// Returns a setting about the address or the form of the API.
    pub(super) const fn location(name: &'static str, variables: &'static [&'static str]) -> Self {
        Self { name, variables, about: About::Location }
    }

    /// Returns a setting that identifies the caller, and is no secret.
    pub(super) const fn caller(name: &'static str, variables: &'static [&'static str]) -> Self {
        Self { name, variables, about: About::Caller }
    }

    /// Returns a setting that identifies the caller, and is a secret.
    pub(super) const fn secret(name: &'static str, variables: &'static [&'static str]) -> Self {
        Self { name, variables, about: About::Secret }
    }
}

/// Need of a provider for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A call without one is an `AuthenticationError` before anything is sent.
    Required,
    /// Sent when there is one; other credentials can stand in its place, such as a token or those of a cloud.
    OrCredentials,
    /// Sent when there is one: servers of one's own ask for none.
    Optional,
}
