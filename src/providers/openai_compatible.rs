//! Providers that are a row of [`TABLE`] and nothing else: each of their operations has one endpoint for all rows.

use std::sync::LazyLock;

use super::batch_rows::{self, BatchRows};
use super::chat::Chat;
use super::count_tokens::Tokenize;
use super::embeddings::Embeddings;
use super::http::{DestinationOf, Host, destination};
use super::rerank::Rerank;
use super::resources::{ROUTES, Resource};
use super::responses::Responses;
use super::speech::Speech;
use super::{Endpoint, Operation, Provider, Row, TABLE, errors};
use crate::error::Error;
use crate::types::http::HttpResponse;

/// A provider that is nothing but its row.
pub(super) struct OpenAiCompatible {
    row: &'static Row,
    endpoints: Endpoints,
}

impl OpenAiCompatible {
    /// Returns the provider of a row.
    pub fn of(row: &'static Row) -> Self {
        Self { row, endpoints: endpoints(row, &Chat { row }, destination) }
    }
}

static PROVIDERS: LazyLock<Vec<OpenAiCompatible>> = LazyLock::new(|| TABLE.iter().map(OpenAiCompatible::of).collect());

/// Returns the row of this name.
pub(super) fn row(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.name == name)
}

/// Endpoint of each operation that a row has.
pub(super) type Endpoints = Vec<(Operation, &'static dyn Endpoint)>;

/// Returns an endpoint in OpenAI's format for each operation that a row has. They live as long as the process.
pub(super) fn endpoints(
    row: &'static Row,
    chat: &(impl Endpoint + Clone + 'static),
    destination: DestinationOf,
) -> Endpoints {
    let host = Host { row, destination };
    let endpoint = |operation: &Operation| -> (Operation, &'static dyn Endpoint) {
        let endpoint: Box<dyn Endpoint> = match operation {
            Operation::Chat => Box::new(chat.clone()),
            Operation::Embedding => Box::new(Embeddings(host)),
            Operation::Responses => Box::new(Responses(host)),
            Operation::Rerank => Box::new(Rerank(host)),
            Operation::Speech => Box::new(Speech(host)),
            Operation::CountTokens => Box::new(Tokenize(host)),
            resource => {
                let route = ROUTES.iter().find(|route| route.operation == *resource).expect("each has its route");
                Box::new(Resource { host, route })
            }
        };
        (*operation, Box::leak(endpoint))
    };
    row.operations.iter().copied().flatten().map(endpoint).collect()
}

/// Returns the provider whose row has this name.
pub(super) fn lookup(name: &str) -> Option<&'static dyn Provider> {
    PROVIDERS.iter().find(|provider| provider.row.name == name).map(|provider| provider as &dyn Provider)
}

/// Returns a provider for each row.
pub(super) fn all() -> impl Iterator<Item = &'static dyn Provider> {
    PROVIDERS.iter().map(|provider| provider as &dyn Provider)
}

impl Provider for OpenAiCompatible {
    fn row(&self) -> &'static Row {
        self.row
    }

    fn endpoints(&self) -> &[(Operation, &'static dyn Endpoint)] {
        &self.endpoints
    }

    fn decode_error(&self, response: &HttpResponse) -> Box<Error> {
        errors::from_response(self.row.name, response)
    }

    fn batch_rows(&self) -> Option<&'static dyn BatchRows> {
        let has_batches = self.endpoints.iter().any(|(operation, _)| *operation == Operation::BatchCreate);
        // https://platform.openai.com/docs/guides/batch, https://console.groq.com/docs/batch: half the price.
        let is_known = !self.row.base_url.is_empty();
        has_batches.then_some(if is_known { &batch_rows::OPENAI } else { &batch_rows::UNKNOWN_HOST })
    }
}
