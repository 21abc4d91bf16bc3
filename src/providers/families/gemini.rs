//! Rules of Google's models by name and generation, on the Gemini API and on Vertex AI.
//!
//! - Thinking: <https://ai.google.dev/gemini-api/docs/thinking>, <https://cloud.google.com/vertex-ai/generative-ai/docs/thinking>
//! - Media in a function's result: <https://ai.google.dev/gemini-api/docs/function-calling#multimodal>
//! - Google's tools beside functions: <https://ai.google.dev/gemini-api/docs/tool-combination>
//! - Signatures: <https://ai.google.dev/gemini-api/docs/thought-signatures>

/// Rules of some models. A model follows the first row that matches its name.
#[derive(Debug)]
pub(in crate::providers) struct Rules {
    /// Their name on the page of the model families.
    pub models: &'static str,
    /// First and last generation.
    generations: (Generation, Generation),
    /// Words of which the name has to hold one; an empty list matches any name.
    words: &'static [&'static str],
    /// Control of thinking.
    pub thinking: Thinking,
    /// Media types that a function's result may hold; others are a 400.
    pub nested_media: &'static [&'static str],
    /// True if each picture may have a resolution of its own: <https://ai.google.dev/gemini-api/docs/media-resolution>.
    pub has_part_resolution: bool,
    /// True if a function call in the history needs a signature.
    pub needs_signatures: bool,
    /// True if Google's own tools are allowed beside functions.
    pub mixes_tools: bool,
    /// True if there is a system instruction; otherwise its text begins the first message.
    pub has_instruction: bool,
}

/// Control of the amount of thinking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::providers) enum Thinking {
    /// The model does not think, and refuses the parameter.
    Never,
    /// The model always thinks; the amount cannot be set.
    Always,
    /// A budget in tokens between `min` and `max`; also 0, no thinking, with `may_be_off`.
    Budget { min: i64, max: i64, may_be_off: bool },
    /// One of these levels, the least first. Thinking cannot be switched off.
    Levels(&'static [&'static str]),
}

/// Number of a generation, such as (2, 5).
type Generation = (u32, u32);

const FIRST: Generation = (0, 0);
const LAST: Generation = (u32::MAX, 0);

/// Efforts in the order of their strength.
const EFFORTS: &[&str] = &["minimal", "low", "medium", "high", "xhigh"];

const NESTED_MEDIA: &[&str] = &["image/png", "image/jpeg", "image/webp", "application/pdf", "text/plain"];

/// Rules of models before Gemini 3.
const EARLIER: Rules = Rules {
    models: "",
    generations: (FIRST, LAST),
    words: &[],
    thinking: Thinking::Never,
    nested_media: &[],
    has_part_resolution: false,
    needs_signatures: false,
    mixes_tools: false,
    has_instruction: true,
};

/// Rules of models from Gemini 3 on.
const FROM_3_ON: Rules = Rules {
    generations: ((3, 0), LAST),
    thinking: Thinking::Levels(&["low", "medium", "high"]),
    nested_media: NESTED_MEDIA,
    has_part_resolution: true,
    needs_signatures: true,
    mixes_tools: true,
    ..EARLIER
};

const ALL_LEVELS: Thinking = Thinking::Levels(&["minimal", "low", "medium", "high"]);

/// Names without a generation, or with another than that of their model: (beginning of the name, a model with the same
/// rules). An alias moves to a new model with each release; all models that it has stood for since Gemini 3 take these rules.
const ALIASES: &[(&str, &str)] = &[
    ("gemini-pro-latest", "gemini-3.1-pro"),
    ("gemini-flash-latest", "gemini-3.8-flash"),
    ("gemini-flash-lite-latest", "gemini-3.5-flash-lite"),
    ("gemini-pro", "gemini-1.0-pro"),
    // These models are built on Gemini 2.5: <https://ai.google.dev/gemini-api/docs/robotics-overview>.
    ("gemini-robotics-er-1.5", "gemini-2.5-flash"),
    ("gemini-live-2.5", "gemini-2.5-flash"),
];

/// Rules of Gemini's models.
pub(in crate::providers) const GEMINI: &[Rules] = &[
    Rules { models: "3 Pro Image", words: &["pro-image"], thinking: Thinking::Always, ..FROM_3_ON },
    Rules {
        models: "3.x Flash Image",
        words: &["image"],
        thinking: Thinking::Levels(&["minimal", "high"]),
        ..FROM_3_ON
    },
    Rules { models: "3.x speech (tts)", words: &["tts"], thinking: Thinking::Never, ..FROM_3_ON },
    Rules { models: "3.x Flash-Lite", words: &["flash-lite"], thinking: ALL_LEVELS, ..FROM_3_ON },
    Rules {
        models: "3 to 3.6 Flash",
        generations: ((3, 0), (3, 6)),
        words: &["flash"],
        thinking: ALL_LEVELS,
        ..FROM_3_ON
    },
    Rules {
        models: "3 Pro",
        generations: ((3, 0), (3, 0)),
        words: &["pro"],
        thinking: Thinking::Levels(&["low", "high"]),
        ..FROM_3_ON
    },
    Rules { models: "3.1 Pro, 3.7 Flash and later", generations: ((3, 0), (3, 8)), ..FROM_3_ON },
    Rules {
        models: "later ones",
        generations: ((3, 9), LAST),
        thinking: Thinking::Levels(&["low", "medium", "high", "xhigh"]),
        ..FROM_3_ON
    },
    Rules { models: "2.5 image and speech (tts)", generations: ((2, 5), LAST), words: &["image", "tts"], ..EARLIER },
    Rules {
        models: "2.5 Pro, 2.5 Computer Use",
        generations: ((2, 5), LAST),
        words: &["pro", "computer-use"],
        thinking: Thinking::Budget { min: 128, max: 32_768, may_be_off: false },
        ..EARLIER
    },
    Rules {
        models: "2.5 Flash-Lite",
        generations: ((2, 5), LAST),
        words: &["flash-lite"],
        thinking: Thinking::Budget { min: 512, max: 24_576, may_be_off: true },
        ..EARLIER
    },
    Rules {
        models: "2.5 Flash, Robotics-ER 1.5",
        generations: ((2, 5), LAST),
        thinking: Thinking::Budget { min: 1, max: 24_576, may_be_off: true },
        ..EARLIER
    },
    Rules { models: "2.0 and earlier", ..EARLIER },
];

/// Gemma on the Gemini API: <https://ai.google.dev/gemma/docs/core/gemma_on_gemini_api>.
pub(in crate::providers) const GEMMA: &[Rules] = &[
    Rules {
        models: "Gemma 4 and later",
        generations: ((4, 0), LAST),
        thinking: Thinking::Levels(&["minimal", "high"]),
        ..EARLIER
    },
    Rules { models: "Gemma 3 and earlier", has_instruction: false, ..EARLIER },
];

/// Rules of models whose name has no generation: a tuned model, an endpoint. They are those of most such models.
pub(in crate::providers) const UNKNOWN: Rules = Rules {
    models: "tuned models, endpoints",
    thinking: Thinking::Budget { min: 0, max: i64::MAX, may_be_off: true },
    ..EARLIER
};

/// Returns the rules of a model, by its name at either provider: with a path before it, a date or `-preview` after it.
pub(in crate::providers) fn rules(model: &str) -> &'static Rules {
    let name = model.rsplit('/').next().unwrap_or(model);
    // The owner of a tuned model chooses its name.
    if model.starts_with("tunedModels/") {
        return &UNKNOWN;
    }
    let begins = |alias: &str| {
        name.strip_prefix(alias).is_some_and(|rest| match alias {
            "gemini-pro" => matches!(rest, "" | "-vision"),
            _ => rest.is_empty() || rest.starts_with(['-', '@']),
        })
    };
    let name = ALIASES.iter().find(|(alias, _)| begins(alias)).map_or(name, |(_, other)| other);
    let (rows, version) = match (name.strip_prefix("gemini-"), name.strip_prefix("gemma-")) {
        (Some(version), _) => (GEMINI, version),
        (_, Some(version)) => (GEMMA, version),
        _ => return &UNKNOWN,
    };
    let Some(generation) = generation(version) else { return &UNKNOWN };
    let is_of = |rules: &&Rules| {
        let (first, last) = rules.generations;
        (first..=last).contains(&generation)
            && (rules.words.is_empty() || rules.words.iter().any(|word| name.contains(word)))
    };
    rows.iter().find(is_of).unwrap_or(&UNKNOWN)
}

/// Returns the generation at the beginning of a name's rest: `2.5-pro` is (2, 5), and so is `3n-e4b` (3, 0).
fn generation(rest: &str) -> Option<Generation> {
    let version = rest.split(['-', '@']).next()?.trim_end_matches('n');
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    Some((major.parse().ok()?, minor.parse().ok()?))
}

impl Thinking {
    /// Returns the level for an effort: the same, or the next higher one that the model has. `None` without levels.
    pub fn level(self, effort: &str) -> Option<&'static str> {
        let Self::Levels(levels) = self else { return None };
        let strength = |effort: &str| EFFORTS.iter().position(|known| *known == effort);
        let wanted = match effort {
            "none" | "disable" => Some(0),
            "max" => Some(EFFORTS.len()),
            effort => strength(effort),
        }?;
        levels.iter().find(|level| strength(level) >= Some(wanted)).or(levels.last()).copied()
    }

    /// Limits a budget to the range that the model takes. −1 leaves it to the model.
    pub fn budget(self, wanted: i64) -> i64 {
        match self {
            Self::Budget { may_be_off: true, .. } if wanted == 0 => 0,
            Self::Budget { min, max, .. } if wanted >= 0 => wanted.clamp(min, max),
            _ => wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_rules_of_the_model_that_it_stands_for() {
        for (names, models) in [
            (
                &[
                    "gemini-2.5-pro",
                    "models/gemini-2.5-pro",
                    "publishers/google/models/gemini-2.5-pro",
                    "google/gemini-2.5-pro",
                ][..],
                "2.5 Pro, 2.5 Computer Use",
            ),
            (
                &["gemini-2.5-pro-preview-06-05", "gemini-2.5-pro@default", "gemini-2.5-computer-use-preview-10-2025"],
                "2.5 Pro, 2.5 Computer Use",
            ),
            (
                &["gemini-2.5-flash", "gemini-2.5-flash-preview-09-2025", "gemini-robotics-er-1.5-preview"],
                "2.5 Flash, Robotics-ER 1.5",
            ),
            (&["gemini-2.5-flash-lite", "gemini-2.5-flash-lite-preview-06-17"], "2.5 Flash-Lite"),
            (
                &["gemini-2.5-flash-image", "gemini-2.5-flash-preview-tts", "gemini-2.5-pro-preview-tts"],
                "2.5 image and speech (tts)",
            ),
            (&["gemini-3-pro-preview"], "3 Pro"),
            (
                &[
                    "gemini-3.1-pro-preview",
                    "gemini-pro-latest",
                    "gemini-3.7-flash",
                    "gemini-3.8-flash",
                    "gemini-flash-latest",
                    "models/gemini-flash-latest",
                ],
                "3.1 Pro, 3.7 Flash and later",
            ),
            (&["gemini-3-flash-preview", "gemini-3.5-flash", "gemini-3.6-flash"], "3 to 3.6 Flash"),
            (&["gemini-3.1-flash-lite-preview", "gemini-3.5-flash-lite", "gemini-flash-lite-latest"], "3.x Flash-Lite"),
            (&["gemini-3-pro-image-preview"], "3 Pro Image"),
            (&["gemini-3.1-flash-image"], "3.x Flash Image"),
            (&["gemini-4-pro", "gemini-3.10-flash"], "later ones"),
            (&["gemini-2.0-flash-001", "gemini-1.5-pro-latest", "gemini-pro", "gemini-pro-vision"], "2.0 and earlier"),
            (&["gemma-3-27b-it", "models/gemma-3n-e4b-it"], "Gemma 3 and earlier"),
            (&["gemma-4-31b-it"], "Gemma 4 and later"),
            (&["tunedModels/gemini-3-pro-mine", "endpoints/123", "m", "gemini-exp-x"], "tuned models, endpoints"),
        ] {
            for name in names {
                assert_eq!(rules(name).models, models, "{name}");
            }
        }
    }

    #[test]
    fn an_effort_is_the_next_that_the_model_has() {
        let level = |model: &str, effort: &str| rules(model).thinking.level(effort);
        assert_eq!(level("gemini-3-pro-preview", "medium"), Some("high"));
        assert_eq!(level("gemini-3-pro-preview", "none"), Some("low"));
        assert_eq!(level("gemini-3.8-flash", "minimal"), Some("low"));
        assert_eq!(level("gemini-3.5-flash", "xhigh"), Some("high"));
        assert_eq!(level("gemini-4-pro", "max"), Some("xhigh"));
        assert_eq!(level("gemini-3.5-flash", "hard"), None);
        let budget = |model: &str, wanted: i64| rules(model).thinking.budget(wanted);
        assert_eq!([0, 9, -1, 99_999].map(|wanted| budget("gemini-2.5-pro", wanted)), [128, 128, -1, 32_768]);
        assert_eq!([0, 9, -1].map(|wanted| budget("gemini-2.5-flash-lite", wanted)), [0, 512, -1]);
        assert_eq!([0, 9].map(|wanted| budget("gemini-2.5-flash", wanted)), [0, 9]);
    }
}
