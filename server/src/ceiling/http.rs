//! The bare echo: nothing but the HTTP library and the sockets.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::thread;
use tokio::net::{TcpListener, TcpStream};

/// Serves until the process is killed.
pub(super) fn serve(address: SocketAddr, threads: usize, value_bytes: usize) -> anyhow::Result<()> {
    let listener = StdListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let value = Bytes::from(vec![b'v'; value_bytes]);
    writeln!(io::stdout(), "http://{}", listener.local_addr()?)?;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|_| {
                let (listener, value) = (listener.try_clone()?, value.clone());
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                Ok(scope.spawn(move || runtime.block_on(accept(listener, value))))
            })
            .collect::<io::Result<_>>()?;
        let ended = threads.into_iter().map(|thread| thread.join().expect("no thread panics"));
        ended.collect::<anyhow::Result<()>>()
    })
}

async fn accept(listener: StdListener, value: Bytes) -> anyhow::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(echo(stream, value.clone()));
    }
}

async fn echo(stream: TcpStream, value: Bytes) {
    // Who is gone, or speaks no HTTP, gets no answer: a ceiling has nothing to say about it.
    let _slower = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(request, value.clone()));
    let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, value: Bytes) -> Result<Response<Full<Bytes>>, hyper::Error> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut answer = Response::new(Full::new(value));
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        return Ok(answer);
    }
    request.into_body().collect().await?;
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    Ok(answer)
}
