//! One connection: hyper over the wire, with time limits; an ending that lets the client read its last answer.

use super::App;
use super::request::HEAD_BYTES_MAX;
use super::state::Open;
use super::wire::{Exchange, Wire};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use meridian_api::error::Code;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How long a client may go on sending what is no longer read, before its connection is cut.
const LINGER_TIME_MAX: Duration = Duration::from_secs(5);
/// The same, when the node stops.
const LINGER_STOPPING_MAX: Duration = Duration::from_millis(300);
/// How often, at most, a connection is looked after.
const LOOK_TIME_MIN: Duration = Duration::from_millis(20);
/// How many bytes it may send in that time.
const LINGER_BYTES_MAX: usize = 256 << 20;

/// Serves a connection until it ends.
pub(super) async fn serve(app: Arc<App>, stream: TcpStream, open: Open, mut stopped: watch::Receiver<bool>) {
    // Without it small answers may wait for the client's acknowledgement; it is no error to go without.
    let _slower = stream.set_nodelay(true);
    let exchange = Arc::new(Exchange::new());
    let wire = Wire::new(stream, exchange.clone(), app.limits.body_time_max);
    let (head_time_max, idle_time_max) = (app.limits.header_time_max, app.limits.idle_time_max);
    let told = exchange.clone();
    let service = service_fn(move |request| Box::pin(answer(app.clone(), told.clone(), request)));
    let mut http = http1::Builder::new();
    // hyper has one time for a head and for the wait before it: it gets the longer one.
    http.timer(TokioTimer::new()).header_read_timeout(idle_time_max.max(head_time_max));
    http.max_buf_size(HEAD_BYTES_MAX);
    let mut connection = http.serve_connection(TokioIo::new(wire), service);
    let mut looks = interval((head_time_max / 4).max(LOOK_TIME_MIN));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stopping = *stopped.borrow();
    let last_word = loop {
        if stopping {
            Pin::new(&mut connection).graceful_shutdown();
        }
        tokio::select! {
            ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => break ended.err().and_then(last_word),
            _ = stopped.changed(), if !stopping => stopping = true,
            _ = looks.tick() => if exchange.is_late(head_time_max) {
                break Some((Code::RequestTimeout, "the request's head did not arrive in time"));
            }
        }
    };
    let mut wire = connection.into_parts().io.into_inner();
    if let Some((code, detail)) = last_word
        && exchange.has_begun()
    {
        wire.last_word(code, detail);
    }
    linger(&mut wire, if stopping { LINGER_STOPPING_MAX } else { LINGER_TIME_MAX }).await;
    drop(open);
}

/// What a client is told whom hyper has given up without a word.
fn last_word(error: hyper::Error) -> Option<(Code, &'static str)> {
    match error.is_parse() {
        true => Some((Code::BadRequest, "this is not an HTTP/1.1 request that can be read")),
        false => None,
    }
}

async fn answer(
    app: Arc<App>,
    exchange: Arc<Exchange>,
    request: Request<Incoming>,
) -> Result<super::answer::Answer, Infallible> {
    exchange.request();
    let is_head = *request.method() == Method::HEAD;
    let answer = app.answer(request).await;
    let bodiless = is_head || matches!(answer.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let bytes = answer.body().size_hint().exact().filter(|_| !bodiless).unwrap_or_default();
    exchange.answer(bytes as usize);
    Ok(answer)
}

/// Says that nothing more comes, and takes what the client still sends: cutting it off would cost it the answer.
async fn linger(wire: &mut Wire<TcpStream>, time_max: Duration) {
    let rest = async {
        if wire.shutdown().await.is_err() {
            return;
        }
        let (mut taken, mut buffer) = (0, vec![0; 16 << 10]);
        while let Ok(bytes @ 1..) = wire.read(&mut buffer).await {
            taken += bytes;
            if taken > LINGER_BYTES_MAX {
                return;
            }
        }
    };
    // Whoever takes longer is cut off.
    let _cut = timeout(time_max, rest).await;
}
