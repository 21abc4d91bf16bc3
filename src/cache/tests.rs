use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::FutureExt;

use super::entry::Entry;
use super::key::{Key, Keys, Scope, account};
use super::lookup::Lookup;
use super::{Cache, Place, Settings};
use crate::client::{Call, Timeouts};
use crate::error::{Error, ErrorKind};
use crate::providers::{DeploymentArgs, resolve};
use crate::types::answer::{Answer, Meta};
use crate::types::http::Headers;
use crate::types::operation::Operation;
use crate::types::params::Params;
use crate::types::request::Request;
use crate::types::secret::Secret;

fn call(key: &str, operation: Operation, params: &str) -> Call {
    let args = DeploymentArgs { api_key: Some(Secret::new(key)), ..DeploymentArgs::default() };
    let params = Params::from_json(params.as_bytes()).unwrap();
    Call {
        deployment: resolve("openai/gpt-4o", &args, &|_| None).unwrap(),
        request: Request { operation, params, ..Request::default() },
        timeouts: Timeouts::default(),
        max_retries: 0,
        max_retry_after: Duration::ZERO,
        allow_http: false,
        priority: Default::default(),
        is_routed: false,
        own_limits: None,
        progress: None,
        deployment_name: None,
        attempt_log: None,
        callbacks: None,
        budget: None,
        admission_observer: None,
    }
}

fn keys(scope: Scope, call: &Call) -> Keys {
    Keys::of(call, None, scope, &account(&[7; 32], scope, std::iter::once(&call.deployment)))
}

#[test]
fn a_key_is_of_the_account_and_of_what_is_asked() {
    let chat = |key, params| call(key, Operation::Chat, params);
    let of = |call: &Call| keys(Scope::Account, call).whole;
    let one = chat("one", r#"{"messages":[{"content":"a"}],"n":1}"#);
    assert_eq!(of(&one), of(&chat("one", r#"{"n": 1.0, "messages": [ {"content":"\u0061"} ]}"#)));
    for other in [
        chat("two", r#"{"messages":[{"content":"a"}],"n":1}"#),
        chat("one", r#"{"messages":[{"content":"b"}],"n":1}"#),
        chat("one", r#"{"messages":[{"content":"a"}],"n":2}"#),
        chat("one", r#"{"messages":[{"content":"a"}],"m":1}"#),
        chat("one", r#"{"messages":[{"content":"a"}]}"#),
        call("one", Operation::Responses, r#"{"messages":[{"content":"a"}],"n":1}"#),
        Call { request: Request { stream: true, ..one.request.clone() }, ..one.clone() },
    ] {
        assert_ne!(of(&one), of(&other));
    }
    let two = chat("two", r#"{"messages":[{"content":"a"}],"n":1}"#);
    assert_eq!(keys(Scope::Shared, &one), keys(Scope::Shared, &two));
    assert_ne!(keys(Scope::Shared, &one), keys(Scope::Account, &one));
}

/// A member's end cannot be made to look like the begin of the next one.
#[test]
fn members_do_not_run_into_each_other() {
    let of = |params| keys(Scope::Account, &call("k", Operation::Chat, params)).whole;
    assert_ne!(of(r#"{"a":"x\u0000b=1"}"#), of(r#"{"a":"x","b":1}"#));
    assert_ne!(of(r#"{"a":1,"b":2}"#), of("{\"a\":\"1\\u0000b=2\"}"));
}

#[test]
fn inputs_have_keys_of_their_own() {
    let of = |input: &str| {
        let call = call("k", Operation::Embedding, &format!(r#"{{"input":{input},"dimensions":2}}"#));
        keys(Scope::Account, &call).parts.unwrap()
    };
    let (both, one) = (of(r#"["a", "b"]"#), of(r#""b""#));
    assert_eq!((both.len(), one.len()), (2, 1));
    assert_eq!(both[1], one[0]);
    assert_ne!(both[0], both[1]);
    assert_eq!(of("[1, 2]").len(), 1);
    assert_eq!(of("[[1, 2], [3]]")[0], of("[1,2]")[0]);
}

fn entry() -> (Key, Entry) {
    let lines = Bytes::from_static(b"x-request-id: r\nSet-Cookie: a=b\nx-echo: sesame-sesame\n");
    let mut meta =
        Meta { provider: "p".into(), model: "m".into(), status: 200, headers: Headers::new(lines), ..Meta::default() };
    meta.secrets.push(Secret::new("sesame-sesame"));
    let pieces = [(Bytes::from_static(b"one"), true), (Bytes::new(), false), (Bytes::from_static(b"three"), true)];
    (Key([3; 32]), Entry::new(&pieces, &meta, 1000, Some(Duration::from_secs(1))))
}

#[test]
fn an_entry_and_back() {
    let (key, entry) = entry();
    let bytes = Bytes::from(entry.encode(&key));
    let back = Entry::decode(&key, &bytes).unwrap();
    assert_eq!(back.pieces, entry.pieces);
    assert_eq!((&*back.meta.provider, &*back.meta.model, back.meta.status), ("p", "m", 200));
    assert_eq!(back.meta.headers.request_id(), Some("r"));
    assert_eq!((back.meta.headers.get("set-cookie"), back.meta.cached), (None, true));
    assert!(!String::from_utf8_lossy(&bytes).contains("sesame"));
    assert!(back.is_fresh(1999, None) && !back.is_fresh(2000, None));
    assert_eq!((back.rest(1500), back.created), (Some(500), 1000));
}

#[test]
fn a_damaged_entry_is_none() {
    let (key, entry) = entry();
    let bytes = entry.encode(&key);
    assert!(Entry::decode(&Key([4; 32]), &bytes.clone().into()).is_none());
    for at in 0..bytes.len() {
        for bit in [1, 128] {
            let mut changed = bytes.clone();
            changed[at] ^= bit;
            assert!(Entry::decode(&key, &changed.into()).is_none(), "{at}");
        }
        assert!(Entry::decode(&key, &bytes[..at].to_vec().into()).is_none());
    }
}

fn lookup(cache: &Arc<Cache>, call: &Call) -> Lookup {
    Lookup { cache: cache.clone(), keys: keys(Scope::Account, call), ttl: Some(Duration::from_secs(60)) }
}

fn memory() -> Arc<Cache> {
    let place = Place::Memory { max_bytes: 1 << 20 };
    Arc::new(Cache::open(Settings { place, ttl: None, scope: Scope::Account }).unwrap())
}

fn answer() -> Answer {
    Answer { body: Bytes::from_static(br#"{"choices":[{}]}"#), meta: Meta { status: 200, ..Meta::default() } }
}

/// In virtual time: a caller's time begins when it joins, not when the call that it joins began.
#[tokio::test(start_paused = true)]
async fn each_caller_has_its_own_time() {
    let cache = memory();
    let mut call = call("k", Operation::Chat, r#"{"messages":[]}"#);
    call.timeouts.total = Some(Duration::from_secs(10));
    let make = |seconds| {
        move |_: Call| {
            async move {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                Ok(answer())
            }
            .boxed()
        }
    };
    let asked = lookup(&cache, &call);
    let first = tokio::spawn({
        let (asked, call) = (asked.clone(), call.clone());
        async move { asked.call(&call, make(12)).await }
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    let late = asked.call(&call, make(0));
    let mut hasty = call.clone();
    hasty.timeouts.total = Some(Duration::from_secs(6));
    let hasty = asked.call(&hasty, make(0));
    let (late, hasty) = tokio::join!(late, hasty);
    assert!(late.unwrap().meta.cached);
    assert_eq!(hasty.unwrap_err().kind, ErrorKind::Timeout);
    // The first caller's time is that of the call itself, which keeps to it.
    assert!(!first.await.unwrap().unwrap().meta.cached);
    assert!(asked.ready(false).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_ends_without_a_result_fails_those_who_wait() {
    let cache = memory();
    let call = call("k", Operation::Chat, r#"{"messages":[]}"#);
    let asked = lookup(&cache, &call);
    let fails = |_: Call| async { panic!("as this test wants it") }.boxed();
    let error = asked.call(&call, fails).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Internal);
    let refused = |_: Call| async { Err(Error::connection("no")) }.boxed();
    assert_eq!(asked.call(&call, refused).await.unwrap_err().kind, ErrorKind::ApiConnection);
    let answered = |_: Call| async { Ok(answer()) }.boxed();
    assert!(!asked.call(&call, answered).await.unwrap().meta.cached);
}
