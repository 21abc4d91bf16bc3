mod by_model;
mod calls;
mod publishers;

use serde_json::{Value, json};

use super::*;
use crate::providers::{DeploymentArgs, lookup, resolve};
use crate::types::params::Params;
use crate::types::secret::Secret;

fn encode(model: &str, params: Value, change: impl FnOnce(&mut Request, &mut DeploymentArgs)) -> Result<Encoded> {
    let mut given = DeploymentArgs {
        api_key: Some(Secret::new("k")),
        settings: vec![("vertex_project", Secret::new("p"))],
        ..DeploymentArgs::default()
    };
    let mut request =
        Request { params: Params::from_json(params.to_string().as_bytes()).unwrap(), ..Request::default() };
    change(&mut request, &mut given);
    let deployment = resolve(model, &given, &|_| None)?;
    request.model.clone_from(&deployment.model);
    deployment.endpoint(&request)?.encode(&deployment, &request)
}

/// Returns the body of a call.
fn body(model: &str, params: Value) -> Value {
    serde_json::from_slice(&encode(model, params, |_, _| {}).unwrap().request.body).unwrap()
}

fn contents(messages: Value) -> Value {
    body("gemini/gemini-2.5-flash", json!({ "messages": messages }))["contents"].take()
}

fn answered(body: &Value) -> HttpResponse {
    HttpResponse { received: 7, status: 200, headers: Default::default(), body: body.to_string().into() }
}

fn decode(body: &Value) -> Value {
    serde_json::from_slice(&GEMINI.decode(&Request::default(), &answered(body)).unwrap()).unwrap()
}

fn candidate(parts: Value) -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}], "responseId": "r1", "modelVersion": "gemini-x"})
}

fn message(parts: Value) -> Value {
    decode(&candidate(parts))["choices"][0]["message"].take()
}

/// Returns all chunks of a stream of these events, those that are shown, and whether the stream was complete.
fn streamed(events: &[Value]) -> (Vec<Value>, Vec<Value>, bool) {
    let mut decoder = GEMINI.stream_decoder(&Request { model: "m".into(), ..Request::default() }, 7);
    let mut chunks = Vec::new();
    events.iter().for_each(|event| decoder.event(b"", event.to_string().into(), &mut chunks).unwrap());
    let shown = chunks
        .iter()
        .filter(|chunk| decoder.is_shown(chunk))
        .map(|chunk| serde_json::from_slice(chunk).unwrap())
        .collect();
    (chunks.iter().map(|chunk| serde_json::from_slice(chunk).unwrap()).collect(), shown, decoder.is_complete())
}

fn accumulated(chunks: Vec<Value>) -> Value {
    let mut accumulator = Accumulator::default();
    chunks.into_iter().for_each(|chunk| accumulator.push(chunk));
    accumulator.finish()
}

#[test]
fn a_call_goes_to_its_providers_address_with_its_credentials() {
    let sent = |model: &str, change: &dyn Fn(&mut Request, &mut DeploymentArgs)| {
        let request = encode(model, json!({"messages": []}), change).unwrap().request;
        (request.uri.to_string(), format!("{}: {}", request.headers[0].0, request.headers[0].1.to_str().unwrap()))
    };
    let (uri, credentials) = sent("gemini/gemini-2.5-flash", &|_, _| {});
    assert_eq!(uri, "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:generateContent");
    assert_eq!(credentials, "x-goog-api-key: k");
    for (base_url, address) in [
        ("http://h", "http://h/v1beta/"),
        ("http://h/x/v1beta/", "http://h/x/v1beta/"),
        ("http://h/v1", "http://h/v1/"),
    ] {
        let (uri, _) = sent("gemini/m", &|request, given| {
            request.stream = true;
            given.base_url = Some(base_url.into());
        });
        assert_eq!(uri, format!("{address}models/m:streamGenerateContent?alt=sse"));
    }

    let (uri, credentials) = sent("vertex/gemini-2.5-flash", &|_, _| {});
    assert_eq!(
        uri,
        "https://aiplatform.googleapis.com/v1/projects/p/locations/global/publishers/google/models/gemini-2.5-flash:generateContent"
    );
    assert_eq!(credentials, "authorization: Bearer k");
    let (uri, credentials) = sent("vertex_ai/meta/llama-4", &|_, given| {
        given.api_version = Some("v1beta1".into());
        given.settings.push(("vertex_location", Secret::new("us-east1")));
    });
    assert_eq!(
        uri,
        "https://us-east1-aiplatform.googleapis.com/v1beta1/projects/p/locations/us-east1/endpoints/openapi/chat/completions"
    );
    assert_eq!(credentials, "authorization: Bearer k");
    let (uri, _) = sent("vertex/m", &|_, given| given.settings.push(("vertex_location", Secret::new("eu"))));
    assert!(uri.starts_with("https://aiplatform.eu.rep.googleapis.com/v1/projects/p/locations/eu/"), "{uri}");
    // Express mode.
    let (uri, credentials) = sent("vertex/m", &|_, given| {
        given.settings.clear();
        given.api_key = Some(Secret::new("AIzaX"));
    });
    assert_eq!(
        (uri.as_str(), credentials.as_str()),
        ("https://aiplatform.googleapis.com/v1/publishers/google/models/m:generateContent", "x-goog-api-key: AIzaX")
    );
}

#[test]
fn vertex_says_what_it_lacks() {
    let failed = |change: &dyn Fn(&mut DeploymentArgs)| {
        encode("vertex/m", json!({"messages": []}), |_, given| change(given)).unwrap_err()
    };
    let error = failed(&|given| given.settings.clear());
    assert!(error.message.contains("vertex_project="), "{error}");
    let error = failed(&|given| {
        given.api_key = None;
        given.settings.push(("vertex_credentials", Secret::new("/key.json")));
    });
    assert_eq!(error.kind, ErrorKind::Authentication);
    assert!(error.message.contains("vertex_credentials=") && error.message.contains("vertex_access_token="), "{error}");
    // The caller may pass a header field instead.
    let sent = encode("vertex/m", json!({"messages": []}), |request, given| {
        given.api_key = None;
        request.extra_headers.push((http::header::AUTHORIZATION, http::HeaderValue::from_static("Bearer x")));
    });
    assert!(sent.is_ok());
}

#[test]
fn parameters_have_googles_names() {
    let params = json!({
        "messages": [{"role": "system", "content": "s"}, {"role": "developer", "content": [{"type": "text", "text": "d"}]}, {"role": "user", "content": "u"}],
        "temperature": 0.5, "top_p": 0.9, "stop": "x", "max_tokens": 5, "n": 2, "seed": 1, "logprobs": true, "top_logprobs": 3, "presence_penalty": 0.1,
        "frequency_penalty": 0.2, "modalities": ["text", "image"], "top_k": 4, "imageConfig": {"aspectRatio": "1:1"}, "safetySettings": [], "labels": {"a": "b"},
        "service_tier": "default", "stream_options": {"include_usage": true}, "parallel_tool_calls": true,
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": {"$ref": "#/$defs/A"}}},
    });
    assert_eq!(
        body("gemini/gemini-2.5-flash", params),
        json!({
            "contents": [{"role": "user", "parts": [{"text": "u"}]}],
            "systemInstruction": {"parts": [{"text": "s"}, {"text": "d"}]},
            "safetySettings": [], "labels": {"a": "b"}, "serviceTier": "standard",
            "generationConfig": {
                "temperature": 0.5, "topP": 0.9, "stopSequences": ["x"], "maxOutputTokens": 5, "candidateCount": 2, "seed": 1, "responseLogprobs": true,
                "logprobs": 3, "presencePenalty": 0.1, "frequencyPenalty": 0.2, "responseModalities": ["TEXT", "IMAGE"], "topK": 4,
                "imageConfig": {"aspectRatio": "1:1"}, "responseMimeType": "application/json", "responseJsonSchema": {"$ref": "#/$defs/A"},
            },
        })
    );
    let both = body(
        "gemini/m",
        json!({"messages": [], "max_completion_tokens": 7, "max_tokens": 5, "stop": ["a", "b"], "generation_config": {"top_k": 1}}),
    );
    assert_eq!(both["generationConfig"], json!({"maxOutputTokens": 7, "stopSequences": ["a", "b"], "topK": 1}));
}

#[test]
fn what_google_lacks_is_refused_or_dropped() {
    let params = json!({"messages": [], "logit_bias": {"1": 1}, "parallel_tool_calls": false, "response_format": {"type": "grammar"}});
    let error = encode("gemini/m", params.clone(), |_, _| {}).unwrap_err();
    assert_eq!(error.kind, ErrorKind::UnsupportedParams);
    assert!(error.message.contains("gemini") && error.message.contains("logit_bias"), "{error}");
    let dropped = encode("gemini/m", params, |request, _| request.drop_params = true).unwrap().dropped_params;
    assert_eq!(dropped, ["logit_bias", "parallel_tool_calls", "response_format"]);
}

#[test]
fn thinking_is_a_level_or_a_budget() {
    let thinking = |model: &str, params: Value| {
        let mut all = json!({"messages": []});
        all.as_object_mut().unwrap().extend(params.as_object().unwrap().clone());
        body(&format!("gemini/{model}"), all)["generationConfig"]["thinkingConfig"].take()
    };
    let effort = |model: &str, effort: &str| thinking(model, json!({ "reasoning_effort": effort }));
    assert_eq!(effort("gemini-2.5-flash", "low"), json!({"thinkingBudget": 1024, "includeThoughts": true}));
    assert_eq!(effort("gemini-2.5-flash", "none"), json!({"thinkingBudget": 0}));
    assert_eq!(effort("gemini-flash-latest", "high"), json!({"thinkingLevel": "high", "includeThoughts": true}));
    assert_eq!(effort("gemini-3-pro-preview", "high"), json!({"thinkingLevel": "high", "includeThoughts": true}));
    assert_eq!(effort("gemini-3-pro-preview", "none"), json!({"thinkingLevel": "low"}));
    assert_eq!(
        effort("gemini-3-flash-preview", "minimal"),
        json!({"thinkingLevel": "minimal", "includeThoughts": true})
    );
    assert_eq!(
        thinking("gemini-2.5-pro", json!({"thinking": {"type": "enabled", "budget_tokens": 9}})),
        json!({"thinkingBudget": 128, "includeThoughts": true})
    );
    let own = json!({"reasoning_effort": "high", "thinkingConfig": {"thinkingBudget": 3}});
    assert_eq!(thinking("gemini-2.5-pro", own.clone()), json!({"thinkingBudget": 3}));
    assert_eq!(
        thinking("gemini-2.5-pro", json!({"generationConfig": own, "reasoning_effort": "low"})),
        json!({"thinkingBudget": 3})
    );
}

#[test]
fn functions_are_declared_beside_googles_own_tools() {
    let schema = json!({"type": "object", "properties": {"x": {"$ref": "#/$defs/X"}}});
    let tools = json!([{"googleSearch": {}}, {"type": "function", "function": {"name": "f", "description": "d", "parameters": schema, "strict": true}}, {"type": "function", "function": {"name": "g"}}]);
    let sent = body(
        "gemini/m",
        json!({"messages": [], "tools": tools, "tool_choice": {"type": "function", "function": {"name": "f"}}, "toolConfig": {"retrievalConfig": {}}}),
    );
    assert_eq!(
        sent["tools"],
        json!([{"functionDeclarations": [{"name": "f", "description": "d", "parametersJsonSchema": schema}, {"name": "g"}]}, {"googleSearch": {}}])
    );
    assert_eq!(
        sent["toolConfig"],
        json!({"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}, "retrievalConfig": {}})
    );
    let mode = |choice: Value| {
        body("gemini/m", json!({"messages": [], "tool_choice": choice}))["toolConfig"]["functionCallingConfig"].take()
    };
    assert_eq!(mode(json!("required")), json!({"mode": "ANY"}));
    let allowed = json!({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]}});
    assert_eq!(mode(allowed), json!({"mode": "VALIDATED", "allowedFunctionNames": ["f"]}));
}

#[test]
fn pictures_have_a_resolution_where_the_model_has() {
    let sent = |model: &str, detail: &str| {
        let url = json!({"url": "data:image/png;base64,QQ==", "detail": detail});
        let messages = json!([{"role": "user", "content": [{"type": "image_url", "image_url": url}]}]);
        body(model, json!({"messages": messages}))["contents"][0]["parts"][0].take()
    };
    let picture = json!({"inlineData": {"mimeType": "image/png", "data": "QQ=="}});
    for (detail, level) in [("low", "MEDIA_RESOLUTION_LOW"), ("high", "MEDIA_RESOLUTION_HIGH")] {
        let mut detailed = picture.clone();
        detailed["mediaResolution"] = json!({"level": level});
        assert_eq!(sent("gemini/gemini-3.8-flash", detail), detailed);
        assert_eq!(sent("gemini/gemini-2.5-flash", detail), picture);
    }
    assert_eq!(sent("gemini/gemini-3.8-flash", "auto"), picture);
}

#[test]
fn media_are_inline_or_files() {
    let part = |part: Value| contents(json!([{"role": "user", "content": [part]}]))[0]["parts"][0].take();
    let inline = |kind: &str| json!({"inlineData": {"mimeType": kind, "data": "QQ=="}});
    assert_eq!(
        part(json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}})),
        inline("image/png")
    );
    assert_eq!(
        part(json!({"type": "image_url", "image_url": "https://h/a.webp?x=1"})),
        json!({"fileData": {"mimeType": "image/webp", "fileUri": "https://h/a.webp?x=1"}})
    );
    assert_eq!(
        part(json!({"type": "image_url", "image_url": {"url": "https://h/a"}}))["fileData"]["mimeType"],
        "image/jpeg"
    );
    assert_eq!(
        part(json!({"type": "video_url", "video_url": {"url": "https://www.youtube.com/watch?v=x.mp4"}})),
        json!({"fileData": {"fileUri": "https://www.youtube.com/watch?v=x.mp4"}})
    );
    assert_eq!(
        part(json!({"type": "input_audio", "input_audio": {"data": "QQ==", "format": "mp3"}})),
        inline("audio/mp3")
    );
    assert_eq!(
        part(json!({"type": "file", "file": {"file_data": "data:application/pdf;base64,QQ=="}})),
        inline("application/pdf")
    );
    assert_eq!(part(json!({"type": "file", "file": {"file_data": "QQ==", "filename": "a.csv"}})), inline("text/csv"));
    assert_eq!(
        part(json!({"type": "file", "file": {"file_id": "gs://b/v.mp4", "format": "video/webm"}})),
        json!({"fileData": {"mimeType": "video/webm", "fileUri": "gs://b/v.mp4"}})
    );
    assert_eq!(
        part(json!({"type": "file", "file": {"file_id": "files/abc"}})),
        json!({"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc"}})
    );
    let own = json!({"fileData": {"fileUri": "u"}, "videoMetadata": {"fps": 1.0}});
    assert_eq!(part(own.clone()), own);
    let error =
        encode("gemini/m", json!({"messages": [{"role": "user", "content": [{"type": "hologram"}]}]}), |_, _| {})
            .unwrap_err();
    assert!(error.message.starts_with("messages[0]: content[0]: a part of type \"hologram\""), "{error}");
}

#[test]
fn an_answer_has_openais_shape_and_keeps_the_rest() {
    let usage = json!({"promptTokenCount": 5, "toolUsePromptTokenCount": 2, "candidatesTokenCount": 3, "thoughtsTokenCount": 4, "totalTokenCount": 14, "cachedContentTokenCount": 1, "trafficType": "ON_DEMAND"});
    let parts = json!([{"text": "hm", "thought": true}, {"text": "a"}, {"text": "b", "thoughtSignature": "c2ln"}, {"functionCall": {"name": "f", "args": {"x": [1, 2.50]}}}, {"functionCall": {"id": "n1", "name": "g"}}]);
    let completion = decode(&json!({
        "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0, "avgLogprobs": -0.1, "groundingMetadata": {"webSearchQueries": ["q"]}}],
        "usageMetadata": usage, "modelVersion": "gemini-x", "responseId": "r1", "createTime": "t", "promptFeedback": {"safetyRatings": []},
    }));
    assert_eq!(
        completion,
        json!({
            "id": "r1", "object": "chat.completion", "created": 7, "model": "gemini-x",
            "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {
                "role": "assistant", "content": "ab", "reasoning_content": "hm",
                "tool_calls": [
                    {"id": "call_r1_0", "type": "function", "function": {"name": "f", "arguments": "{\"x\":[1,2.5]}"}},
                    {"id": "n1", "type": "function", "function": {"name": "g", "arguments": "{}"}},
                ],
                "provider_specific_fields": {"gemini": {"parts": parts}},
            }}],
            "usage": {
                "prompt_tokens": 7, "completion_tokens": 7, "total_tokens": 14, "prompt_tokens_details": {"cached_tokens": 1},
                "completion_tokens_details": {"reasoning_tokens": 4}, "native": usage,
            },
            "provider_specific_fields": {"gemini": {
                "createTime": "t", "promptFeedback": {"safetyRatings": []}, "candidates": [{"avgLogprobs": -0.1, "groundingMetadata": {"webSearchQueries": ["q"]}}],
            }},
        })
    );
}

#[test]
fn plain_text_needs_no_native_parts() {
    assert_eq!(message(json!([{"text": "a"}, {"text": "b"}])), json!({"role": "assistant", "content": "ab"}));
    assert_eq!(message(json!([])), json!({"role": "assistant", "content": null}));
    let picture = json!([{"inlineData": {"mimeType": "image/png", "data": "QQ=="}}]);
    assert_eq!(
        message(picture.clone()),
        json!({"role": "assistant", "content": null, "provider_specific_fields": {"gemini": {"parts": picture}}})
    );
}

#[test]
fn an_answer_ends_for_a_reason_of_openais() {
    let reason = |native: &str| {
        let choice = decode(&json!({"candidates": [{"content": {}, "finishReason": native, "finishMessage": "why"}]}));
        (
            choice["choices"][0]["finish_reason"].as_str().unwrap().to_owned(),
            choice["provider_specific_fields"]["gemini"]["candidates"][0]["finishReason"].clone(),
        )
    };
    assert_eq!(reason("MAX_TOKENS"), ("length".into(), Value::Null));
    assert_eq!(reason("SAFETY"), ("content_filter".into(), "SAFETY".into()));
    assert_eq!(reason("MALFORMED_FUNCTION_CALL"), ("stop".into(), "MALFORMED_FUNCTION_CALL".into()));
    let blocked = json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 4}});
    for completion in [decode(&blocked), accumulated(streamed(std::slice::from_ref(&blocked)).0)] {
        assert_eq!(completion["choices"][0]["message"], json!({"role": "assistant", "content": null}));
        assert_eq!(completion["choices"][0]["finish_reason"], "content_filter");
        assert_eq!(
            completion["provider_specific_fields"]["gemini"]["promptFeedback"]["blockReason"],
            "PROHIBITED_CONTENT"
        );
        assert_eq!(completion["usage"]["prompt_tokens"], 4);
    }
}

#[test]
fn tokens_are_told_apart_by_their_kind() {
    use crate::types::usage::Usage;
    let mut answer = candidate(json!([{"text": "a"}]));
    answer["usageMetadata"] = json!({"promptTokenCount": 100, "cachedContentTokenCount": 40, "candidatesTokenCount": 9, "thoughtsTokenCount": 5,
        "totalTokenCount": 114, "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 2}],
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 60}, {"modality": "AUDIO", "tokenCount": 30}, {"modality": "IMAGE", "tokenCount": 10}],
        "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 20}, {"modality": "AUDIO", "tokenCount": 20}]});
    let expected = Usage {
        input: 40,
        cached_read: 40,
        audio_input: 10,
        image_input: 10,
        output: 7,
        reasoning: 5,
        audio_output: 2,
        ..Usage::default()
    };
    assert_eq!(Usage::of(Operation::Chat, decode(&answer).to_string().as_bytes()), Some(expected));
}

#[test]
fn log_probabilities_have_openais_shape() {
    let logprobs = json!({"chosenCandidates": [{"token": "é", "tokenId": 99, "logProbability": -0.5}], "topCandidates": [{"candidates": [{"token": "e", "logProbability": -0.7}]}]});
    let choice = decode(&json!({"candidates": [{"content": {"parts": [{"text": "é"}]}, "logprobsResult": logprobs}]}));
    let entry = json!({"token": "é", "logprob": -0.5, "bytes": [195, 169], "top_logprobs": [{"token": "e", "logprob": -0.7, "bytes": [101]}]});
    assert_eq!(choice["choices"][0]["logprobs"], json!({"content": [entry], "refusal": null}));
    assert_eq!(choice["provider_specific_fields"]["gemini"]["candidates"][0]["logprobsResult"], logprobs);
}

#[test]
fn what_is_no_answer_is_an_error() {
    for body in ["{}", "[1]", "<html>", r#"{"ok":true}"#] {
        let response = HttpResponse { body: Bytes::copy_from_slice(body.as_bytes()), ..answered(&json!(null)) };
        assert_eq!(
            GEMINI.decode(&Request::default(), &response).unwrap_err().kind,
            ErrorKind::ApiResponseValidation,
            "{body}"
        );
    }
    let error = GEMINI
        .decode(
            &Request::default(),
            &answered(&json!({"error": {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED"}})),
        )
        .unwrap_err();
    assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::RateLimit, Some("RESOURCE_EXHAUSTED")));
}

#[test]
fn errors_say_what_google_says() {
    let refused = |status: u16, error: Value| {
        GEMINI.decode_error(&HttpResponse { status, ..answered(&json!({ "error": error })) })
    };
    let key = refused(
        400,
        json!({"code": 400, "message": "Key gone.", "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}),
    );
    assert_eq!(
        (key.kind, key.code.as_deref(), key.status),
        (ErrorKind::Authentication, Some("INVALID_ARGUMENT"), Some(400))
    );
    let slow = refused(
        429,
        json!({"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED", "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.5s"}]}),
    );
    assert_eq!((slow.kind, slow.retry_after), (ErrorKind::RateLimit, Some(Duration::from_millis(1500))));
    let long = refused(
        400,
        json!({"code": 400, "message": "The input token count (9) exceeds the maximum number of tokens allowed (8).", "status": "INVALID_ARGUMENT"}),
    );
    assert_eq!(long.kind, ErrorKind::ContextWindowExceeded);
}

/// Returns parts of every kind, and their message.
fn rich_parts() -> Value {
    json!([
        {"text": "I wonder", "thought": true}, {"text": "Let me see."}, {"executableCode": {"language": "PYTHON", "code": "1+1"}}, {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}},
        {"text": "It is 2.", "thoughtSignature": "YQ=="}, {"text": " Now:"}, {"functionCall": {"name": "f", "args": {"x": 1}}, "thoughtSignature": "Yg=="}, {"functionCall": {"name": "f", "args": {"x": 1}}},
    ])
}

#[test]
fn a_stream_says_the_same_as_a_whole_answer() {
    let parts = rich_parts();
    // One part an event; plain texts are split in two.
    let mut events = Vec::new();
    for part in parts.as_array().unwrap() {
        let text = part["text"].as_str().unwrap_or_default();
        let pieces = if text.is_empty() || part.get("thoughtSignature").is_some() {
            vec![part.clone()]
        } else {
            [&text[..3], &text[3..]]
                .iter()
                .map(|piece| {
                    let mut part = part.clone();
                    part["text"] = (*piece).into();
                    part
                })
                .collect()
        };
        events.extend(pieces.into_iter().map(|part| json!({"candidates": [{"content": {"parts": [part]}, "index": 0}], "usageMetadata": {"promptTokenCount": 1}, "responseId": "r1", "modelVersion": "gemini-x", "createTime": "t"})));
    }
    let last = events.last_mut().unwrap();
    last["candidates"][0]["finishReason"] = "STOP".into();
    last["candidates"][0]["groundingMetadata"] = json!({"webSearchQueries": ["q"]});
    last["usageMetadata"] = json!({"promptTokenCount": 1, "candidatesTokenCount": 2, "totalTokenCount": 3});

    let mut whole = candidate(parts);
    whole["candidates"][0]["groundingMetadata"] = json!({"webSearchQueries": ["q"]});
    whole["createTime"] = "t".into();
    whole["usageMetadata"] = last["usageMetadata"].clone();

    let (all, shown, complete) = streamed(&events);
    assert!(complete);
    assert_eq!(
        (all.len(), shown.len()),
        (events.len() + 1, events.len()),
        "the usage is not shown unless it is asked for"
    );
    assert_eq!(all[0]["choices"][0]["delta"], json!({"role": "assistant", "reasoning_content": "I w"}));
    assert_eq!(accumulated(all), decode(&whole));
    // The same events as a list, the answer without alt=sse.
    assert_eq!(decode(&json!(events)), decode(&whole));
}

#[test]
fn a_stream_of_text_holds_nothing_but_text() {
    let event = |text: &str| json!({"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}}], "usageMetadata": {"promptTokenCount": 1}});
    let (all, _, complete) = streamed(&[event("a"), event("b")]);
    assert!(!complete);
    assert_eq!(all[1]["choices"], json!([{"index": 0, "delta": {"content": "b"}, "finish_reason": null}]));
    assert_eq!((all[1].get("usage"), all[1].get("provider_specific_fields")), (None, None));
    assert_eq!(all[1]["model"], "m");
}

/// Returns the chunks of events, an error, and the number of events that came from the delta cache, which is off
/// `without_cache`.
fn read_with(events: &[Vec<u8>], without_cache: bool) -> (Vec<Value>, Option<String>, usize) {
    let mut decoder = GeminiChunks::new("gemini", true, Reader::new(7, "m"));
    let (mut chunks, mut same, mut error) = (Vec::new(), 0, None);
    for event in events {
        if without_cache {
            decoder.last = None;
        }
        same += usize::from(decoder.last.as_ref().is_some_and(|last| last.new_delta(event).is_some()));
        if let Err(failed) = decoder.event(b"", event.clone().into(), &mut chunks) {
            error = Some(failed.message);
            break;
        }
    }
    (chunks.iter().map(|chunk| serde_json::from_slice(chunk).unwrap()).collect(), error, same)
}

#[test]
fn events_that_are_alike_say_what_they_say_alone() {
    let event = |text: &str, rest: &str| {
        let text = format!(r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}],"role":"model"}}{rest}"#);
        text.into_bytes()
    };
    let counts = |count: u32| format!(r#"}}],"usageMetadata":{{"a":{count},"b":[{{"c":"d 1"}}]}},"responseId":"r1"}}"#);
    let plain: Vec<_> = (0..5).map(|count| event(&format!("word {count} "), &counts(9 + count))).collect();
    // All but the first, whose delta has a role, and the second, which fills the cache.
    assert_eq!(read_with(&plain, false).2, 3);
    let end = event("end", r#","finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":5}}"#);

    let others = [
        event(r#"\n\"\\ \u003c \ud83d\ude00 é"#, &counts(1)),
        event("", &counts(1)),
        event("a", r#"}],"usageMetadata":{"a":7,"b":[{"c":"d 1"}],"e":1},"responseId":"r1"}"#),
        event("a", r#"}],"usageMetadata":{"a":7,"b":[{"c":"e 1"}]},"responseId":"r1"}"#),
        event("a", r#"}],"usageMetadata":{"a":7,"b":[{"c":"d 1"}]},"promptFeedback":{"x":1},"responseId":"r1"}"#),
        event("a", r#"}],"usageMetadata":{"a":7,"b":[{"c":"d 1"}]},"responseId":"r2"}"#),
        event("a", r#","index":1}],"usageMetadata":{"a":7,"b":[{"c":"d 1"}]},"responseId":"r1"}"#),
        event("a", r#","safetyRatings":[1]}],"usageMetadata":{"a":7,"b":[{"c":"d 1"}]},"responseId":"r1"}"#),
        event(r#"a","thought":true,"x":""#, &counts(1)),
        event(r#"a","thoughtSignature":"s"#, &counts(1)),
        event(r#"a"},{"functionCall":{"name":"f"}},{"text":"b"#, &counts(1)),
        event("half \\ud83d", &counts(1)),
        event("a bare \n break", &counts(1)),
        event("never ends \\", ""),
        [&event("not ", "")[..], b"\xff UTF-8", counts(1).as_bytes()].concat(),
        event("a", r#","finishReason":"MAX_TOKENS"}],"responseId":"r1"}"#),
        br#"{"error":{"code":503,"message":"m"}}"#.to_vec(),
        b"[DONE]".to_vec(),
    ];
    for other in &others {
        let shown = String::from_utf8_lossy(other).into_owned();
        for place in 0..=plain.len() {
            let mut events = plain.clone();
            events.insert(place, other.clone());
            events.push(end.clone());
            let (chunks, error, _) = read_with(&events, false);
            let (expected, expected_error, _) = read_with(&events, true);
            assert_eq!(chunks, expected, "{shown}");
            assert_eq!(error, expected_error, "{shown}");
        }
    }
}

#[test]
fn grounding_that_comes_in_pieces_is_whole_in_the_end() {
    let event = |grounding: Value| json!({"candidates": [{"content": {"parts": [{"text": "x"}]}, "groundingMetadata": grounding}]});
    let mut events = [
        event(json!({"webSearchQueries": ["a"]})),
        event(json!({"webSearchQueries": ["a", "b"], "imageSearchQueries": []})),
    ];
    events[1]["candidates"][0]["finishReason"] = "STOP".into();
    let grounding =
        &accumulated(streamed(&events).0)["provider_specific_fields"]["gemini"]["candidates"][0]["groundingMetadata"];
    assert_eq!(grounding, &json!({"webSearchQueries": ["a", "b"], "imageSearchQueries": []}));
}

#[test]
fn an_error_in_a_stream_is_an_error() {
    let mut decoder = GEMINI.stream_decoder(&Request::default(), 0);
    let event = json!({"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}).to_string();
    let error = decoder.event(b"", event.into(), &mut Vec::new()).unwrap_err();
    assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::ServiceUnavailable, Some("UNAVAILABLE")));
}

#[test]
fn a_message_goes_back_with_its_parts_as_they_came() {
    let parts = rich_parts();
    let answer = message(parts.clone());
    let tool = |id: &Value, content: &str| json!({"role": "tool", "tool_call_id": id, "content": content});
    let ids: Vec<Value> = answer["tool_calls"].as_array().unwrap().iter().map(|call| call["id"].clone()).collect();
    assert_ne!(ids[0], ids[1]);
    let sent = contents(
        json!([{"role": "user", "content": "hi"}, answer, tool(&ids[1], "[2]"), tool(&ids[0], "{\"ok\":1}"), {"role": "user", "content": "go on"}]),
    );
    assert_eq!(sent[1], json!({"role": "model", "parts": parts}));
    // In the order of the calls, and without the generated ids.
    assert_eq!(
        sent[2]["parts"],
        json!([{"functionResponse": {"name": "f", "response": {"ok": 1}}}, {"functionResponse": {"name": "f", "response": {"result": [2]}}}])
    );
    assert_eq!(sent[3], json!({"role": "user", "parts": [{"text": "go on"}]}));
}

#[test]
fn ids_of_googles_own_go_back() {
    let answer = message(json!([{"functionCall": {"id": "n1", "name": "f", "args": {}}}]));
    let sent = contents(json!([answer, {"role": "tool", "tool_call_id": "n1", "content": "done"}]));
    assert_eq!(sent[0]["parts"][0]["functionCall"]["id"], "n1");
    assert_eq!(
        sent[1]["parts"][0]["functionResponse"],
        json!({"id": "n1", "name": "f", "response": {"result": "done"}})
    );
}

#[test]
fn what_the_caller_changed_is_sent_and_unchanged_calls_keep_their_signature() {
    let signed = json!({"functionCall": {"name": "f", "args": {"x": 1}}, "thoughtSignature": "Yg=="});
    let mut answer = message(json!([{"text": "old", "thoughtSignature": "YQ=="}, signed]));
    answer["content"] = "new".into();
    assert_eq!(contents(json!([answer]))[0]["parts"], json!([{"text": "new"}, signed]));
    answer["tool_calls"][0]["function"]["arguments"] = "{\"x\": 2}".into();
    assert_eq!(
        contents(json!([answer]))[0]["parts"],
        json!([{"text": "new"}, {"functionCall": {"name": "f", "args": {"x": 2}}}])
    );
    answer["tool_calls"] = json!([]);
    assert_eq!(contents(json!([answer]))[0]["parts"], json!([{"text": "new"}]));
}

#[test]
fn another_providers_message_is_sent_by_openais_fields() {
    let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": ""}});
    let foreign = json!({"role": "assistant", "content": [{"type": "thinking", "thinking": "r"}, {"type": "text", "text": "t"}], "reasoning_content": "r", "tool_calls": [call("a"), call("b")], "provider_specific_fields": {"anthropic": {"content": []}}});
    let expected = |first: Value| json!([{"text": "t"}, first, {"functionCall": {"name": "f", "args": {}}}]);
    assert_eq!(contents(json!([foreign]))[0]["parts"], expected(json!({"functionCall": {"name": "f", "args": {}}})));
    // Newer models reject a call without a signature; there is one for calls of other models.
    let newer = body("vertex/gemini-3-pro", json!({"messages": [foreign]}));
    assert_eq!(
        newer["contents"][0]["parts"],
        expected(
            json!({"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "skip_thought_signature_validator"})
        )
    );
}

#[test]
fn an_older_models_call_is_signed_for_a_newer_one() {
    let parts = json!([{"text": "t"}, {"functionCall": {"name": "f", "args": {}}}, {"functionCall": {"name": "g", "args": {}}}]);
    let answer = message(parts.clone());
    let newer = body("gemini/gemini-3-pro", json!({"messages": [answer]}));
    assert_eq!(
        newer["contents"][0]["parts"][1],
        json!({"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "skip_thought_signature_validator"})
    );
    assert_eq!((&newer["contents"][0]["parts"][0], &newer["contents"][0]["parts"][2]), (&parts[0], &parts[2]));
    assert_eq!(contents(json!([answer]))[0]["parts"], parts);
}

#[test]
fn messages_of_one_role_are_joined_and_empty_ones_left_out() {
    let sent = contents(
        json!([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}, {"role": "assistant", "content": null}, {"role": "user", "content": "c"}]),
    );
    assert_eq!(sent, json!([{"role": "user", "parts": [{"text": "a"}, {"text": "b"}, {"text": "c"}]}]));
    let error =
        encode("gemini/m", json!({"messages": [{"role": "tool", "tool_call_id": "x", "content": "1"}]}), |_, _| {})
            .unwrap_err();
    assert!(error.message.contains("tool_call_id \"x\""), "{error}");
}

#[test]
fn white_space_is_taken_out_between_tokens_only() {
    assert_eq!(
        reader::compact("{\n  \"a b\": \"x \\\" y\\\\\" ,\n \"c\": [ 1, 2 ]\n}"),
        r#"{"a b":"x \" y\\","c":[1,2]}"#
    );
}

#[test]
fn both_are_found_by_name() {
    assert_eq!(lookup("vertex_ai").unwrap().row().name, "vertex");
    assert_eq!(lookup("gemini").unwrap().row().name, "gemini");
    assert_eq!(
        resolve("gemini-2.5-flash", &DeploymentArgs::default(), &|name| (name == "GOOGLE_API_KEY")
            .then(|| "k".to_owned()))
        .unwrap()
        .provider
        .row()
        .name,
        "gemini"
    );
}
