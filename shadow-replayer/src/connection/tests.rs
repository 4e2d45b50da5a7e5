use super::*;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn request() -> Sent {
    Request::post("http://127.0.0.1:1/a?b=1").body(Full::new(Bytes::from_static(b"x"))).unwrap()
}

async fn listening() -> (TcpListener, Connections) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = vec![listener.local_addr().unwrap()];
    (listener, Connections::new(addresses))
}

/// Sends a request and reads the answer to its end.
async fn answered(connections: &Connections) -> Result<(), String> {
    let (response, lease) = connections.send(request()).await?;
    response.into_body().collect().await.map_err(|error| error.to_string())?;
    lease.keep();
    Ok(())
}

/// Reads one request of the tests; returns its head and whether there was one.
async fn read(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\nx") {
        let mut some = [0; 1024];
        match stream.read(&mut some).await {
            Ok(read @ 1..) => bytes.extend_from_slice(&some[..read]),
            _ => break,
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_connection_is_used_again_and_the_target_is_in_origin_form() {
    let (listener, connections) = listening().await;
    let playing = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heads = Vec::new();
        for _ in 0..3 {
            heads.push(read(&mut stream).await);
            stream.write_all(ANSWER).await.unwrap();
        }
        heads
    });
    for _ in 0..3 {
        answered(&connections).await.unwrap();
    }
    for head in playing.await.unwrap() {
        assert!(head.starts_with("POST /a?b=1 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("host: 127.0.0.1:1\r\n"), "{head}");
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_replaced() {
    let (listener, connections) = listening().await;
    let playing = tokio::spawn(async move {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            read(&mut stream).await;
            stream.write_all(ANSWER).await.unwrap();
        }
    });
    answered(&connections).await.unwrap();
    answered(&connections).await.unwrap();
    playing.await.unwrap();
}

#[tokio::test]
async fn a_request_that_may_have_arrived_is_not_repeated() {
    let (listener, connections) = listening().await;
    let playing = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read(&mut stream).await;
        stream.write_all(ANSWER).await.unwrap();
        // The second request arrives, and the connection ends without an answer.
        let second = read(&mut stream).await;
        drop(stream);
        let another = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        (second, another.is_ok())
    });
    answered(&connections).await.unwrap();
    let failure = answered(&connections).await.unwrap_err();
    assert!(failure.starts_with("the candidate did not answer"), "{failure}");
    let (second, another) = playing.await.unwrap();
    assert!(second.starts_with("POST ") && !another);
}

#[test]
fn a_connection_that_idled_for_long_is_not_used_again() {
    let since = Instant::now();
    assert!(!idled_too_long(since, since + IDLE_MAX));
    assert!(idled_too_long(since, since + IDLE_MAX + Duration::from_millis(1)));
}

#[test]
fn http_2_names_the_recorded_host_in_the_target() {
    let mut request = request();
    request.headers_mut().insert(HOST, HeaderValue::from_static("books.internal"));
    let request = with_authority(request).unwrap();
    assert_eq!(request.uri(), "http://books.internal/a?b=1");
    assert!(request.headers().is_empty());
}
