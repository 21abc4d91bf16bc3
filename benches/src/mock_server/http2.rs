//! HTTP/2: requests side by side on one connection.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderName, HeaderValue, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::reply::{Body, ID, Reply, ids, stamp};
use crate::route::Route;
use crate::settings::Settings;
use crate::stats::{InFlight, STATS};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// What most servers say.
const MAX_CONCURRENT_STREAMS: u32 = 100;

/// Answers requests until the client hangs up.
pub async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, defaults: Settings) {
    STATS.count_connection();
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(MAX_CONCURRENT_STREAMS).initial_window_size(1 << 20);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    let prepared = Arc::new(OnceLock::new());
    while let Some(Ok((request, respond))) = connection.accept().await {
        // The connection's own work goes on while a request's body arrives, so each is answered in a task.
        tokio::spawn(answer(request, respond, prepared.clone(), defaults));
    }
}

/// What a connection's first request got; those that agree with it get the same.
type Prepared = OnceLock<(Route, Settings, Encoded)>;

/// A response that is ready to be stamped and sent.
struct Encoded {
    status: u16,
    headers: Vec<(HeaderName, String)>,
    pieces: Vec<(Vec<u8>, Vec<usize>)>,
}

impl Encoded {
    fn new(reply: &Reply) -> Self {
        let lines = reply.headers.split("\r\n").filter_map(|line| line.split_once(": "));
        // Fields of a connection do not exist in HTTP/2 (RFC 9113, section 8.2.2).
        let lines = lines.filter(|(name, _)| *name != "connection");
        let field = |(name, value): (&str, &str)| (name.parse().expect("wire's names are valid"), value.to_owned());
        let headers = lines.map(field).collect();
        let writes = match &reply.body {
            Body::Whole(text) => vec![text.clone()],
            Body::Stream(writes) => writes.iter().map(|parts| parts.concat()).collect(),
        };
        let pieces = writes.into_iter().map(String::into_bytes).map(|bytes| (bytes.clone(), ids(&bytes))).collect();
        Self { status: reply.status[..3].parse().expect("a status begins with its code"), headers, pieces }
    }

    fn head(&self, number: u64) -> Result<Response<()>, Error> {
        let mut response = Response::builder().status(self.status).body(())?;
        for (name, value) in &self.headers {
            let value = match value.contains(ID) {
                true => HeaderValue::try_from(value.replace(ID, &format!("{number:08x}")))?,
                false => HeaderValue::try_from(value)?,
            };
            response.headers_mut().append(name, value);
        }
        Ok(response)
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    prepared: Arc<Prepared>,
    defaults: Settings,
) -> Result<(), Error> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let mut stream = request.into_body();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    let in_flight = InFlight::start();
    let route = Route::of(&path, &body);
    let encode = |route: Route| {
        let settings = defaults.with_path_prefix(&path);
        let encoded = Encoded::new(&route.reply(&settings));
        (route, settings, encoded)
    };
    let other;
    let (_, settings, encoded) = match prepared.get() {
        Some(known) if known.0 == route => known,
        Some(_) => {
            other = encode(route);
            &other
        }
        None => prepared.get_or_init(|| encode(route)),
    };
    pause(settings.delay_ms).await;
    let mut stream = respond.send_response(encoded.head(in_flight.number)?, false)?;
    let last = encoded.pieces.len() - 1;
    for (index, (piece, ids)) in encoded.pieces.iter().enumerate() {
        if index > 0 {
            pause(settings.pause_ms).await;
        }
        let mut piece = piece.clone();
        stamp(&mut piece, ids, in_flight.number);
        send(&mut stream, Bytes::from(piece), index == last).await?;
    }
    in_flight.finish();
    Ok(())
}

/// Sends as much at once as the client's windows take.
async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes, is_last: bool) -> Result<(), Error> {
    loop {
        stream.reserve_capacity(data.len());
        let capacity = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
        let capacity = capacity.ok_or("the client has hung up")??.min(data.len());
        let part = data.split_to(capacity);
        let is_end = data.is_empty();
        stream.send_data(part, is_end && is_last)?;
        if is_end {
            return Ok(());
        }
    }
}

async fn pause(milliseconds: usize) {
    match milliseconds {
        0 => tokio::task::yield_now().await,
        some => tokio::time::sleep(Duration::from_millis(some as u64)).await,
    }
}
