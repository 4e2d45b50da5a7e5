//! Well-behaved HTTP/2 peers: a client that notes what it is answered, and an origin that does what its path says.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::timeout;

use crate::script::shown;
use crate::wire::LATE;

/// What one side saw of one exchange.
pub(crate) type Lines = Vec<String>;

/// An origin, and what it saw of each exchange, as they ended.
pub(crate) struct Origin {
    pub(crate) at: SocketAddr,
    /// A permit for each request and each body that has begun where the path asks for it.
    pub(crate) progress: Arc<Semaphore>,
    seen: mpsc::UnboundedReceiver<Lines>,
}

impl Origin {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (note, seen) = mpsc::unbounded_channel();
        let progress = Arc::new(Semaphore::new(0));
        let signal = Arc::clone(&progress);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                tokio::spawn(serve(stream, note.clone(), Arc::clone(&signal)));
            }
        });
        Self { at, progress, seen }
    }

    /// Returns what it saw of this many exchanges, in the order of their lines.
    pub(crate) async fn seen(&mut self, exchanges: usize) -> Vec<Lines> {
        let mut all = Vec::new();
        while all.len() < exchanges {
            match timeout(LATE, self.seen.recv()).await {
                Ok(Some(lines)) => all.push(lines),
                _ => all.push(vec!["late: the origin saw nothing".to_owned()]),
            }
        }
        all.sort();
        all
    }
}

async fn serve(stream: TcpStream, note: mpsc::UnboundedSender<Lines>, progress: Arc<Semaphore>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let (go_away, asked) = mpsc::unbounded_channel();
    let mut asked = Some(asked);
    loop {
        let asking = async {
            match asked.as_mut() {
                Some(asked) => asked.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = connection.accept() => {
                let Some(Ok((request, answer))) = accepted else { return };
                if request.uri().path() == "/close" {
                    let _ = note.send(vec!["closed".to_owned()]);
                    return;
                }
                let exchange = Exchange { go_away: go_away.clone(), progress: Arc::clone(&progress) };
                tokio::spawn(exchange.run(request, answer, note.clone()));
            }
            reason = asking => {
                match reason {
                    Some(Some(reason)) => connection.abrupt_shutdown(reason),
                    _ => connection.graceful_shutdown(),
                }
                asked = None;
            }
        }
    }
}

struct Exchange {
    go_away: mpsc::UnboundedSender<Option<Reason>>,
    progress: Arc<Semaphore>,
}

impl Exchange {
    async fn run(
        self,
        request: Request<RecvStream>,
        answer: SendResponse<Bytes>,
        note: mpsc::UnboundedSender<Lines>,
    ) {
        let (head, body) = request.into_parts();
        let uri = &head.uri;
        let mut lines = vec![format!("request {} {}", head.method, uri.path())];
        lines.push(format!("  query {:?}", uri.query()));
        lines.push(format!("  authority {:?} scheme {:?}", uri.authority(), uri.scheme_str()));
        fields(&head.headers, &mut lines);
        if let Err(error) = self.act(uri.path(), body, answer, &mut lines).await {
            lines.push(why(&error));
        }
        let _ = note.send(lines);
    }

    /// Does what the path says.
    async fn act(
        &self,
        path: &str,
        body: RecvStream,
        answer: SendResponse<Bytes>,
        lines: &mut Lines,
    ) -> Result<(), h2::Error> {
        let number = path.rsplit('/').next().and_then(|text| text.parse().ok()).unwrap_or(0);
        match path.split('/').nth(1).unwrap_or_default() {
            "reset" | "half" | "hinted" | "wait" | "open" | "goaway" | "abrupt" | "progress" => {
                self.end(path, number, body, answer, lines).await
            }
            what => converse(what, number, body, answer, lines).await,
        }
    }

    /// Ends the exchange other than by an answer.
    async fn end(
        &self,
        path: &str,
        number: u32,
        mut body: RecvStream,
        mut answer: SendResponse<Bytes>,
        lines: &mut Lines,
    ) -> Result<(), h2::Error> {
        match path.split('/').nth(1).unwrap_or_default() {
            "reset" => answer.send_reset(Reason::from(number)),
            "half" => {
                let mut sending = answer.send_response(Response::new(()), false)?;
                send(&mut sending, Bytes::from_static(b"half"), false).await?;
                // The client has what was sent before it sees the reset.
                read(&mut body, lines).await?;
                sending.send_reset(Reason::from(number));
            }
            "hinted" => {
                answer.send_informational(interim(103, "</a.css>"))?;
                read(&mut body, lines).await?;
                answer.send_reset(Reason::from(number));
            }
            "open" => {
                let mut sending = answer.send_response(Response::new(()), false)?;
                send(&mut sending, Bytes::from_static(b"half"), false).await?;
                let reset = timeout(LATE, poll_fn(|context| sending.poll_reset(context))).await;
                lines.push(match reset {
                    Ok(reason) => format!("reset by the client: {}", reason?),
                    Err(_) => "late: no reset".to_owned(),
                });
            }
            "wait" => {
                self.progress.add_permits(1);
                let reset = timeout(LATE, poll_fn(|context| answer.poll_reset(context))).await;
                lines.push(match reset {
                    // By the connection's end, or by whatever code.
                    Ok(_) if path.ends_with("any") => "left by the client".to_owned(),
                    Ok(reason) => format!("reset by the client: {}", reason?),
                    Err(_) => "late: no reset".to_owned(),
                });
            }
            "progress" => {
                let data = body.data().await.transpose()?.unwrap_or_default();
                lines.push(format!("  begins {}", shown(&data)));
                self.progress.add_permits(1);
                read(&mut body, lines).await?;
            }
            "goaway" => {
                answer.send_response(Response::new(()), true)?;
                let _ = self.go_away.send(None);
            }
            _ => drop(self.go_away.send(Some(Reason::from(number)))),
        }
        Ok(())
    }
}

/// Reads and answers in the way of this name.
async fn converse(
    what: &str,
    number: u32,
    mut body: RecvStream,
    mut answer: SendResponse<Bytes>,
    lines: &mut Lines,
) -> Result<(), h2::Error> {
    match what {
        "status" => {
            read(&mut body, lines).await?;
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::from_u16(u16::try_from(number).unwrap()).unwrap();
            response.headers_mut().insert("content-length", HeaderValue::from_static("5"));
            answer.send_response(response, true)?;
        }
        "grpc" => {
            read(&mut body, lines).await?;
            let mut sending = answer.send_response(grpc(None), false)?;
            send(&mut sending, Bytes::from_static(b"\0\0\0\0\x02ok"), false).await?;
            sending.send_trailers(grpc(Some("0")).headers().clone())?;
        }
        "trailers-only" => drop(answer.send_response(grpc(Some("5")), true)?),
        "hints" => {
            let all = [(103, "</a.css>; rel=preload"), (102, ""), (103, "</b.js>"), (199, "odd")];
            for (status, link) in all {
                answer.send_informational(interim(status, link))?;
            }
            let mut sending = answer.send_response(Response::new(()), false)?;
            send(&mut sending, Bytes::from_static(b"ok"), true).await?;
        }
        "continue" => {
            if number > 0 {
                answer.send_informational(interim(103, "</a.css>"))?;
            }
            answer.send_informational(Response::builder().status(100).body(()).unwrap())?;
            read(&mut body, lines).await?;
            answer.send_response(Response::new(()), true)?;
        }
        // The rest of the request is not wanted: h2 resets the stream with NO_ERROR (RFC 9113, section 8.1).
        "refuse" => {
            let refused = Response::builder().status(417).body(()).unwrap();
            answer.send_response(refused, false)?.send_data(Bytes::from_static(b"no"), true)?;
        }
        "large" => {
            let mut sending = answer.send_response(Response::new(()), false)?;
            send(&mut sending, large(), true).await?;
        }
        "early" => {
            let refused = Response::builder().status(413).body(()).unwrap();
            answer.send_response(refused, true)?;
            read(&mut body, lines).await?;
        }
        "stream" => {
            let mut sending = answer.send_response(Response::new(()), false)?;
            while let Some(data) = body.data().await {
                let data = data?;
                body.flow_control().release_capacity(data.len())?;
                send(&mut sending, data, false).await?;
            }
            send(&mut sending, Bytes::new(), true).await?;
        }
        _ => {
            let mut response = Response::new(());
            for value in ["b=2", "a=1"] {
                response.headers_mut().append("set-cookie", HeaderValue::from_static(value));
            }
            let (bytes, trailers) = read(&mut body, lines).await?;
            let mut sending = answer.send_response(response, false)?;
            let last = trailers.is_none();
            send(&mut sending, bytes.into(), last).await?;
            if let Some(trailers) = trailers {
                sending.send_trailers(trailers)?;
            }
        }
    }
    Ok(())
}

fn interim(status: u16, link: &str) -> Response<()> {
    Response::builder().status(status).header("link", link).body(()).unwrap()
}

fn grpc(status: Option<&'static str>) -> Response<()> {
    let mut response = Response::new(());
    let (name, value) = match status {
        None => ("content-type", "application/grpc"),
        Some(status) => ("grpc-status", status),
    };
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    if status.is_some() {
        response.headers_mut().insert("grpc-message", HeaderValue::from_static("a%20b"));
    }
    response
}

/// A body that is larger than every window.
pub(crate) fn large() -> Bytes {
    (0..5_000_000u32).map(|n| n.to_le_bytes()[1]).collect()
}

/// Sends data as the windows allow.
pub(crate) async fn send(
    to: &mut SendStream<Bytes>,
    mut data: Bytes,
    last: bool,
) -> Result<(), h2::Error> {
    while !data.is_empty() {
        to.reserve_capacity(data.len());
        let capacity = match poll_fn(|context| to.poll_capacity(context)).await {
            Some(capacity) => capacity?,
            None => return Ok(()),
        };
        to.send_data(data.split_to(capacity.min(data.len())), false)?;
    }
    if last { to.send_data(Bytes::new(), true) } else { Ok(()) }
}

/// Reads a body and its trailers.
pub(crate) async fn read(
    body: &mut RecvStream,
    lines: &mut Lines,
) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        // What came before an error is part of what was seen.
        let data = data.inspect_err(|_| lines.push(format!("  part {}", shown(&bytes))))?;
        body.flow_control().release_capacity(data.len())?;
        bytes.extend(data);
    }
    lines.push(format!("  body {}", shown(&bytes)));
    let trailers = body.trailers().await?;
    if let Some(trailers) = &trailers {
        lines.push("  trailers".to_owned());
        fields(trailers, lines);
    }
    Ok((bytes, trailers))
}

/// Writes fields, but for the recorder's own.
pub(crate) fn fields(headers: &HeaderMap, lines: &mut Lines) {
    let mut names: Vec<_> = headers.keys().collect();
    names.sort_by_key(|name| name.as_str());
    for name in
        names.into_iter().filter(|name| !["traceparent", "tracestate"].contains(&name.as_str()))
    {
        for value in headers.get_all(name) {
            lines.push(format!("  {name}: {}", shown(value.as_bytes())));
        }
    }
}

/// Returns in words how an exchange failed.
pub(crate) fn why(error: &h2::Error) -> String {
    match error.reason() {
        Some(reason) if error.is_go_away() => format!("go away: {reason:?}"),
        Some(reason) => format!("reset: {reason:?}"),
        None => "ended".to_owned(),
    }
}

/// A client's connection, and a sign that it has ended.
pub(crate) struct Client {
    pub(crate) requests: h2::client::SendRequest<Bytes>,
    pub(crate) ended: Arc<Notify>,
}

impl Client {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (requests, connection) =
            timeout(LATE, h2::client::handshake(stream)).await.unwrap().unwrap();
        let ended = Arc::new(Notify::new());
        let end = Arc::clone(&ended);
        tokio::spawn(async move {
            let _ = connection.await;
            end.notify_one();
        });
        Self { requests, ended }
    }

    /// Begins a request.
    pub(crate) async fn begin(
        &self,
        request: Request<()>,
        last: bool,
    ) -> Result<(h2::client::ResponseFuture, SendStream<Bytes>), h2::Error> {
        let ready = timeout(LATE, self.requests.clone().ready()).await;
        ready.unwrap_or_else(|_| Err(Reason::SETTINGS_TIMEOUT.into()))?.send_request(request, last)
    }
}

/// Reads an answer, interim ones first.
pub(crate) async fn answered(mut answer: h2::client::ResponseFuture) -> Lines {
    let mut lines = Vec::new();
    let reading = async {
        while let Some(interim) = poll_fn(|context| answer.poll_informational(context)).await {
            let interim = interim?;
            lines.push(format!("answer {}", interim.status().as_u16()));
            fields(interim.headers(), &mut lines);
        }
        let (head, mut body) = answer.await?.into_parts();
        lines.push(format!("answer {}", head.status.as_u16()));
        fields(&head.headers, &mut lines);
        read(&mut body, &mut lines).await.map(drop)
    };
    let ended: Result<Result<(), h2::Error>, _> =
        timeout(LATE + Duration::from_secs(2), reading).await;
    match ended {
        Ok(Ok(())) => lines.push("whole".to_owned()),
        Ok(Err(error)) => lines.push(why(&error)),
        Err(_) => lines.push("late".to_owned()),
    }
    lines
}
