use std::io::{Read, Write};
use std::net::TcpStream as Client;

use super::*;

const CONFIG: &str = r#"
[service]
name = "ledger"
build = "p1"
[store]
directory = "store"
[recorder]
listen = "127.0.0.1:0"
admin = "127.0.0.1:0"
forward_to = "http://127.0.0.1:9"
spool = "spool"
[[upstream]]
name = "fx"
listen = "127.0.0.1:0"
forward_to = "http://127.0.0.1:9"
"#;

fn config(change: impl Fn(&str) -> String) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shadow.toml");
    std::fs::write(&file, change(CONFIG)).unwrap();
    Config::load(&file, |_| None).unwrap()
}

fn passed(sockets: &[(&str, &str)]) -> (Passed, Vec<SocketAddr>) {
    let socket = |(name, at): &(&str, &str)| {
        let listener = TcpListener::bind(at).unwrap();
        PassedSocket { name: (*name).into(), listener, kept: true }
    };
    let sockets: Vec<_> = sockets.iter().map(socket).collect();
    let at = sockets.iter().map(|socket| socket.listener.local_addr().unwrap()).collect();
    (Passed { sockets, giver: None }, at)
}

fn open(config: &Config, mut passed: Passed) -> Result<Vec<(String, SocketAddr, bool)>, String> {
    let listeners = Listeners::open(config, &mut passed).map_err(|error| error.to_string())?;
    let all = listeners.all();
    Ok(all.map(|d| (d.name.clone(), d.address(), d.kept.load(Ordering::Relaxed))).collect())
}

#[test]
fn sockets_are_found_by_name_then_by_address_and_the_rest_is_bound() {
    // Systemd names a socket after its unit where it has no name of its own.
    let (sockets, at) = passed(&[("shadow.socket", "127.0.0.1:0"), ("upstream.fx", "127.0.0.1:0")]);
    let config = config(|text| text.replacen("127.0.0.1:0", &at[0].to_string(), 1));
    let doors = open(&config, sockets).unwrap();
    assert_eq!(doors[0], ("clients".into(), at[0], true));
    assert_eq!(doors[1], ("upstream.fx".into(), at[1], true));
    let (name, admin, kept) = &doors[2];
    assert!(name == "admin" && !kept && !at.contains(admin), "{doors:?}");
}

#[test]
fn a_socket_that_is_no_listener_s_is_refused() {
    let config = config(str::to_owned);
    let (sockets, at) = passed(&[("client", "127.0.0.1:0")]);
    let error = open(&config, sockets).unwrap_err();
    let expected = format!("the socket passed for {} belongs to no listener", at[0]);
    assert!(error.contains(&expected), "{error}");
    assert!(error.contains("one of clients, upstream.fx, admin"), "{error}");
    let (sockets, _) = passed(&[("clients", "127.0.0.1:0"), ("clients", "127.0.0.1:0")]);
    assert!(open(&config, sockets).is_err());
    let (sockets, _) = passed(&[("upstream.fx", "0.0.0.0:0")]);
    let error = open(&config, sockets).unwrap_err();
    assert!(error.contains("must be a loopback address"), "{error}");
}

/// More than tokio takes in one turn.
const N: usize = 300;

/// A listener in which connections wait.
async fn crowded() -> (OpenDoor, SocketAddr, Vec<Client>) {
    let config = config(str::to_owned);
    let listeners = Listeners::open(&config, &mut Passed::default()).unwrap();
    let at = listeners.clients.address();
    let connect = move || (0..N).map(|_| Client::connect(at).unwrap()).collect::<Vec<_>>();
    let waiting = tokio::task::spawn_blocking(connect).await.unwrap();
    (listeners.clients.open().unwrap(), at, waiting)
}

#[tokio::test]
async fn all_that_waits_is_taken_at_once() {
    let (door, _, _waiting) = crowded().await;
    // Until the runtime has been told that connections wait, there seem to be none.
    door.accept().await.unwrap();
    let mut taken = 1;
    door.take_waiting(|_| taken += 1);
    assert_eq!(taken, N);
}

#[tokio::test]
async fn what_waits_when_a_listener_closes_is_taken_and_nothing_comes_after_it() {
    let (door, at, waiting) = crowded().await;
    let mut taken = Vec::new();
    door.close(|stream| taken.push(stream)).await;
    assert_eq!(taken.len(), N);
    assert!(Client::connect(at).is_err());
    for (mut client, served) in waiting.into_iter().zip(taken) {
        let mut served = served.into_std().unwrap();
        served.set_nonblocking(false).unwrap();
        served.write_all(b"served").unwrap();
        let mut answer = [0; 6];
        client.read_exact(&mut answer).unwrap();
    }
}

#[tokio::test]
async fn a_listener_that_closes_lets_no_handshake_begin() {
    let config = config(str::to_owned);
    let listeners = Listeners::open(&config, &mut Passed::default()).unwrap();
    let at = listeners.clients.address();
    let door = listeners.clients.open().unwrap();
    let before = Client::connect(at).unwrap();
    refuse_handshakes(&door.listener).unwrap();
    let connect = move || Client::connect_timeout(&at, Duration::from_millis(300));
    let after = tokio::task::spawn_blocking(connect).await.unwrap();
    assert_eq!(after.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert!(door.accept().await.is_ok());
    assert!(door.accept().now_or_never().is_none());
    drop(before);
}

#[tokio::test]
async fn a_listener_that_another_keeps_goes_on_with_what_waits() {
    let config = config(str::to_owned);
    let (sockets, at) = passed(&[("clients", "127.0.0.1:0")]);
    let keeper = sockets.sockets[0].listener.try_clone().unwrap();
    let listeners = Listeners::open(&config, &mut { sockets }).unwrap();
    let door = listeners.clients.open().unwrap();
    let _waiting = Client::connect(at[0]).unwrap();
    door.close(|_| panic!("it is the next recorder's")).await;
    let _later = Client::connect(at[0]).unwrap();
    let next = tokio::net::TcpListener::from_std(keeper).unwrap();
    for _ in 0..2 {
        let accepted = tokio::time::timeout(Duration::from_secs(10), next.accept()).await;
        accepted.unwrap().unwrap();
    }
}
