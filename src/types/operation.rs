//! The operations that a provider can offer, each described by one row of [`SPECS`].
//!
//! To add an operation, add a variant, a row, and an endpoint to each provider that offers it. All other code reads the
//! name of the input, the class of the result and the form of the stream from the row.

/// An operation of a provider, each with an endpoint of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Operation {
    /// Chat completions.
    #[default]
    Chat,
    /// Embeddings: vectors for texts.
    Embedding,
    /// Responses of OpenAI's Responses API.
    Responses,
    /// Rerank: documents in the order of their relevance to a query.
    Rerank,
    /// Text to speech: audio bytes.
    Speech,
    /// The number of tokens of a prompt.
    CountTokens,
    /// Uploads a file.
    FileCreate,
    /// Lists the account's files, one page at a time.
    FileList,
    /// Retrieves the description of a file.
    FileRetrieve,
    /// Downloads the content of a file.
    FileContent,
    /// Deletes a file.
    FileDelete,
    /// Starts a batch of calls.
    BatchCreate,
    /// Lists the account's batches, one page at a time.
    BatchList,
    /// Retrieves the state of a batch.
    BatchRetrieve,
    /// Cancels a batch.
    BatchCancel,
    /// Downloads the results of a batch, one JSON object each.
    BatchResults,
    /// Downloads the results of a batch as the provider wrote them.
    BatchOutput,
    /// Starts a batch whose requests are in a file of the caller's, in the provider's own format.
    BatchSubmit,
}

/// Description of an operation: its name, its input and its output.
#[derive(Debug)]
pub struct Spec {
    /// The operation of this row.
    pub operation: Operation,
    /// Name of the operation on the boundary to Python.
    pub name: &'static str,
    /// Noun for the operation's results, used in error messages about providers that lack it.
    pub noun: &'static str,
    /// Name of the request parameter that holds the input.
    pub input: &'static str,
    /// True if a call may omit the input.
    pub input_optional: bool,
    /// True if the operation belongs to a model; all others belong to an account.
    pub has_model: bool,
    /// Form of the answer.
    pub output: Output,
    /// Form of the stream.
    pub streaming: Streaming,
}

/// Form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// A chat completion.
    ChatCompletion,
    /// A list of embeddings.
    EmbeddingResponse,
    /// A response of OpenAI's Responses API.
    Response,
    /// Ranked documents.
    RerankResponse,
    /// Description of a file.
    FileObject,
    /// Confirmation that a file was deleted.
    FileDeleted,
    /// A page of files.
    FilePage,
    /// State of a batch.
    Batch,
    /// A page of batches.
    BatchPage,
    /// A JSON object without a class of its own.
    Object,
    /// Bytes that are not JSON.
    Binary,
}

/// Form of an operation's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streaming {
    /// The operation does not stream.
    None,
    /// Chat completion chunks.
    Chunks,
    /// Events of the Responses API.
    Events,
    /// JSON objects that are not accumulated into one answer.
    Objects,
    /// Bytes in the pieces in which they are received.
    Bytes,
}

impl Spec {
    const fn new(operation: Operation, name: &'static str, noun: &'static str, input: &'static str) -> Self {
        Self {
            operation,
            name,
            noun,
            input,
            input_optional: false,
            has_model: true,
            output: Output::Object,
            streaming: Streaming::None,
        }
    }

    /// Creates the row of an operation that belongs to an account, not to a model.
    const fn of_account(operation: Operation, name: &'static str, noun: &'static str, input: &'static str) -> Self {
        Self { has_model: false, ..Self::new(operation, name, noun, input) }
    }

    const fn giving(self, output: Output) -> Self {
        Self { output, ..self }
    }

    const fn streaming(self, streaming: Streaming) -> Self {
        Self { streaming, ..self }
    }

    const fn without_input(self) -> Self {
        Self { input_optional: true, ..self }
    }
}

/// Every operation, in the order of the variants.
pub static SPECS: [Spec; 18] = [
    Spec::new(Operation::Chat, "chat", "chat completions", "messages")
        .giving(Output::ChatCompletion)
        .streaming(Streaming::Chunks),
    Spec::new(Operation::Embedding, "embedding", "embeddings", "input").giving(Output::EmbeddingResponse),
    // The input is optional: a stored prompt or an earlier response may replace it.
    Spec::new(Operation::Responses, "responses", "responses", "input")
        .without_input()
        .giving(Output::Response)
        .streaming(Streaming::Events),
    Spec::new(Operation::Rerank, "rerank", "rankings", "query").giving(Output::RerankResponse),
    Spec::new(Operation::Speech, "speech", "speech", "input").giving(Output::Binary).streaming(Streaming::Bytes),
    Spec::new(Operation::CountTokens, "count_tokens", "counts of tokens", "messages"),
    Spec::of_account(Operation::FileCreate, "file_create", "files", "file").giving(Output::FileObject),
    Spec::of_account(Operation::FileList, "file_list", "files", "after").without_input().giving(Output::FilePage),
    Spec::of_account(Operation::FileRetrieve, "file_retrieve", "files", "file_id").giving(Output::FileObject),
    Spec::of_account(Operation::FileContent, "file_content", "files' contents", "file_id")
        .giving(Output::Binary)
        .streaming(Streaming::Bytes),
    Spec::of_account(Operation::FileDelete, "file_delete", "files", "file_id").giving(Output::FileDeleted),
    Spec::of_account(Operation::BatchCreate, "batch_create", "batches", "requests")
        .without_input()
        .giving(Output::Batch),
    Spec::of_account(Operation::BatchList, "batch_list", "batches", "after").without_input().giving(Output::BatchPage),
    Spec::of_account(Operation::BatchRetrieve, "batch_retrieve", "batches", "batch_id").giving(Output::Batch),
    Spec::of_account(Operation::BatchCancel, "batch_cancel", "batches", "batch_id").giving(Output::Batch),
    Spec::of_account(Operation::BatchResults, "batch_results", "batches' results", "output_file_id")
        .streaming(Streaming::Objects),
    Spec::of_account(Operation::BatchOutput, "batch_output", "batches' results", "output_file_id")
        .giving(Output::Binary)
        .streaming(Streaming::Bytes),
    Spec::of_account(Operation::BatchSubmit, "batch_submit", "batches", "file").giving(Output::Batch),
];

impl Operation {
    /// Returns the row of this operation.
    #[inline]
    pub fn spec(self) -> &'static Spec {
        &SPECS[self as usize]
    }

    /// Returns true for the creation of a batch: one that arrives twice is paid twice, and makes no noise.
    #[inline]
    pub fn buys_a_batch(self) -> bool {
        matches!(self, Self::BatchCreate | Self::BatchSubmit)
    }

    /// Returns the operation of this name.
    pub fn named(name: &str) -> Option<Self> {
        SPECS.iter().find(|spec| spec.name == name).map(|spec| spec.operation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_finds_its_row() {
        for (index, spec) in SPECS.iter().enumerate() {
            assert_eq!(spec.operation as usize, index);
            assert_eq!(Operation::named(spec.name), Some(spec.operation));
            assert_eq!(spec.operation.spec().name, spec.name);
        }
    }
}
