//! Upgrades (RFC 9110, section 7.8): after 101 the connection is a tunnel.

use crate::group::Group;
use crate::script::Step::{
    Await, Close, End, HalfClose, Head, IfCalled, Message, Read, Reset, Signal,
};
use crate::script::{Case, Step, send};

const UPGRADE: &str = "GET /socket HTTP/1.1\r\nHost: books\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn both(before: [&[Step]; 2], more: [&[Step]; 2]) -> (Vec<Step>, Vec<Step>) {
    ([before[0], more[0]].concat(), [before[1], more[1]].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_connection_is_a_tunnel_both_ways() {
    let mut group = Group::start().await;
    let section = "9110, 7.8";
    let open: [&[Step]; 2] = [&[send(UPGRADE), Message], &[Message, send(SWITCHED)]];
    let (client, origin) = both(
        open,
        [
            &[send("\x00ping"), Read(5), send("again"), Read(5), Close],
            &[Read(5), send("\x00pong"), Read(5), send("AGAIN"), End],
        ],
    );
    group.same("echo, the client leaves", section, client, origin).await;
    let (client, origin) =
        both(open, [&[Read(3), send("yes"), End], &[send("hey"), Read(3), Close]]);
    group.same("the origin speaks first and leaves", section, client, origin).await;
    let (client, origin) =
        both(open, [&[send("all"), HalfClose, Read(4), End], &[Read(3), End, send("rest"), Close]]);
    group.same("the client half-closes", section, client, origin).await;
    let (client, origin) =
        both(open, [&[Read(3), End, send("rest"), Close], &[send("all"), HalfClose, Read(4), End]]);
    group.same("the origin half-closes", section, client, origin).await;
    for end in [Close, Reset] {
        let (client, origin) = both(open, [&[Await, end.clone()], &[Signal, End]]);
        group.same("the client breaks off", section, client, origin).await;
        let (client, origin) = both(open, [&[Signal, End], &[Await, end]]);
        group.same("the origin breaks off", section, client, origin).await;
    }
    let much: Vec<u8> = (0..3_000_000u32).map(|n| n.to_le_bytes()[0]).collect();
    let turn: &[Step] = &[send(much), Read(3_000_000)];
    let (client, origin) = both(open, [turn, turn]);
    group.same("3 MB both ways at once", section, client, origin).await;
    // Looks like HTTP and is none.
    let inside = "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\n";
    let (client, origin) =
        both(open, [&[send(inside), Read(4), Close], &[Read(inside.len()), send("done"), End]]);
    group.same("HTTP in the tunnel", section, client, origin).await;
    group.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_right_behind_a_head_belong_to_the_tunnel() {
    let mut group = Group::start().await;
    let section = "9110, 7.8";
    let client = vec![send(format!("{UPGRADE}early")), Message, Read(2), Close];
    let origin = vec![Message, send(SWITCHED), Read(5), send("ok"), End];
    group.same("behind the request", section, client, origin).await;
    let client = vec![send(UPGRADE), Message, Read(5), send("ok"), Close];
    let origin = vec![Message, send(format!("{SWITCHED}early")), Read(2), End];
    group.same("behind 101", section, client, origin).await;
    let client = vec![send(UPGRADE), Message, Read(5), End];
    let origin = vec![Message, send(format!("{SWITCHED}early")), Close];
    group.same("behind 101, then closed", section, client, origin).await;
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let client = vec![send(UPGRADE), Message, Message, Read(5), Close];
    let origin = vec![Message, send(format!("{hints}{SWITCHED}early")), End];
    group.same("behind 103 and 101", section, client, origin).await;
    let kept = "GET / HTTP/1.1\r\nHost: books\r\n\r\n";
    let client = vec![send(kept), Message, send(UPGRADE), Message, send("a"), Read(1), Close];
    let origin = vec![Message, send(OK), Message, send(SWITCHED), Read(1), send("b"), End];
    group.same("on a connection that was used before", section, client, origin).await;
    let body = "POST /socket HTTP/1.1\r\nHost: books\r\nConnection: upgrade\r\nUpgrade: rpc/2\r\n\
        Content-Length: 5\r\n\r\nhello";
    let switched = "HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: rpc/2\r\n\r\n";
    let client = vec![send(body), Message, send("a"), Read(1), Close];
    let origin = vec![Message, send(switched), Read(1), send("b"), End];
    group.same("a request with a body", section, client, origin).await;
    group.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_is_refused_leaves_http() {
    let mut group = Group::start().await;
    let section = "9110, 7.8";
    let get = "GET / HTTP/1.1\r\nHost: books\r\n\r\n";
    for refusal in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
    ] {
        let client = vec![send(UPGRADE), Message, send(get), Message];
        let origin = vec![Message, send(refusal), Message, send(OK)];
        group.same(refusal, section, client, origin).await;
    }
    // What follows is a tunnel's only once the origin has agreed.
    let client = vec![send(format!("{UPGRADE}{get}")), Message, Message];
    let origin = vec![Message, send(OK), Message, send(OK)];
    group.same("refused, and another request behind it", section, client, origin).await;
    // The recorder records what a tunnel hides from it; it never starts one by itself, and an origin that switches unasked fails.
    let client = vec![send(get), Message];
    let origin = vec![Message, send(format!("{SWITCHED}tunnel")), Close];
    group.first("101 unasked", "9110, 15.2.2", client, origin, &["answer 502", "ended"]).await;
    group.finish().await;
}

/// A reverse proxy may know no CONNECT; if it does, the service gets it, and no address that the request names.
#[tokio::test(flavor = "multi_thread")]
async fn connect_is_refused_or_for_the_service() {
    let mut group = Group::start().await;
    group.unreached_max = 1;
    let connect = "CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n";
    let client = vec![send(connect), Head, send("ping"), Read(4), Close];
    let origin = vec![IfCalled, Head, send("HTTP/1.1 200 OK\r\n\r\n"), Read(4), send("pong"), End];
    let case = Case { name: "CONNECT", section: "9110, 9.3.6", client, origin };
    let direct = case.play(group.origin.local_addr().unwrap(), &group.origin).await;
    let through = group.through(&case).await;
    let refused = ["answer 400", "answer 403", "answer 405", "answer 501"];
    if through != direct && !through.client.first().is_some_and(|first| refused.contains(&&**first))
    {
        group.fail(&case, &format!("  direct  {direct:?}\n  through {through:?}\n"));
    }
    group.finish().await;
}
