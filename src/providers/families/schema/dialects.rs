//! What models and hosts take, as data.

/// Schemas that a model or a host takes.
#[derive(Debug)]
pub(in crate::providers) struct Dialect {
    /// Keywords that are accepted whatever their value.
    pub(super) accepted: &'static [&'static str],
    /// Formats of strings that are accepted.
    pub(super) formats: &'static [&'static str],
    /// Patterns of strings that are accepted.
    pub(super) patterns: Patterns,
    /// True if choices may be of any primitive type, and otherwise only strings and numbers.
    pub(super) any_choices: bool,
    /// True if a type may be a list of types; otherwise alternatives stand for it.
    pub(super) type_lists: bool,
    /// Maximum value of `minItems`.
    pub(super) max_min_items: u64,
    /// True if objects have to be closed.
    pub(super) closed: bool,
    /// Properties that have to be required.
    pub(super) required: Required,
    /// True if what stands beside a reference is merged into a copy of what it refers to, and otherwise dropped.
    pub(super) merges_references: bool,
    /// Schemas that refer to themselves.
    pub(super) recursion: Recursion,
    /// Maximum size.
    pub(super) limits: Limits,
}

/// Patterns of strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patterns {
    /// Not accepted.
    None,
    /// Regular expressions in the strict sense.
    Regular,
    /// The same without anchors: a pattern is one of the whole string.
    Whole,
}

/// Properties that have to be required.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Required {
    /// Those that the schema says.
    AsGiven,
    /// One of each object at least.
    Some,
    /// All.
    All,
}

/// Schemas that refer to themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recursion {
    /// Refused.
    Never,
    /// Accepted where a property on the way is not required.
    Optional,
    /// Accepted.
    Always,
}

/// Maximum numbers of what all objects of a schema have together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Properties that are not required.
    pub optional: usize,
    /// Properties with alternatives, such as `Optional` makes them.
    pub unions: usize,
    /// Alternatives of one property.
    pub alternatives: usize,
    /// Properties.
    pub properties: usize,
    /// Choices of all `enum`.
    pub choices: usize,
    /// Characters in the names of properties and definitions and in choices.
    pub characters: usize,
}

/// No limit is documented.
const UNLIMITED: Limits = Limits {
    optional: usize::MAX,
    unions: usize::MAX,
    alternatives: usize::MAX,
    properties: usize::MAX,
    choices: usize::MAX,
    characters: usize::MAX,
};

/// Structured output of Claude and of Bedrock.
///
/// <https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations>,
/// <https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html>
pub(in crate::providers) static CLAUDE: Dialect = Dialect {
    accepted: &[
        "$defs",
        "$ref",
        "additionalProperties",
        "allOf",
        "anyOf",
        "default",
        "definitions",
        "description",
        "items",
        "properties",
        "required",
        "title",
        "type",
    ],
    formats: FORMATS,
    patterns: Patterns::Regular,
    any_choices: true,
    type_lists: true,
    // A schema may only say whether a list can be empty.
    max_min_items: 1,
    closed: true,
    required: Required::AsGiven,
    merges_references: false,
    recursion: Recursion::Never,
    // The messages of the API name both: "Schemas contains too many optional parameters … limit: 24"
    // (<https://github.com/elie222/inbox-zero/issues/2323>), "… too many parameters with union types (24 parameters with type
    // arrays or anyOf) … limit: 16", which public programs quote alike.
    limits: Limits { optional: 24, unions: 16, ..UNLIMITED },
};

/// OpenAI's strict schemas: <https://platform.openai.com/docs/guides/structured-outputs#supported-schemas>. A `default` is
/// refused (<https://github.com/567-labs/instructor/issues/1074>), as is anything beside a reference
/// (<https://github.com/vectorize-io/hindsight/pull/3944>).
pub(in crate::providers) static OPENAI: Dialect = Dialect {
    accepted: &[
        "$defs",
        "$ref",
        "additionalProperties",
        "anyOf",
        "definitions",
        "description",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "items",
        "maximum",
        "maxItems",
        "minimum",
        "multipleOf",
        "properties",
        "required",
        "title",
        "type",
    ],
    // As Claude's, without addresses on the web.
    formats: &["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"],
    patterns: Patterns::Regular,
    any_choices: true,
    type_lists: true,
    max_min_items: u64::MAX,
    closed: true,
    required: Required::All,
    merges_references: true,
    recursion: Recursion::Always,
    limits: Limits { properties: 5000, choices: 1000, characters: 120_000, ..UNLIMITED },
};

/// Keywords that every host with strict schemas takes.
const KEYWORDS: &[&str] = &[
    "$defs",
    "$ref",
    "additionalProperties",
    "anyOf",
    "definitions",
    "description",
    "items",
    "properties",
    "required",
    "title",
    "type",
];

/// The keywords that every host with strict schemas takes, and Cerebras' own limits:
/// <https://inference-docs.cerebras.ai/capabilities/structured-outputs>.
pub(in crate::providers) static BARE: Dialect = Dialect {
    accepted: KEYWORDS,
    formats: &[],
    patterns: Patterns::None,
    type_lists: false,
    max_min_items: 0,
    recursion: Recursion::Never,
    limits: Limits { alternatives: 5, ..OPENAI.limits },
    ..OPENAI
};

/// Gemini's `responseJsonSchema`: <https://ai.google.dev/api/generate-content#FIELDS.response_json_schema>. It takes `maxItems`
/// as well, but multiplies them: schemas with several, or with large ones, are a 400 that names nothing
/// (<https://github.com/googleapis/python-genai/issues/2170>, <https://github.com/vercel/ai/issues/21192>).
pub(in crate::providers) static GEMINI: Dialect = Dialect {
    accepted: &[
        "$defs",
        "$ref",
        "additionalProperties",
        "anyOf",
        "description",
        "items",
        "maximum",
        "minimum",
        "prefixItems",
        "properties",
        "propertyOrdering",
        "required",
        "title",
        "type",
    ],
    formats: &["date-time", "date", "time"],
    patterns: Patterns::None,
    any_choices: false,
    type_lists: true,
    max_min_items: u64::MAX,
    closed: false,
    required: Required::AsGiven,
    merges_references: true,
    recursion: Recursion::Optional,
    limits: UNLIMITED,
};

/// Cohere's: <https://docs.cohere.com/docs/structured-outputs#parameter-types-support>.
pub(in crate::providers) static COHERE: Dialect = Dialect {
    accepted: KEYWORDS,
    formats: &["date-time", "date", "time", "uuid"],
    patterns: Patterns::Whole,
    any_choices: true,
    type_lists: true,
    max_min_items: 0,
    closed: false,
    required: Required::Some,
    merges_references: true,
    recursion: Recursion::Never,
    limits: UNLIMITED,
};

/// Formats of strings that Claude accepts.
const FORMATS: &[&str] = &["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];
