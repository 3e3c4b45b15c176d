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
use tokio::time::timeout;

/// How long a client may go on sending what is no longer read, before its connection is cut.
const LINGER_TIME_MAX: Duration = Duration::from_secs(5);
/// The same, when the node stops.
const LINGER_STOPPING_MAX: Duration = Duration::from_millis(300);
/// How many bytes it may send in that time.
const LINGER_BYTES_MAX: usize = 256 << 20;

/// Serves a connection until it ends.
pub(super) async fn serve(app: Arc<App>, stream: TcpStream, open: Open, mut stopped: watch::Receiver<bool>) {
    // Without it small answers may wait for the client's acknowledgement; it is no error to go without.
    let _slower = stream.set_nodelay(true);
    let exchange = Arc::new(Exchange::default());
    let wire = Wire::new(stream, exchange.clone(), app.limits.body_time_max);
    let (header_time_max, service_app) = (app.limits.header_time_max, app);
    let service = service_fn(move |request| Box::pin(answer(service_app.clone(), exchange.clone(), request)));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(header_time_max).max_buf_size(HEAD_BYTES_MAX);
    let mut connection = http.serve_connection(TokioIo::new(wire), service);
    let mut stopping = *stopped.borrow();
    let ended = loop {
        if stopping {
            Pin::new(&mut connection).graceful_shutdown();
        }
        tokio::select! {
            ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => break ended,
            _ = stopped.changed(), if !stopping => stopping = true,
        }
    };
    let mut wire = connection.into_parts().io.into_inner();
    match ended {
        Err(error) if wire.has_begun() && error.is_timeout() => {
            wire.last_word(Code::RequestTimeout, "the request's head did not arrive in time");
        }
        // Where hyper has said something itself, the last word is said.
        Err(error) if wire.has_begun() && error.is_parse() => {
            wire.last_word(Code::BadRequest, "this is not an HTTP/1.1 request that can be read");
        }
        // The client has gone, or all was said.
        _ => {}
    }
    linger(&mut wire, if stopping { LINGER_STOPPING_MAX } else { LINGER_TIME_MAX }).await;
    drop(open);
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
