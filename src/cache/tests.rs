use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use tokio::time::{Instant, sleep};

use super::entry::Entry;
use super::key::{Key, Keys, Scope, account};
use super::lookup::{Lookup, Recorder, StreamReader};
use super::{Cache, Place, Settings};
use crate::client::{Call, Chunk, ChunkSource, Per, Share, SpendingLimit, Timeouts};
use crate::error::{Error, ErrorKind, QUEUE_TIMEOUT, Result};
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
    assert_ne!(of(r#"{"a":1,"b":2}"#), of(r#"{"a=1\u0000b":2}"#));
    assert_ne!(of(r#"{"a":1,"b":2}"#), of(r#"{"a":1,"member":"b","c":2}"#));
    let (mut header, mut query) = (call("k", Operation::Chat, "{}"), call("k", Operation::Chat, "{}"));
    header.request.extra_headers.push((http::HeaderName::from_static("x"), http::HeaderValue::from_static("y")));
    query.request.extra_query.push(("x".into(), "y".into()));
    assert_ne!(keys(Scope::Account, &header), keys(Scope::Account, &query));
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

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn timed(queue: Option<u64>, total: u64) -> Call {
    let mut call = call("k", Operation::Chat, r#"{"messages":[]}"#);
    (call.timeouts.queue, call.timeouts.total) = (queue.map(seconds), Some(seconds(total)));
    call
}

type Made = BoxFuture<'static, Result<Answer>>;

/// Makes a call that asks for admission after `asks` seconds, is admitted after `begins` more and answered after `takes` more.
fn admitted(asks: u64, begins: u64, takes: u64) -> impl FnOnce(Call) -> Made + Send + 'static {
    move |call: Call| {
        async move {
            let observer = call.admission_observer.unwrap();
            sleep(seconds(asks)).await;
            observer.waits();
            sleep(seconds(begins)).await;
            observer.begins();
            // Later attempts wait within the total timeout.
            observer.waits();
            sleep(seconds(takes)).await;
            Ok(answer())
        }
        .boxed()
    }
}

fn never(_: Call) -> Made {
    async { panic!("another call is under way") }.boxed()
}

/// Begins a call for another caller, who waits for it in a task of its own.
async fn begun(asked: &Lookup, call: Call, make: impl FnOnce(Call) -> Made + Send + 'static) {
    let asked = asked.clone();
    tokio::spawn(async move { asked.call(&call, make).await });
    tokio::task::yield_now().await;
}

#[tokio::test(start_paused = true)]
async fn who_joins_a_call_that_waits_has_a_queue_timeout_of_its_own() {
    let cache = memory();
    let call = timed(Some(5), 600);
    let asked = lookup(&cache, &call);
    begun(&asked, timed(None, 600), admitted(2, 100, 1)).await;
    let came = Instant::now();
    let error = asked.call(&call, never).await.unwrap_err();
    assert_eq!((error.code.as_deref(), came.elapsed()), (Some(QUEUE_TIMEOUT), seconds(7)), "5 s from when it waits");
    assert_eq!(error.provider.as_deref(), Some("openai"));
    assert_eq!(cache.stats().joined, 1, "a caller is counted once");
}

#[tokio::test(start_paused = true)]
async fn time_before_the_admission_does_not_count_towards_total() {
    let cache = memory();
    let call = timed(None, 10);
    let asked = lookup(&cache, &call);
    begun(&asked, timed(None, 600), admitted(4, 100, 50)).await;
    let came = Instant::now();
    let error = asked.call(&call, never).await.unwrap_err();
    assert_eq!((error.code, came.elapsed()), (None, seconds(110)), "4 s before it waits, and 6 s of the attempt");
}

#[tokio::test(start_paused = true)]
async fn who_tries_again_has_what_is_left_of_its_time() {
    let cache = memory();
    let call = timed(Some(30), 10);
    let asked = lookup(&cache, &call);
    let fails = |call: Call| {
        async move {
            admitted(0, 20, 3)(call).await?;
            Err(Error::connection("lost"))
        }
        .boxed()
    };
    begun(&asked, timed(None, 600), fails).await;
    let again = |call: Call| {
        async move {
            let Timeouts { queue, total, .. } = call.timeouts;
            assert_eq!((queue, total), (Some(seconds(10)), Some(seconds(7))));
            Ok(answer())
        }
        .boxed()
    };
    assert!(!asked.call(&call, again).await.unwrap().meta.cached);
}

/// After the first caller's time has passed, one call is made for all who have more, and not one for each of them.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_too_late_for_one_is_made_once_more() {
    let cache = memory();
    let asked = lookup(&cache, &timed(None, 1));
    let late = |_: Call| {
        async {
            sleep(seconds(10)).await;
            Err(Error::timeout("the call was not done within its total timeout of 10 s"))
        }
        .boxed()
    };
    begun(&asked, timed(None, 10), late).await;
    let made = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let others = (11..40).filter(|total| *total != 30).map(|total| {
        let (asked, made) = (asked.clone(), made.clone());
        async move {
            let came = Instant::now();
            let again = move |call: Call| {
                made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                assert_eq!(call.timeouts.total, None);
                admitted(0, 0, 20)(call)
            };
            let outcome = asked.call(&timed(None, total), again).await;
            assert_eq!(outcome.is_ok(), total > 30, "{total}");
            assert_eq!(came.elapsed(), seconds(total.min(30)));
        }
    });
    futures_util::future::join_all(others).await;
    assert_eq!(made.load(std::sync::atomic::Ordering::Relaxed), 1);
}

/// A timeout of an attempt, or one that the provider reports, is a failure as any other: the second one is everybody's.
#[tokio::test(start_paused = true)]
async fn other_timeouts_are_everybodys() {
    let cache = memory();
    let call = timed(None, 600);
    let asked = lookup(&cache, &call);
    let made = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let all = (0..20).map(|_| {
        let made = made.clone();
        asked.call(&call, move |_| {
            made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            async {
                sleep(seconds(1)).await;
                Err(Error::timeout("no first byte within 1 s"))
            }
            .boxed()
        })
    });
    assert!(futures_util::future::join_all(all).await.into_iter().all(|outcome| outcome.is_err()));
    assert_eq!(made.load(std::sync::atomic::Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_refusal_of_one_callers_key_or_budget_is_not_everybodys() {
    let refused = |status| {
        move |_: Call| {
            async move {
                let mut error = Error::connection("refused");
                error.status = Some(status);
                Err(error)
            }
            .boxed()
        }
    };
    let answered = |_: Call| async { Ok(answer()) }.boxed();
    for (status, is_everybodys) in [(401, false), (402, false), (403, false), (404, true), (429, false), (500, false)] {
        let call = timed(None, 600);
        let asked = lookup(&memory(), &call);
        let (first, second) = tokio::join!(asked.call(&call, refused(status)), asked.call(&call, answered));
        assert_eq!((first.is_err(), second.is_err()), (true, is_everybodys), "{status}");
    }
    let budget = |key: &str| {
        Some(Arc::new(SpendingLimit {
            amount: 1.0,
            per: Per::Ever,
            shown: String::new(),
            key: key.to_owned(),
            allows_unknown: false,
            share: Share::Process,
            allows_down: false,
        }))
    };
    let exceeded = |_: Call| async { Err(Error::new(ErrorKind::BudgetExceeded, "spent").unsent()) }.boxed();
    let call = |name: &str| Call { budget: budget(name), ..timed(None, 600) };
    let (one, other, none) = (call("one"), call("other"), timed(None, 600));
    let asked = lookup(&memory(), &none);
    let outcomes = tokio::join!(
        asked.call(&one, exceeded),
        asked.call(&other, exceeded),
        asked.call(&other, exceeded),
        asked.call(&other, exceeded),
        asked.call(&none, answered)
    );
    assert!(outcomes.0.is_err() && outcomes.1.is_err() && outcomes.2.is_err() && outcomes.3.is_err());
    assert!(outcomes.4.is_ok(), "it has no budget");
}

/// A stream of chunks of 100 bytes.
struct Source {
    left: usize,
    meta: Meta,
}

impl ChunkSource for Source {
    async fn next(&mut self, chunks: &mut Vec<Chunk>) -> Result<bool> {
        tokio::task::yield_now().await;
        chunks.push((vec![b'0' + (self.left % 10) as u8; 100].into(), true));
        self.left -= 1;
        Ok(self.left > 0)
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn operation(&self) -> Operation {
        Operation::Chat
    }

    async fn finish(&mut self) {}
}

fn streams(chunks: usize) -> impl FnOnce(Call, Recorder) -> BoxFuture<'static, ()> + Send + 'static {
    move |_: Call, recorder: Recorder| {
        async move {
            let mut source = Source { left: chunks, meta: Meta { status: 200, ..Meta::default() } };
            recorder.record(Ok(&mut source)).await;
        }
        .boxed()
    }
}

async fn read(mut reader: StreamReader) -> Vec<Chunk> {
    let (mut chunks, mut more) = (Vec::new(), true);
    while more {
        let mut next = Vec::new();
        more = reader.next(&mut next).await.unwrap();
        chunks.append(&mut next);
    }
    chunks
}

/// It has joined, but its task has not run since: no chunk may be dropped that it has not read.
#[tokio::test]
async fn a_slow_reader_of_a_stream_that_is_larger_than_the_cache_gets_all_of_it() {
    let place = Place::Memory { max_bytes: 4000 };
    let cache = Arc::new(Cache::open(Settings { place, ttl: None, scope: Scope::Account }).unwrap());
    let call = timed(None, 600);
    let asked = lookup(&cache, &call);
    let mut first = Box::pin(asked.stream(&call, streams(300)));
    let mut second = Box::pin(asked.stream(&call, streams(1)));
    assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
    let all = read(first.await.unwrap()).await;
    assert_eq!(all.len(), 300);
    assert_eq!(read(second.await.unwrap()).await, all);
    assert_eq!(cache.stats().misses, 1);
}

/// A stream's usage is counted for whoever began it, or for the first of the others who reads its end.
#[tokio::test]
async fn a_stream_is_counted_once_whoever_leaves() {
    let call = timed(None, 600);
    // Who leaves, and whether they say so before; for whom it is counted in the end.
    for (leavers, counted) in [(&[][..], 0), (&[0], 1), (&[1], 0), (&[0, 1], 2), (&[1, 0], 2), (&[0, 1, 2], 2)] {
        for says_so in [false, true] {
            let asked = lookup(&memory(), &call);
            let mut opening: Vec<_> = (0..3).map(|_| Box::pin(asked.stream(&call, streams(3)))).collect();
            opening.iter_mut().for_each(|reader| assert!(reader.now_or_never().is_none()));
            let mut readers = Vec::new();
            for reader in opening {
                readers.push(Some(reader.await.unwrap()));
            }
            let mut for_whom = Vec::new();
            for leaver in leavers {
                let reader = readers[*leaver].take().unwrap();
                let departure = reader.departure().unwrap();
                let others = if says_so { departure() } else { true };
                if !says_so && *leaver == counted {
                    for_whom.push(*leaver);
                }
                drop(reader);
                if !others {
                    for_whom.push(*leaver);
                }
                if says_so {
                    assert_eq!(departure(), others, "it is asked once more");
                }
            }
            for (number, reader) in readers.into_iter().enumerate() {
                let Some(mut reader) = reader else { continue };
                let mut chunks = Vec::new();
                while reader.next(&mut chunks).await.unwrap() {
                    chunks.clear();
                }
                if !reader.meta().cached {
                    for_whom.push(number);
                }
            }
            assert_eq!(for_whom, [counted], "{leavers:?} {says_so}");
        }
    }
}

/// Those who have read the end before were told that it is counted for another: it is left to none of them.
#[tokio::test]
async fn a_stream_is_counted_for_who_began_it_and_leaves_last() {
    let call = timed(None, 600);
    let asked = lookup(&memory(), &call);
    let mut opening: Vec<_> = (0..3).map(|_| Box::pin(asked.stream(&call, streams(3)))).collect();
    opening.iter_mut().for_each(|reader| assert!(reader.now_or_never().is_none()));
    let mut readers = Vec::new();
    for reader in opening {
        readers.push(reader.await.unwrap());
    }
    for reader in &mut readers[1..] {
        let mut chunks = Vec::new();
        while reader.next(&mut chunks).await.unwrap() {
            chunks.clear();
        }
        assert!(reader.meta().cached);
    }
    let departure = readers[0].departure().unwrap();
    assert!(!departure(), "the others have no part in it any more");
    drop(readers);
    assert!(!departure(), "it is asked once more");
}

/// A call's usage is counted for whoever began it or, when that one has gone, for the first of the others.
#[tokio::test(start_paused = true)]
async fn a_call_is_counted_once_whoever_goes() {
    let call = timed(None, 600);
    for (goes, counted) in [(None, 0), (Some(0), 1), (Some(1), 0)] {
        let asked = lookup(&memory(), &call);
        let mut callers: Vec<_> = (0..3)
            .map(|_| {
                let (asked, call) = (asked.clone(), call.clone());
                Some(Box::pin(async move { asked.call(&call, admitted(0, 0, 5)).await.unwrap().meta.cached }))
            })
            .collect();
        callers.iter_mut().flatten().for_each(|caller| assert!(caller.now_or_never().is_none()));
        if let Some(goes) = goes {
            callers[goes] = None;
        }
        for (number, caller) in callers.into_iter().enumerate() {
            if let Some(caller) = caller {
                assert_eq!(caller.await, number != counted, "{goes:?}");
            }
        }
    }
}

#[test]
fn cookies_are_not_for_who_joins() {
    let lines = Bytes::from_static(b"x-request-id: r\nSet-Cookie: a=b\nset-cookie2: c=d\n");
    let meta = Meta { retries: 3, headers: Headers::new(lines), ..Meta::default() };
    for (pays, retries) in [(false, 0), (true, 3)] {
        let joined = super::log::joined(meta.clone(), pays);
        assert_eq!(joined.headers.iter().count(), 1);
        assert_eq!((joined.cached, joined.retries, joined.headers.request_id()), (!pays, retries, Some("r")));
    }
}
