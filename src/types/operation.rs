//! The operations: what can be asked of a provider, each described in one row of [`SPECS`].
//!
//! Adding an operation is a variant, a row, and a provider's endpoint for it. What an argument's name, the class of its
//! result and the form of its stream are is read from the row everywhere else.

/// What can be asked of a provider, each with an endpoint of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Operation {
    /// Chat completions.
    #[default]
    Chat,
    /// Vectors for texts.
    Embedding,
    /// OpenAI's Responses.
    Responses,
    /// Documents in the order of their relevance to a query.
    Rerank,
    /// Text to speech: audio bytes.
    Speech,
    /// Uploads a file.
    FileCreate,
    /// One page of the account's files.
    FileList,
    /// What is known of a file.
    FileRetrieve,
    /// A file's bytes.
    FileContent,
    /// Deletes a file.
    FileDelete,
    /// Starts a batch of calls.
    BatchCreate,
    /// One page of the account's batches.
    BatchList,
    /// The state of a batch.
    BatchRetrieve,
    /// Cancels a batch.
    BatchCancel,
    /// The results of a batch, one JSON object each.
    BatchResults,
}

/// What an operation is called, takes and gives.
#[derive(Debug)]
pub struct Spec {
    /// The operation of this row.
    pub operation: Operation,
    /// Its name on the boundary to Python.
    pub name: &'static str,
    /// What a provider has that offers it, as error messages say it.
    pub noun: &'static str,
    /// The request parameter that its input is sent under.
    pub input: &'static str,
    /// Whether a call may leave its input out.
    pub input_optional: bool,
    /// Whether it is asked of a model; the others are asked of an account.
    pub has_model: bool,
    /// What its answer is.
    pub output: Output,
    /// How it streams.
    pub streaming: Streaming,
}

/// The form of an answer.
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
    /// A file's description.
    FileObject,
    /// That a file was deleted.
    FileDeleted,
    /// A page of files.
    FilePage,
    /// A batch's state.
    Batch,
    /// A page of batches.
    BatchPage,
    /// A JSON object without a class of its own.
    Object,
    /// Bytes that are no JSON.
    Binary,
}

/// The form of an operation's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streaming {
    /// It has none.
    None,
    /// Chat completion chunks.
    Chunks,
    /// Events of a response.
    Events,
    /// JSON objects that do not make up one answer.
    Objects,
    /// Bytes as they come.
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

    /// Asked of an account, not of a model.
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
pub static SPECS: [Spec; 15] = [
    Spec::new(Operation::Chat, "chat", "chat completions", "messages")
        .giving(Output::ChatCompletion)
        .streaming(Streaming::Chunks),
    Spec::new(Operation::Embedding, "embedding", "embeddings", "input").giving(Output::EmbeddingResponse),
    // A stored prompt or an earlier response may stand for the input.
    Spec::new(Operation::Responses, "responses", "responses", "input")
        .without_input()
        .giving(Output::Response)
        .streaming(Streaming::Events),
    Spec::new(Operation::Rerank, "rerank", "rankings", "query").giving(Output::RerankResponse),
    Spec::new(Operation::Speech, "speech", "speech", "input").giving(Output::Binary).streaming(Streaming::Bytes),
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
];

impl Operation {
    /// Its row.
    #[inline]
    pub fn spec(self) -> &'static Spec {
        &SPECS[self as usize]
    }

    /// The operation of this name.
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
