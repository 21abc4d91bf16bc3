//! Names of providers in OpenTelemetry's semantic conventions.

/// Returns the value of `gen_ai.provider.name` for a provider: its own name where the conventions have none.
///
/// Source: <https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/registry/attributes/gen-ai.md>
pub fn telemetry_name(provider: &str) -> &str {
    match provider {
        "azure" => "azure.ai.openai",
        "bedrock" => "aws.bedrock",
        "gemini" => "gcp.gemini",
        "mistral" => "mistral_ai",
        "moonshot" => "moonshot_ai",
        "vertex" => "gcp.vertex_ai",
        "xai" => "x_ai",
        own => own,
    }
}
