//! Writes `docs/model-families.md` from the rules: `UPDATE_DOCS=1 cargo test --no-default-features --lib families`.

use std::fmt::Write;

use super::claude::{Forced, Model, Off, Thinking};
use super::gemini::{self, GEMINI, GEMMA, Rules};
use super::openai::ALL;
use super::{FAMILIES, TakesBack, UNKNOWN, takes_back};

const HEAD: &str = "\
# Rules of model families

This page lists which parameters each family of models accepts and rejects, on every provider with its own wire format that serves the family. It is generated from `src/providers/families`; after a change there, run `UPDATE_DOCS=1 cargo test --no-default-features --lib families`.

A model is recognised by any of its names: bare, dated, `…-latest`, with a region or a vendor in front (`us.anthropic.…`), followed by `@` and a date, or within an ARN or a path. The ARN of an inference profile or a deployment contains a number instead of a name, so its family is unknown.

OpenAI-compatible providers translate requests for their models themselves, and are sent the caller's parameters unchanged. The exception is reasoning models of OpenAI and xAI, for which `openai`, `azure`, `github` and `xai` follow the table below.

Claude is served by `anthropic`, `bedrock` and `vertex`. For Claude on Azure, use `anthropic` with the resource's address (`https://….services.ai.azure.com/anthropic`) as the base URL.
";

fn page() -> String {
    let mut page = HEAD.to_owned();
    page += "\n## Reasoning in the history, and stop sequences\n\n";
    page += "| family | reasoning of earlier responses that it accepts | stop sequences |\n|---|---|---|\n";
    for family in FAMILIES.iter().chain([&UNKNOWN]) {
        let back = match family.takes_back {
            TakesBack::Signed => "signed, by models that think",
            TakesBack::Unsigned => "unchanged, without a signature",
            TakesBack::Nothing => "none",
        };
        let stop = if family.takes_stop { "yes" } else { "–" };
        writeln!(page, "| {} | {back} | {stop} |", family.name).unwrap();
    }
    page += &claude();
    page += &gemini();
    page += &openai();
    page += "\n## Sources\n\n";
    page += "- Gemini: <https://ai.google.dev/gemini-api/docs/thinking>, <https://ai.google.dev/gemini-api/docs/function-calling#multimodal>, <https://ai.google.dev/gemini-api/docs/tool-combination>, <https://ai.google.dev/gemini-api/docs/thought-signatures>\n";
    page += "- OpenAI: <https://learn.microsoft.com/azure/ai-foundry/openai/how-to/reasoning>, <https://platform.openai.com/docs/guides/latest-model>, <https://platform.openai.com/docs/api-reference/chat/create>, <https://github.com/huggingface/smolagents/issues/1893>, <https://github.com/run-llama/llama_index/issues/20865>\n";
    page += "- xAI: <https://docs.x.ai/docs/guides/reasoning>, <https://github.com/miaoxworld/NativeTavern/issues/83>, <https://github.com/QuantumNous/new-api/pull/6081>, <https://github.com/lobehub/lobehub/issues/7370>\n";
    for family in FAMILIES {
        let links: Vec<String> = family.sources.iter().map(|source| format!("<{source}>")).collect();
        writeln!(page, "- {}: {}", family.name, links.join(", ")).unwrap();
    }
    page
}

/// One model of each generation; a name without a number counts as a new one.
const CLAUDES: &[&str] = &[
    "claude-3-haiku",
    "claude-3-5-sonnet",
    "claude-3-7-sonnet",
    "claude-sonnet-4",
    "claude-opus-4-1",
    "claude-sonnet-4-5",
    "claude-sonnet-4-6",
    "claude-opus-4-7",
    "claude-opus-4-8",
    "claude-sonnet-5",
    "claude-opus-5",
    "claude-fable-5",
    "claude-haiku-5-5",
    "claude-sonnet-5-5",
    "claude-opus-5-5",
    "claude-fable-5-1",
];

fn claude() -> String {
    let mut page = String::from("\n## Claude\n\n");
    page += "These rules apply to all Claude models:\n\n- Schemas of `response_format` and of strict tools get `additionalProperties: false`, and the limits of values are moved into descriptions.\n- A tool's schema gets the type `object`, and alternatives at its top level become one object.\n- Stop sequences that consist of white space only are rejected.\n- `reasoning_effort` is left out and listed in `dropped_params` if the model would reject thinking: together with a tool that must be called, and after tool calls that were made without thinking.\n- A `temperature`, `top_p` or `top_k` that the model rejects is left out and listed with `drop_params=True`.\n\nThe other rules depend on the model:\n\n";
    page += "| model | thinks | `reasoning_effort=\"none\"` | `temperature`, `top_p`, `top_k` | forced tool calls | `response_format` | accepts thinking in the history |\n|---|---|---|---|---|---|---|\n";
    for name in CLAUDES {
        let model = Model::of(name);
        let thinks = match model.thinking() {
            Thinking::Never => "–",
            Thinking::Budget => "with a budget",
            Thinking::Adaptive => "adaptive",
        };
        let off = match (model.thinking(), model.thinking_off()) {
            (Thinking::Never, _) | (_, Off::Unasked) => "nothing is sent".to_owned(),
            (_, Off::Word(word)) => format!("`{word}`"),
            (_, Off::LeastEffort) => "the lowest effort".to_owned(),
        };
        let sampling = match (model.has_sampling(), model.has_one_sampling(), model.thinking()) {
            (false, ..) => "–",
            (_, false, Thinking::Never) => "all",
            (_, false, _) => "all, unless it thinks",
            (_, true, _) => "one of the first two, unless it thinks",
        };
        let forced = match (model.forced_tools(), model.thinking()) {
            (Forced::Never, _) => "–",
            (Forced::WithoutThinking, Thinking::Budget | Thinking::Adaptive) => "unless it thinks",
            _ => "yes",
        };
        let format = match (model.has_output_format(), model.has_output_format_on_vertex()) {
            (true, true) => "yes",
            (true, false) => "yes; on `vertex` as an instruction",
            (false, _) => "as an instruction",
        };
        let back = if takes_back(name) == TakesBack::Signed { "signed" } else { "none" };
        writeln!(page, "| {name} | {thinks} | {off} | {sampling} | {forced} | {format} | {back} |").unwrap();
    }
    page
}

fn gemini() -> String {
    let mut page = String::from("\n## Gemini and Gemma\n\n");
    page += "An alias such as `gemini-flash-latest` has the rules of the model that it refers to.\n\n";
    page += "| models | thinking | media in a function's result | calls require signatures | Google's tools together with functions | system instruction |\n|---|---|---|---|---|---|\n";
    let named = |family: &'static str| move |rules: &'static Rules| (family, rules);
    let rows = GEMINI.iter().map(named("Gemini ")).chain(GEMMA.iter().map(named(""))).chain([("", &gemini::UNKNOWN)]);
    let yes = |is: bool| if is { "yes" } else { "–" };
    for (family, rules) in rows {
        let thinking = match rules.thinking {
            gemini::Thinking::Never => "–".to_owned(),
            gemini::Thinking::Always => "always".to_owned(),
            gemini::Thinking::Budget { min, max: i64::MAX, .. } => format!("a budget from {min}"),
            gemini::Thinking::Budget { min, max, may_be_off: true } => {
                format!("a budget of {min} to {max}, or 0")
            }
            gemini::Thinking::Budget { min, max, may_be_off: false } => format!("a budget of {min} to {max}"),
            gemini::Thinking::Levels(levels) => levels.join(", "),
        };
        let media = if rules.nested_media.is_empty() { "–".to_owned() } else { rules.nested_media.join(", ") };
        let [signatures, tools, instruction] =
            [rules.needs_signatures, rules.mixes_tools, rules.has_instruction].map(yes);
        writeln!(page, "| {family}{} | {thinking} | {media} | {signatures} | {tools} | {instruction} |", rules.models)
            .unwrap();
    }
    page
}

fn openai() -> String {
    let mut page = String::from("\n## Reasoning models of OpenAI and xAI\n\n");
    page += "These rules apply to chat completions and the Responses API. OpenAI's models are sent `max_tokens` as `max_completion_tokens`. A rejected parameter raises `UnsupportedParamsError` before anything is sent; with `drop_params=True` it is left out and listed. A value that is the default (a `temperature` of 1, a penalty of 0) is left out. On Azure the rules apply if the deployment's name begins with the model's. `gpt-5-chat` and similar models are sent the caller's parameters unchanged.\n\n";
    page += "| models | rejected | rejected with a `reasoning_effort` other than `none` | `reasoning_effort=\"none\"` |\n|---|---|---|---|\n";
    let names = |names: &[&str]| match names {
        [] => "–".to_owned(),
        names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    };
    for rules in ALL {
        let lowest = rules.lowest_effort.map_or("`none`".to_owned(), |effort| format!("`{effort}`"));
        let [refused, beside] = [rules.refused, rules.refused_beside_effort].map(names);
        writeln!(page, "| {} | {refused} | {beside} | {lowest} |", rules.models).unwrap();
    }
    page
}

#[cfg(test)]
mod tests {
    const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/model-families.md");

    #[test]
    fn the_page_says_what_the_code_does() {
        let page = super::page();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(PATH, &page).unwrap();
        }
        assert_eq!(std::fs::read_to_string(PATH).unwrap_or_default(), page, "UPDATE_DOCS=1 writes the page");
    }
}
