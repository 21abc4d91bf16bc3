use serde_json::{Value, json};

use super::*;

fn columns(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn place() -> Place {
    Place { file: Some("a.jsonl".into()), line: 3 }
}

fn body(call: &RowCall) -> Value {
    serde_json::from_slice(&call.params.as_body(call.model.as_deref().unwrap_or_default(), false, &[])).unwrap()
}

fn prompt(text: &str) -> TemplateSpec {
    TemplateSpec { prompt: Some(text.into()), model: Some("m".into()), ..TemplateSpec::default() }
}

/// The text that a prompt becomes for a row.
fn filled(text: &str, row: &Value) -> Result<String> {
    let names: Vec<String> = row.as_object().unwrap().keys().cloned().collect();
    let call = Template::new(prompt(text), &names)?.call(row.to_string().as_bytes(), &place())?;
    Ok(body(&call)["messages"][0]["content"].as_str().unwrap().to_owned())
}

#[test]
fn only_columns_are_fields() {
    let row = json!({"text": "a \"b\"\n\u{2028}é{label}", "n": 1.50, "flag": true, "list": [1, "x\"y"], "nothing": null, "a b": "c"});
    for (text, right) in [
        ("{text}", "a \"b\"\n\u{2028}é{label}"),
        ("Classify: {text}!", "Classify: a \"b\"\n\u{2028}é{label}!"),
        ("{n} {flag} {nothing}.", "1.5 true ."),
        ("{list}", "[1,\"x\\\"y\"]"),
        ("{a b}", "c"),
        ("{\"label\": \"{n}\", \"other\": {}} {", "{\"label\": \"1.5\", \"other\": {}} {"),
        ("{{n}} {{other}} }{ {n", "{1.5} {{other}} }{ {n"),
        ("{other} {flag}", "{other} true"),
        ("{n}{n}", "1.51.5"),
        ("\u{1f600}{n}\t", "\u{1f600}1.5\t"),
        ("no field at all, and {\"a\": 1}", "no field at all, and {\"a\": 1}"),
    ] {
        assert_eq!(filled(text, &row).unwrap(), right, "{text}");
    }
}

#[test]
fn escapes_of_a_row_are_passed_on() {
    let template = Template::new(prompt("<{a}>"), &columns(&["a"])).unwrap();
    let call = template.call(br#"{"a": "\ud83d\ude00\ud83d \u0000\/"}"#, &place()).unwrap();
    let messages = std::str::from_utf8(call.params.get("messages").unwrap()).unwrap();
    assert_eq!(messages, r#"[{"role":"user","content":"<\ud83d\ude00\ud83d \u0000\/>"}]"#);
    // Of a member that comes twice, the last one counts, as in JSON parsers.
    let call = template.call(br#"{"a": "x", "a": "y"}"#, &place()).unwrap();
    assert_eq!(body(&call)["messages"][0]["content"], "<y>");
}

#[test]
fn numbers_that_json_lacks_are_missing_values() {
    let template = Template::new(prompt("{a} {b}"), &columns(&["a", "b"])).unwrap();
    let call = template.call(br#"{"a": "NaN", "b": NaN, "c": [-Infinity]}"#, &place()).unwrap();
    assert_eq!(body(&call)["messages"][0]["content"], "NaN ");
    let error = template.call(br#"{"a": "NaN", "b": nan}"#, &place()).unwrap_err();
    assert!(error.message.contains("is no JSON: expected ident"), "{}", error.message);
}

#[test]
fn a_slip_in_a_columns_name_is_found_before_the_first_call() {
    let row = json!({"text": "a", "label": "b"});
    for (text, right) in [
        ("{txt2}", "prompt names the column \"txt2\": the rows have the columns \"text\", \"label\"."),
        (
            "{Text}",
            "prompt names the column \"Text\": the rows have the columns \"text\", \"label\". Is \"text\" meant?",
        ),
        (
            "{label}: {txet}",
            "prompt names the column \"txet\": the rows have the columns \"text\", \"label\". Is \"text\" meant?",
        ),
    ] {
        assert_eq!(filled(text, &row).unwrap_err().message, right);
    }
    let spec = TemplateSpec { id_column: Some("id".into()), ..prompt("{text}") };
    let error = Template::new(spec, &columns(&["text", "uid"])).unwrap_err();
    assert_eq!(error.message, "id_column is \"id\": the rows have the columns \"text\", \"uid\".");
    let template = Template::new(prompt("{text} {label}"), &columns(&["text", "label"])).unwrap();
    let error = template.call(br#"{"text": "a"}"#, &place()).unwrap_err();
    assert_eq!(error.message, "a.jsonl, line 3 has no column \"label\": the rows have the column \"text\".");
}

#[test]
fn messages_have_fields_in_every_string() {
    let messages = json!([
        {"role": "system", "content": "You know {topic}. Answer as {\"a\": 1}."},
        {"role": "user", "content": [
            {"type": "text", "text": "{q}"},
            {"type": "image_url", "image_url": {"url": "{picture}", "detail": "low"}},
        ]},
    ]);
    let spec = TemplateSpec {
        messages: Some(messages.to_string()),
        params: Some(r#"{"temperature": 0.10, "response_format": {"type": "json_object"}}"#.into()),
        ..TemplateSpec::default()
    };
    let template = Template::new(spec, &columns(&["topic", "q", "picture", "other"])).unwrap();
    assert_eq!(template.columns().unwrap(), ["topic", "q", "picture", "custom_id"]);
    let row = json!({"topic": "birds", "q": "Who?", "picture": "https://h/a.png", "custom_id": 7});
    let call = template.call(row.to_string().as_bytes(), &place()).unwrap();
    assert_eq!(call.id.as_deref(), Some("7"));
    assert_eq!(call.model, None);
    assert_eq!(call.params.get("temperature"), Some(&b"0.10"[..]));
    assert_eq!(
        body(&call)["messages"],
        json!([
            {"role": "system", "content": "You know birds. Answer as {\"a\": 1}."},
            {"role": "user", "content": [
                {"type": "text", "text": "Who?"},
                {"type": "image_url", "image_url": {"url": "https://h/a.png", "detail": "low"}},
            ]},
        ])
    );
}

#[test]
fn a_column_may_hold_the_messages() {
    let spec = |messages: &str| TemplateSpec { messages: Some(messages.into()), ..TemplateSpec::default() };
    let new = |messages: &str| Template::new(spec(messages), &columns(&["chat"]));
    assert!(new("\"{chat}\"").is_ok());
    let right = "messages is \"{chats}\": a list of messages, or a column that holds one, would be right. the rows have the column \"chat\".";
    assert_eq!(new("{chats}").unwrap_err().message, right);
    let template = new("{chat}").unwrap();
    for row in
        [r#"{"chat": [{"role": "user", "content": "a"}]}"#, r#"{"chat": "[{\"role\": \"user\", \"content\": \"a\"}]"}"#]
    {
        let call = template.call(row.as_bytes(), &place()).unwrap();
        assert_eq!(body(&call)["messages"], json!([{"role": "user", "content": "a"}]));
    }
    let error = template.call(br#"{"chat": "Hello"}"#, &place()).unwrap_err();
    assert_eq!(error.message, "a.jsonl, line 3 has no list of messages in the column \"chat\"");
}

#[test]
fn inputs_of_embeddings_and_responses() {
    let of = |operation, input: Option<&str>, prompt: Option<&str>, row: &str| {
        let spec = TemplateSpec {
            operation,
            input: input.map(Into::into),
            prompt: prompt.map(Into::into),
            ..TemplateSpec::default()
        };
        let call = Template::new(spec, &columns(&["t"])).unwrap().call(row.as_bytes(), &place()).unwrap();
        assert_eq!(call.operation, operation);
        body(&call)["input"].clone()
    };
    assert_eq!(of(Operation::Embedding, Some("{t}"), None, r#"{"t": "a"}"#), json!("a"));
    assert_eq!(of(Operation::Embedding, Some("{t}"), None, r#"{"t": ["a", "b"]}"#), json!(["a", "b"]));
    assert_eq!(of(Operation::Embedding, Some("q: {t}"), None, r#"{"t": 5}"#), json!("q: 5"));
    assert_eq!(of(Operation::Responses, None, Some("{t}?"), r#"{"t": "a"}"#), json!("a?"));
    let spec = TemplateSpec { input: Some("{t}".into()), ..TemplateSpec::default() };
    assert!(Template::new(spec, &columns(&["t"])).unwrap_err().message.starts_with("input has no place"));
}

#[test]
fn batch_lines_are_taken_as_they_are() {
    let spec = TemplateSpec { params: Some(r#"{"temperature": 0, "seed": 1}"#.into()), ..TemplateSpec::default() };
    let template = Template::new(spec.clone(), &columns(&["custom_id", "method", "url", "body"])).unwrap();
    let line =
        |url: &str, body: &str| format!(r#"{{"custom_id": "a-1", "method": "POST", "url": "{url}", "body": {body}}}"#);
    let chat = r#"{"model": "gpt", "messages": [], "temperature": 0.70, "stream": false}"#;
    for (url, operation) in [
        ("/v1/chat/completions", Operation::Chat),
        ("/chat/completions", Operation::Chat),
        ("https://h/openai/v1/chat/completions?api-version=1", Operation::Chat),
    ] {
        let call = template.call(line(url, chat).as_bytes(), &place()).unwrap();
        assert_eq!((call.id.as_deref(), call.operation, call.model.as_deref()), (Some("a-1"), operation, Some("gpt")));
        let members: Vec<_> = call
            .params
            .iter()
            .map(|(name, value)| (name.to_owned(), String::from_utf8(value.into()).unwrap()))
            .collect();
        let right = [("seed", "1"), ("messages", "[]"), ("temperature", "0.70")];
        assert_eq!(members, right.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    let call = template.call(line("/v1/embeddings", r#"{"input": "x"}"#).as_bytes(), &place()).unwrap();
    assert_eq!((call.operation, call.model), (Operation::Embedding, None));
    // The job's model takes precedence.
    let named = Template::new(TemplateSpec { model: Some("fast".into()), ..spec }, &[]).unwrap();
    let call = named.call(line("/v1/chat/completions", chat).as_bytes(), &place()).unwrap();
    assert_eq!(call.model.as_deref(), Some("fast"));
    // A line without an address is for the job's operation; a body may stand by itself.
    for row in [r#"{"custom_id": 5, "body": {"messages": []}}"#, r#"{"custom_id": "5", "messages": [], "model": "x"}"#]
    {
        let call = named.call(row.as_bytes(), &place()).unwrap();
        assert_eq!((call.id.as_deref(), call.operation), (Some("5"), Operation::Chat));
        assert_eq!(body(&call), json!({"model": "fast", "temperature": 0, "seed": 1, "messages": []}));
    }
}

#[test]
fn rows_that_ask_for_what_a_job_cannot_do_have_errors() {
    let template = Template::new(TemplateSpec::default(), &[]).unwrap();
    for (row, right) in [
        (r#"{"url": "/v1/completions", "body": {}}"#, "has the url \"/v1/completions\""),
        (r#"{"method": "GET", "url": "/v1/embeddings", "body": {}}"#, "has the method \"GET\""),
        (r#"{"body": {"messages": [], "stream": true}}"#, "has \"stream\": answers of a job are whole"),
        (r#"{"body": {"messages": [], "api_key": "k"}}"#, "has \"api_key\": keys belong to the client"),
        (r#"{"body": {"messages": [], "model": 5}}"#, "has the model 5"),
        (r#"{"body": {"input": []}}"#, "has no \"messages\""),
        (r#"{"custom_id": "a", "params": {"messages": []}}"#, "has \"params\", as Anthropic's batches do"),
        (r#"{"body": []}"#, "has a body that is no JSON object"),
        (r#"{"body": {}"#, "is no JSON: EOF while parsing an object"),
        (r#"{"a": 1} {"b": 2}"#, "is no JSON: trailing characters"),
        (r#"{"custom_id": {"a": 1}, "body": {"messages": []}}"#, "has an id that is a list or an object"),
    ] {
        let error = template.call(row.as_bytes(), &place()).unwrap_err();
        assert!(error.message.starts_with(&format!("a.jsonl, line 3 {right}")), "{row}: {}", error.message);
        assert_eq!(error.kind, crate::error::ErrorKind::InvalidArgument);
    }
}

#[test]
fn arguments_that_contradict_each_other_are_refused() {
    let new = |spec: TemplateSpec| Template::new(spec, &columns(&["text"])).unwrap_err().message;
    let with = |params: &str| new(TemplateSpec { params: Some(params.into()), ..prompt("{text}") });
    assert_eq!(with(r#"{"stream": true}"#), "params has \"stream\": answers of a job are whole");
    assert_eq!(with(r#"{"model": "m"}"#), "params has \"model\", which is an argument of the job itself");
    assert!(with("[]").starts_with("expected a JSON object"));
    let both = TemplateSpec { messages: Some("[]".into()), ..prompt("{text}") };
    assert_eq!(new(both), "prompt and messages are both given: one would be right");
    let rerank = TemplateSpec { operation: Operation::Rerank, ..prompt("{text}") };
    assert_eq!(new(rerank), "endpoint is \"rerank\": chat, embedding or responses would be right");
    assert_eq!(
        new(TemplateSpec::default()),
        "the rows are neither OpenAI's batch lines nor bodies with \"messages\": a prompt such as \"Classify: {text}\" would be right. the rows have the column \"text\"."
    );
    for messages in ["{", "[]", "{}", "\"text\"", "[1]"] {
        let spec = TemplateSpec { messages: Some(messages.into()), ..TemplateSpec::default() };
        assert!(new(spec).starts_with("messages is "), "{messages}");
    }
}

#[test]
fn ids_come_from_the_column_that_is_named() {
    let spec = TemplateSpec { id_column: Some("uid".into()), ..prompt("{t}") };
    let template = Template::new(spec, &columns(&["t", "uid"])).unwrap();
    let id = |row: &str| template.call(row.as_bytes(), &place()).map(|call| call.id);
    assert_eq!(id(r#"{"t": "a", "uid": "é\u0041", "custom_id": "no"}"#).unwrap().as_deref(), Some("éA"));
    assert_eq!(id(r#"{"t": "a", "uid": 12}"#).unwrap().as_deref(), Some("12"));
    for row in [r#"{"t": "a", "uid": null}"#, r#"{"t": "a"}"#, r#"{"t": "a", "uid": ""}"#] {
        assert!(id(row).is_err(), "{row}");
    }
    let by_default = Template::new(prompt("{t}"), &columns(&["t"])).unwrap();
    assert_eq!(by_default.call(br#"{"t": "a", "id": "x"}"#, &place()).unwrap().id, None);
}

#[test]
fn a_path_becomes_a_data_url() {
    let folder = std::env::temp_dir().join(format!("ritellm-media-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    // A picture with the name of another kind: the content decides.
    let picture = folder.join("é.jpg");
    std::fs::write(&picture, b"\x89PNG\r\n\x1a\n123").unwrap();
    let text = folder.join("a.unknown");
    std::fs::write(&text, b"abc").unwrap();
    let messages = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "{p}"}}, {"type": "text", "text": "{p}"}]}]);
    let spec = TemplateSpec { messages: Some(messages.to_string()), ..TemplateSpec::default() };
    let template = Template::new(spec, &columns(&["p"])).unwrap();
    let url = |path: &str| {
        let call = template.call(json!({"p": path}).to_string().as_bytes(), &place())?;
        Ok::<_, Box<Error>>(body(&call)["messages"][0]["content"][0]["image_url"]["url"].as_str().unwrap().to_owned())
    };
    let written = "data:image/png;base64,iVBORw0KGgoxMjM=";
    assert_eq!(url(picture.to_str().unwrap()).unwrap(), written);
    assert_eq!(url(&format!("file://{}", picture.display())).unwrap(), written);
    for same in ["https://h/a b.png", "data:image/png;base64,AA==", "gs://b/c"] {
        assert_eq!(url(same).unwrap(), same);
    }
    for (path, right) in [
        (text.to_str().unwrap(), "which is no image"),
        ("/no/such/file.png", "which cannot be read"),
        (folder.to_str().unwrap(), "which is no regular file"),
        ("", "which cannot be read"),
    ] {
        let error = url(path).unwrap_err();
        assert!(error.message.contains(right), "{}", error.message);
    }
    // Files have names, and sounds are base64 alone.
    let pdf = folder.join("b c.bin");
    std::fs::write(&pdf, b"%PDF-1").unwrap();
    let messages = json!([{"role": "user", "content": [
        {"type": "file", "file": {"file_data": "{p}"}},
        {"type": "input_file", "filename": "mine", "file_data": "{p}"},
        {"type": "input_audio", "input_audio": {"data": "{p}", "format": "wav"}},
        {"type": "image_url", "image_url": {"url": picture.to_str().unwrap()}},
    ]}]);
    let spec = TemplateSpec { messages: Some(messages.to_string()), ..TemplateSpec::default() };
    let template = Template::new(spec, &columns(&["p"])).unwrap();
    assert_eq!(template.columns().unwrap(), ["p", "custom_id"]);
    let base64 = "A".repeat(5000);
    let of_base64 = format!("data:application/pdf;base64,{base64}");
    for (path, url, name, data) in [
        (pdf.to_str().unwrap(), "data:application/pdf;base64,JVBERi0x", "b c.bin", "JVBERi0x"),
        (&of_base64[..], &of_base64[..], "document.pdf", &base64[..]),
        ("https://h/x/y.pdf?z=1", "https://h/x/y.pdf?z=1", "y.pdf", "https://h/x/y.pdf?z=1"),
        (&base64[..], &base64[..], &base64[..], &base64[..]),
    ] {
        let call = template.call(json!({"p": path}).to_string().as_bytes(), &place()).unwrap();
        let right = json!([
            {"type": "file", "file": {"file_data": url, "filename": name}},
            {"type": "input_file", "filename": "mine", "file_data": url},
            {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}},
            {"type": "image_url", "image_url": {"url": written}},
        ]);
        assert_eq!(body(&call)["messages"][0]["content"], right);
    }
    // A file of the template itself is read once, before the first call.
    let messages = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "/no/such/file.png"}}, {"type": "text", "text": "{p}"}]}]);
    let spec = TemplateSpec { messages: Some(messages.to_string()), ..TemplateSpec::default() };
    let error = Template::new(spec, &columns(&["p"])).unwrap_err();
    assert!(
        error.message.starts_with("messages names the file \"/no/such/file.png\", which cannot be read"),
        "{}",
        error.message
    );
    std::fs::remove_dir_all(folder).unwrap();
}

/// Whatever the rows and the templates are, a call is JSON, and no text of a row becomes anything but text.
#[test]
fn calls_are_json_whatever_the_rows_are() {
    let mut random = fastrand::Rng::with_seed(11);
    let alphabet =
        ["{", "}", "\"", "\\", "a", "é", "\n", "\u{2028}", "\0", "{a}", "{b}", "{{", "}}", "😀", ":", ",", "[", "null"];
    let text = |random: &mut fastrand::Rng| -> String {
        (0..random.usize(..8)).map(|_| alphabet[random.usize(..alphabet.len())]).collect()
    };
    for _ in 0..3000 {
        let row = json!({"a": text(&mut random), "b": [text(&mut random), 1], "c": null, "d": 1.5e300});
        let template = format!("{}{{a}}{}{{b}}{}", text(&mut random), text(&mut random), text(&mut random));
        let filled = match filled(&template, &row) {
            Ok(filled) => filled,
            Err(error) => panic!("{template}: {}", error.message),
        };
        // As a plain replacement from left to right gives it.
        let (mut right, mut rest) = (String::new(), &template[..]);
        while let Some(first) = rest.chars().next() {
            let field = [("{a}", row["a"].as_str().unwrap().to_owned()), ("{b}", row["b"].to_string())];
            match field.iter().find(|(field, _)| rest.starts_with(field)) {
                Some((field, value)) => {
                    right.push_str(value);
                    rest = &rest[field.len()..];
                }
                None => {
                    right.push(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
        assert_eq!(filled, right, "{template}");
        // Damaged rows give a call or an error, and never anything else.
        let mut damaged = row.to_string().into_bytes();
        let at = random.usize(..damaged.len());
        damaged[at] = random.u8(..);
        let by_prompt = Template::new(prompt("{a}"), &columns(&["a"])).unwrap();
        let by_body = Template::new(TemplateSpec::default(), &[]).unwrap();
        for template in [by_prompt, by_body] {
            if let Ok(call) = template.call(&damaged, &place()) {
                body(&call);
                crate::bulk::identity::content(&call);
            }
        }
    }
}
