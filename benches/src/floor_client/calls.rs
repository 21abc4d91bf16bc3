//! A chat completion, plain or streamed, and a closed loop of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::arguments::Arguments;

/// What came back, to show that everything did.
#[derive(Default)]
pub struct Tally {
    pub chunks: usize,
    pub characters: usize,
}

/// One connection pool and the request that it repeats.
pub struct Client {
    http: reqwest::Client,
    url: String,
    request: Value,
    stream: bool,
}

impl Client {
    pub fn new(arguments: &Arguments) -> Result<Self, String> {
        let mut http = reqwest::Client::builder().no_proxy();
        if let Some(ca) = &arguments.ca {
            let pem = std::fs::read(ca).map_err(|error| error.to_string())?;
            http = http.tls_certs_only([reqwest::Certificate::from_pem(&pem).map_err(|e| e.to_string())?]);
        }
        let http = http.build().map_err(|e| e.to_string())?;
        let mut request: Value = serde_json::from_str(include_str!("../../request.json")).map_err(|e| e.to_string())?;
        if arguments.stream {
            request["stream"] = json!(true);
        }
        let url = format!("{}/chat/completions", arguments.url);
        Ok(Self { http, url, request, stream: arguments.stream })
    }

    async fn call(&self, tally: &mut Tally) -> Result<(), String> {
        let body = serde_json::to_vec(&self.request).map_err(|error| error.to_string())?;
        let request = self.http.post(&self.url).header(CONTENT_TYPE, "application/json");
        let request = request.header(AUTHORIZATION, "Bearer sk-bench").body(body);
        let response = request.send().await.and_then(reqwest::Response::error_for_status);
        let mut response = response.map_err(|error| error.to_string())?;
        if !self.stream {
            let bytes = response.bytes().await.map_err(|error| error.to_string())?;
            let value: Value = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
            tally.characters += text_length(&value["choices"][0]["message"]["content"]);
            return Ok(());
        }
        let mut events = Events::default();
        while let Some(bytes) = response.chunk().await.map_err(|error| error.to_string())? {
            events.feed(&bytes, tally)?;
        }
        if events.done { Ok(()) } else { Err("the stream ended before [DONE]".to_owned()) }
    }
}

/// A server-sent event stream cut into lines. The rest of a line that is not complete is kept.
#[derive(Default)]
struct Events {
    rest: Vec<u8>,
    done: bool,
}

impl Events {
    fn feed(&mut self, mut bytes: &[u8], tally: &mut Tally) -> Result<(), String> {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (line, after) = (&bytes[..end], &bytes[end + 1..]);
            if self.rest.is_empty() {
                self.line(line, tally)?;
            } else {
                let mut whole = std::mem::take(&mut self.rest);
                whole.extend_from_slice(line);
                self.line(&whole, tally)?;
            }
            bytes = after;
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    fn line(&mut self, line: &[u8], tally: &mut Tally) -> Result<(), String> {
        let Some(data) = line.strip_prefix(b"data: ") else {
            return Ok(());
        };
        if data.starts_with(b"[DONE]") {
            self.done = true;
            return Ok(());
        }
        let chunk: Value = serde_json::from_slice(data).map_err(|error| error.to_string())?;
        tally.chunks += 1;
        tally.characters += text_length(&chunk["choices"][0]["delta"]["content"]);
        Ok(())
    }
}

fn text_length(content: &Value) -> usize {
    content.as_str().map_or(0, str::len)
}

/// `count` calls by `concurrency` workers, each starting its next call when its last is done.
pub async fn run(client: &Arc<Client>, count: usize, concurrency: usize) -> Result<Tally, String> {
    let started = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..concurrency {
        let (client, started) = (client.clone(), started.clone());
        workers.spawn(async move {
            let mut tally = Tally::default();
            while started.fetch_add(1, Relaxed) < count {
                client.call(&mut tally).await?;
            }
            Ok::<_, String>(tally)
        });
    }
    let mut total = Tally::default();
    while let Some(tally) = workers.join_next().await {
        let tally = tally.map_err(|error| error.to_string())??;
        total.chunks += tally.chunks;
        total.characters += tally.characters;
    }
    Ok(total)
}
