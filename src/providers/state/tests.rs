use super::*;
use crate::types::params::Params;

fn bound(operation: Operation, params: &str) -> Binding {
    let params = Params::from_json(params.as_bytes()).unwrap();
    binding(&Request { operation, params, ..Request::default() })
}

fn ids(operation: Operation, params: &str) -> Vec<String> {
    bound(operation, params).ids
}

#[test]
fn a_plain_request_is_bound_to_nothing() {
    for params in [
        r#"{"messages":[{"role":"user","content":"\"file_id\": \"file-x\", {\"type\": \"item_reference\"}"}]}"#,
        r#"{"messages":[],"audio":{"voice":"alloy","format":"wav"},"prompt":"a text","metadata":{"file_id":"mine"}}"#,
        r#"{"messages":[],"tools":[{"type":"function","function":{"name":"f","parameters":{"properties":{"file_id":{"type":"string"}},"default":{"file_id":"x"}}}}]}"#,
        r#"{"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{"file_id":"mine"}}]}]}"#,
        r#"{"messages":[{"parts":[{"functionCall":{"name":"f","args":{"file_id":"mine"}}},{"functionResponse":{"response":{"file_id":"mine"}}}]}]}"#,
        r#"{"messages":[{"content":[{"toolUse":{"input":{"file_id":"mine"}}}]}]}"#,
        r#"{"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"s"},{"type":"redacted_thinking","data":"d"}]},{"parts":[{"text":"a","thoughtSignature":"s"}]}],"prompt_cache_key":"k"}"#,
        r#"{"messages":[{"content":[{"type":"image_url","image_url":{"url":"data:,"}},{"type":"file","file":{"file_data":"data:,"}}]}]}"#,
    ] {
        assert_eq!(bound(Operation::Chat, params), Binding::default(), "{params}");
    }
    let unstored = r#"{"input":[{"type":"message","id":"msg_1","role":"assistant","content":[]}],"store":false}"#;
    assert_eq!(bound(Operation::Responses, unstored), Binding::default());
}

#[test]
fn openais_chats_name_files_and_audio() {
    let file = r#"{"messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"file-1"}}]},{"role":"assistant","audio":{"id":"audio_1"}}]}"#;
    assert_eq!(ids(Operation::Chat, file), ["file-1", "audio_1"]);
}

#[test]
fn responses_name_every_kind_of_state() {
    for (params, named) in [
        (r#"{"previous_response_id":"resp_1"}"#, &["resp_1"] as &[&str]),
        (r#"{"previous_response_id":null,"conversation":null}"#, &[]),
        (r#"{"conversation":"conv_1"}"#, &["conv_1"]),
        (r#"{"conversation":{"id":"conv_1"}}"#, &["conv_1"]),
        (
            r#"{"prompt":{"id":"pmpt_1","version":"2","variables":{"f":{"type":"input_file","file_id":"file-1"}}}}"#,
            &["pmpt_1"],
        ),
        (
            r#"{"input":[{"role":"user","content":[{"type":"input_file","file_id":"file-1"},{"type":"input_image","file_id":"file-2"}]}]}"#,
            &["file-1", "file-2"],
        ),
        (
            r#"{"input":[{"type":"item_reference","id":"msg_1"},{"type":"reasoning","id":"rs_1","summary":[]}]}"#,
            &["msg_1", "rs_1"],
        ),
        (
            r#"{"input":[{"type":"image_generation_call","id":"ig_1"},{"type":"image_generation_call","id":"ig_2","result":"iVBORw=="}]}"#,
            &["ig_1"],
        ),
        (r#"{"input":[{"type":"mcp_approval_response","approval_request_id":"mcpr_1","approve":true}]}"#, &["mcpr_1"]),
        (
            r#"{"input":[{"type":"function_call_output","output":[{"type":"input_file","file_id":"file-1"}]}]}"#,
            &["file-1"],
        ),
        (r#"{"tools":[{"type":"file_search","vector_store_ids":["vs_1","vs_2"]}]}"#, &["vs_1", "vs_2"]),
        (r#"{"tools":[{"type":"code_interpreter","container":"cntr_1"}]}"#, &["cntr_1"]),
        (r#"{"tools":[{"type":"code_interpreter","container":{"type":"auto","file_ids":["file-1"]}}]}"#, &["file-1"]),
        (r#"{"tools":[{"type":"code_interpreter","container":"auto"}]}"#, &[]),
        (
            r#"{"tools":[{"type":"shell","environment":{"type":"container_reference","container_id":"cntr_1"}}]}"#,
            &["cntr_1"],
        ),
    ] {
        assert_eq!(ids(Operation::Responses, params), named, "{params}");
    }
}

#[test]
fn encrypted_reasoning_is_sealed() {
    let sealed =
        r#"{"store":false,"input":[{"type":"reasoning","id":"rs_1","encrypted_content":"gAAA","summary":[]}]}"#;
    assert_eq!(bound(Operation::Responses, sealed), Binding { sealed: vec!["rs_1".into()], ..Binding::default() });
    let compacted = r#"{"store":false,"input":[{"type":"compaction","id":"cmp_1","encrypted_content":"gAAA"}]}"#;
    assert_eq!(bound(Operation::Responses, compacted), Binding { sealed: vec!["cmp_1".into()], ..Binding::default() });
    let open = r#"{"store":false,"input":[{"type":"reasoning","id":"rs_1","encrypted_content":null,"summary":[]}]}"#;
    assert_eq!(ids(Operation::Responses, open), ["rs_1"]);
}

#[test]
fn other_wires_name_their_own() {
    for (params, named) in [
        (
            r#"{"messages":[{"role":"user","content":[{"type":"document","source":{"type":"file","file_id":"file_1"}},{"type":"container_upload","file_id":"file_2"}]}]}"#,
            &["file_1", "file_2"] as &[&str],
        ),
        (r#"{"messages":[],"container":"container_1"}"#, &["container_1"]),
        (
            r#"{"messages":[],"container":{"id":"container_1","skills":[{"type":"custom","skill_id":"skill_1"}]}}"#,
            &["container_1", "skill_1"],
        ),
        (r#"{"messages":[],"container":{"skills":[{"type":"anthropic","skill_id":"pptx","version":"latest"}]}}"#, &[]),
        (
            r#"{"messages":[],"tools":[{"fileSearch":{"fileSearchStoreNames":["fileSearchStores/1"]}}]}"#,
            &["fileSearchStores/1"],
        ),
        (
            r#"{"messages":[],"tools":[{"retrieval":{"vertexRagStore":{"ragCorpora":["projects/p/locations/l/ragCorpora/3"],"ragResources":[{"ragCorpus":"projects/p/locations/l/ragCorpora/1","ragFileIds":["2"]}],"similarityTopK":3}}}]}"#,
            &["projects/p/locations/l/ragCorpora/3", "projects/p/locations/l/ragCorpora/1"],
        ),
        (
            r#"{"messages":[],"tools":[{"retrieval":{"vertex_rag_store":{"rag_resources":[{"rag_corpus":"projects/p/locations/l/ragCorpora/1"}]}}}]}"#,
            &["projects/p/locations/l/ragCorpora/1"],
        ),
        (
            r#"{"messages":[],"tools":[{"retrieval":{"vertexAiSearch":{"datastore":"projects/p/locations/l/collections/c/dataStores/d","filter":"f"}}}]}"#,
            &["projects/p/locations/l/collections/c/dataStores/d"],
        ),
        (
            r#"{"messages":[],"tools":[{"retrieval":{"vertex_ai_search":{"engine":"projects/p/locations/l/collections/c/engines/e","dataStoreSpecs":[{"dataStore":"projects/p/locations/l/collections/c/dataStores/d"}]}}}]}"#,
            &["projects/p/locations/l/collections/c/engines/e", "projects/p/locations/l/collections/c/dataStores/d"],
        ),
        // The engine of a web search is no state.
        (r#"{"messages":[],"plugins":[{"id":"web","engine":"exa","vertex":true}]}"#, &[]),
        (r#"{"messages":[],"cachedContent":"cachedContents/1"}"#, &["cachedContents/1"]),
        (
            r#"{"messages":[],"cached_content":"projects/p/locations/l/cachedContents/1"}"#,
            &["projects/p/locations/l/cachedContents/1"],
        ),
        (
            r#"{"messages":[{"content":[{"fileData":{"fileUri":"https://generativelanguage.googleapis.com/v1beta/files/1","mimeType":"a/b"}}]}]}"#,
            &["https://generativelanguage.googleapis.com/v1beta/files/1"],
        ),
        (r#"{"messages":[],"guardrailConfig":{"guardrailIdentifier":"gr-1","guardrailVersion":"1"}}"#, &["gr-1"]),
    ] {
        assert_eq!(ids(Operation::Chat, params), named, "{params}");
    }
}

#[test]
fn operations_of_an_account_name_its_ids() {
    for (operation, params, named) in [
        (Operation::FileRetrieve, r#"{"file_id":"file-1"}"#, "file-1"),
        (Operation::FileContent, r#"{"file_id":"file-1"}"#, "file-1"),
        (Operation::FileDelete, r#"{"file_id":"file-1"}"#, "file-1"),
        (Operation::FileList, r#"{"after":"file-1","limit":2}"#, "file-1"),
        (Operation::BatchCreate, r#"{"input_file_id":"file-1","endpoint":"/v1/chat/completions"}"#, "file-1"),
        (Operation::BatchRetrieve, r#"{"batch_id":"batch_1"}"#, "batch_1"),
        (Operation::BatchCancel, r#"{"batch_id":"batch_1"}"#, "batch_1"),
        (Operation::BatchResults, r#"{"output_file_id":"file-2"}"#, "file-2"),
    ] {
        let bound = bound(operation, params);
        assert_eq!((bound.ids, bound.repeatable), (vec![named.to_owned()], operation != Operation::BatchCreate));
    }
    assert!(!bound(Operation::FileCreate, r#"{"purpose":"batch"}"#).repeatable);
}

#[test]
fn what_runs_or_stores_something_is_not_repeated() {
    let repeatable = |operation, params: &str| bound(operation, params).repeatable;
    for params in [
        "{}",
        r#"{"store":true}"#,
        r#"{"store":null}"#,
        r#"{"store":false,"background":true}"#,
        r#"{"store":false,"tools":[{"type":"web_search"}]}"#,
        r#"{"store":false,"tools":[{"type":"function","name":"f"},{"type":"code_interpreter","container":{"type":"auto"}}]}"#,
        r#"{"store":false,"tools":[{"type":"mcp","server_label":"s"}]}"#,
        r#"{"store":false,"tools":[{"type":"computer_use_preview"}]}"#,
        r#"{"store":false,"tools":[{"type":"image_generation"}]}"#,
    ] {
        // Null stands for the default.
        assert!(!repeatable(Operation::Responses, params), "{params}");
    }
    for params in [
        r#"{"store":false}"#,
        r#"{"store":false,"background":false,"tools":[{"type":"function","name":"f"},{"type":"custom","name":"c"}]}"#,
    ] {
        assert!(repeatable(Operation::Responses, params), "{params}");
    }
    for params in [
        r#"{"store":true}"#,
        r#"{"web_search_options":{}}"#,
        r#"{"mcp_servers":[{"type":"url","url":"https://h"}]}"#,
        r#"{"plugins":[{"id":"web"}]}"#,
        r#"{"search_parameters":{"mode":"auto"}}"#,
        r#"{"enable_search":true}"#,
        r#"{"tools":[{"type":"web_search_20250305","name":"web_search"}]}"#,
        r#"{"tools":[{"type":"code_execution_20250825","name":"code_execution"}]}"#,
        r#"{"tools":[{"googleSearch":{}}]}"#,
        r#"{"tools":[{"functionDeclarations":[],"code_execution":{}}]}"#,
    ] {
        assert!(!repeatable(Operation::Chat, params), "{params}");
    }
    for params in [
        "{}",
        r#"{"store":null,"web_search_options":null,"mcp_servers":[],"enable_search":false}"#,
        r#"{"tools":[{"type":"function","function":{"name":"f"}}]}"#,
        r#"{"tools":[{"name":"f","input_schema":{}},{"type":"bash_20250124","name":"bash"}]}"#,
        r#"{"tools":[{"functionDeclarations":[{"name":"f"}]}]}"#,
        r#"{"tools":[{"toolSpec":{"name":"f"}},{"cachePoint":{"type":"default"}}]}"#,
        r#"{"tools":null}"#,
    ] {
        assert!(repeatable(Operation::Chat, params), "{params}");
    }
    assert!(repeatable(Operation::Embedding, r#"{"input":"a"}"#));
}

#[test]
fn answers_tell_what_they_have_made() {
    for (operation, answer, made) in [
        (
            Operation::Responses,
            r#"{"id":"resp_1","conversation":{"id":"conv_1"},"output":[{"type":"reasoning","id":"rs_1","summary":[]},{"type":"code_interpreter_call","id":"ci_1","container_id":"cntr_1","code":"1"},{"type":"message","id":"msg_1","content":[{"type":"output_text","text":"a","annotations":[{"type":"container_file_citation","container_id":"cntr_1","file_id":"cfile_1"}]}]}],"metadata":{"file_id":"mine"}}"#,
            &["cfile_1", "ci_1", "cntr_1", "conv_1", "msg_1", "resp_1", "rs_1"] as &[&str],
        ),
        (Operation::Responses, r#"{"type":"response.created","response":{"id":"resp_1","output":[]}}"#, &["resp_1"]),
        (
            Operation::Responses,
            r#"{"type":"response.output_item.done","item":{"type":"message","id":"msg_1"}}"#,
            &["msg_1"],
        ),
        (Operation::Responses, r#"{"type":"response.output_text.delta","delta":"a"}"#, &[]),
        (
            Operation::Chat,
            r#"{"id":"chatcmpl-1","choices":[{"message":{"audio":{"id":"audio_1","data":"","expires_at":1}}}]}"#,
            &["audio_1"],
        ),
        (
            Operation::Chat,
            r#"{"id":"msg_1","choices":[],"provider_specific_fields":{"anthropic":{"container":{"id":"container_1","expires_at":"t"},"content":[{"type":"bash_code_execution_output","file_id":"file_1"}]}}}"#,
            &["container_1", "file_1"],
        ),
        (Operation::Chat, r#"{"id":"chatcmpl-1","choices":[{"message":{"content":"a"}}]}"#, &[]),
        (Operation::FileCreate, r#"{"id":"file-1","object":"file"}"#, &["file-1"]),
        (Operation::FileList, r#"{"object":"list","data":[{"id":"file-1"},{"id":"file-2"}]}"#, &["file-1", "file-2"]),
        (
            Operation::BatchRetrieve,
            r#"{"id":"batch_1","input_file_id":"file-1","output_file_id":"file-2","error_file_id":null}"#,
            &["batch_1", "file-1", "file-2"],
        ),
        (Operation::BatchCreate, r#"{"id":"batch_1","input_file_id":"file-1"}"#, &["batch_1", "file-1"]),
        (Operation::Embedding, r#"{"id":"e","data":[]}"#, &[]),
        (Operation::Speech, "\u{1}", &[]),
        (Operation::Responses, "no JSON", &[]),
    ] {
        assert_eq!(created_ids(operation, answer.as_bytes()), made, "{answer}");
    }
}
