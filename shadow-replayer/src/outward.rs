//! A probe from the candidate's side: what a process of its user, in its network, connects to.
//!
//! It is started where the candidate runs, as its user: in its container, or by `setpriv --reuid`. A rule of the firewall that holds the
//! candidate to loopback by its user id holds the probe alike. The worker asks it when it starts, and with every asking it tries anew.
//! Connections are opened and closed again; nothing is sent.
//!
//! What the probe says of itself is not believed: the worker sees in the kernel's table of sockets as which users candidate and probe
//! listen. Only silence shows that a rule holds. Who refuses a connection was reached, and what fails on loopback says nothing of a rule.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use shadow_recorder::config::upstream::Origin;
use shadow_recorder::host;
use tokio::net::{TcpListener, TcpStream};

use crate::allow::{Allow, reached};
use crate::config::isolation::Isolation;
use crate::plain;
use crate::target::Target;

/// How long a name or a connection may take: what is dropped does not answer.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the probe may take to answer: a name and a connection, and some more.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Ports of the default gateway that are tried.
const GATEWAY_PORTS: [u16; 2] = [53, 443];

/// What a probe found, and as whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outward {
    /// Its effective user.
    pub(crate) uid: u32,
    /// Its network namespace.
    pub(crate) network: String,
    /// What it tried.
    pub(crate) tried: Vec<Tried>,
}

/// An attempt to connect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Tried {
    /// The address; a name where that is not known.
    pub(crate) address: String,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Connected,
    /// Somebody answered that nothing listens there.
    Refused,
    NoAnswer,
    /// There is no way there, or it is forbidden.
    Failed,
    /// The name has no address.
    UnknownName,
}

/// What the worker itself saw.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Its network namespace.
    pub(crate) network: String,
    /// As whom the candidate listens.
    pub(crate) candidate: BTreeSet<u32>,
    /// As whom the probe listens.
    pub(crate) probe: BTreeSet<u32>,
}

/// What the kernel writes for every user who is not known in the reader's user namespace.
const UNKNOWN_USER: u32 = 65_534;

impl Outward {
    /// Returns how it shows that a candidate reaches nothing else; or why it does not.
    pub(crate) fn proof(&self, seen: &Seen) -> Result<String, String> {
        let users = |users: &BTreeSet<u32>| {
            users.iter().map(u32::to_string).collect::<Vec<_>>().join(" and ")
        };
        if seen.candidate.is_empty() {
            return Err(
                "nothing listens at the candidate's address in the replayer's network namespace"
                    .into(),
            );
        }
        if seen.candidate != seen.probe || !seen.probe.iter().eq([&self.uid]) {
            return Err(format!(
                "the probe listens as user {} and says {}, and the candidate listens as user {}: run the probe as the candidate's user",
                users(&seen.probe),
                self.uid,
                users(&seen.candidate)
            ));
        }
        if self.uid == UNKNOWN_USER {
            return Err(format!(
                "user {UNKNOWN_USER} stands for every user that is not known here: run candidate and probe as another"
            ));
        }
        if self.network != seen.network {
            return Err("the probe tries from another network namespace".into());
        }
        if let Some(tried) = self.tried.iter().find(|tried| tried.outcome == Outcome::Connected) {
            return Err(format!("user {} connected to {}", self.uid, tried.address));
        }
        let mut silent = Vec::new();
        for Tried { address, outcome } in &self.tried {
            let loopback =
                address.parse().is_ok_and(|at: SocketAddr| reached(at.ip()).is_loopback());
            match outcome {
                Outcome::Refused if !loopback => {
                    return Err(format!(
                        "user {} was refused by {address}, and so reached it; a rule must drop, or reject with admin-prohibited",
                        self.uid
                    ));
                }
                Outcome::NoAnswer | Outcome::Failed if !loopback => silent.push(&**address),
                _ => {}
            }
        }
        if silent.is_empty() {
            return Err("the probe tried no address that is not loopback: add one to [replay.isolation] probe".into());
        }
        Ok(format!("user {}, as whom it runs, reached none of {}", self.uid, silent.join(", ")))
    }
}

/// Asks the probe; it tries now.
pub(crate) async fn ask(listen: SocketAddr) -> Result<Outward, String> {
    let asked = async {
        let origin = Origin::parse(&format!("http://{listen}"))?;
        let request = Request::get("/")
            .header("host", origin.authority.as_str())
            .body(Full::new(Bytes::new()))
            .map_err(|error| error.to_string())?;
        let (status, body) = plain::ask(&origin, &Allow::default(), request).await?;
        if status != StatusCode::OK {
            return Err(format!("it answered with {status}"));
        }
        serde_json::from_slice(&body)
            .map_err(|error| format!("it did not answer as a probe: {error}"))
    };
    let asked = tokio::time::timeout(ANSWER_TIMEOUT, asked).await;
    asked.unwrap_or_else(|_| Err(format!("it did not answer within {ANSWER_TIMEOUT:?}"))).map_err(|why| {
        format!("the probe at {listen} cannot be asked ({why}): run `shadow-replayer probe` beside the candidate, as its user")
    })
}

/// Answers whoever asks, until this is dropped.
pub(crate) async fn serve(
    listener: TcpListener,
    isolation: &Isolation,
) -> std::io::Result<Infallible> {
    loop {
        let (stream, _) = listener.accept().await?;
        let outside = isolation.outside.clone();
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| answer(request, &outside));
            // Who asks and goes away is not answered.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    outside: &[Origin],
) -> Result<Response<Full<Bytes>>, http::Error> {
    let with = |status: StatusCode, kind: &str, body: Vec<u8>| {
        Response::builder().status(status).header("content-type", kind).body(Full::new(body.into()))
    };
    if request.method() != http::Method::GET || request.uri().path() != "/" {
        let text = "a probe answers GET / alone\n";
        return with(StatusCode::NOT_FOUND, "text/plain", text.into());
    }
    let found = probe(outside)
        .await
        .and_then(|outward| serde_json::to_vec_pretty(&outward).map_err(|error| error.to_string()));
    match found {
        Ok(body) => with(StatusCode::OK, "application/json", body),
        Err(why) => with(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", why.into()),
    }
}

/// Tries to connect to each, all at once.
async fn probe(outside: &[Origin]) -> Result<Outward, String> {
    let network = network()?;
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let named = join_all(outside.iter().map(addresses)).await;
    let mut tried: BTreeSet<Tried> = named.iter().filter_map(|named| named.clone().err()).collect();
    let mut addresses: BTreeSet<SocketAddr> = named.into_iter().flatten().flatten().collect();
    for gateway in gateways(&routes) {
        addresses.extend(GATEWAY_PORTS.map(|port| SocketAddr::from((gateway, port))));
    }
    tried.extend(join_all(addresses.into_iter().map(connect)).await);
    let uid = rustix::process::geteuid().as_raw();
    Ok(Outward { uid, network, tried: tried.into_iter().collect() })
}

/// Returns the network namespace of this process.
pub(crate) fn network() -> Result<String, String> {
    let host = host::own(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    host.map(|host| host.network).ok_or_else(|| "/proc/self/ns/net cannot be read".into())
}

async fn addresses(origin: &Origin) -> Result<Vec<SocketAddr>, Tried> {
    let resolving = tokio::time::timeout(ATTEMPT_TIMEOUT, Target::resolve(origin)).await;
    match resolving {
        Ok(Ok(target)) => Ok(target.addresses),
        _ => Err(Tried { address: origin.authority.to_string(), outcome: Outcome::UnknownName }),
    }
}

async fn connect(address: SocketAddr) -> Tried {
    let connecting = tokio::time::timeout(ATTEMPT_TIMEOUT, TcpStream::connect(address)).await;
    let outcome = match connecting {
        Ok(Ok(_)) => Outcome::Connected,
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => Outcome::Refused,
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionReset => Outcome::Refused,
        Ok(Err(_)) => Outcome::Failed,
        Err(_) => Outcome::NoAnswer,
    };
    Tried { address: address.to_string(), outcome }
}

/// Returns the default gateways of the kernel's table of routes.
fn gateways(routes: &str) -> Vec<Ipv4Addr> {
    let gateway = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "00000000", gateway, ..] = words[..] else { return None };
        // It is written in the machine's own byte order.
        let gateway = Ipv4Addr::from(u32::from_str_radix(gateway, 16).ok()?.to_ne_bytes());
        (!gateway.is_unspecified()).then_some(gateway)
    };
    routes.lines().filter_map(gateway).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outward(tried: &[(&str, Outcome)]) -> Outward {
        let tried = tried
            .iter()
            .map(|(address, outcome)| Tried { address: (*address).to_owned(), outcome: *outcome });
        Outward { uid: 1_001, network: "net:[1]".into(), tried: tried.collect() }
    }

    fn seen(candidate: &[u32], probe: &[u32]) -> Seen {
        let set = |users: &[u32]| users.iter().copied().collect();
        Seen { network: "net:[1]".into(), candidate: set(candidate), probe: set(probe) }
    }

    #[test]
    fn isolation_is_proven_where_nothing_outside_answers_the_candidates_user() {
        let silent = outward(&[
            ("1.1.1.1:443", Outcome::NoAnswer),
            ("10.0.0.1:53", Outcome::Failed),
            ("127.0.0.1:9", Outcome::Refused),
            ("fx.internal:80", Outcome::UnknownName),
        ]);
        let how = silent.proof(&seen(&[1_001], &[1_001])).unwrap();
        assert_eq!(how, "user 1001, as whom it runs, reached none of 1.1.1.1:443, 10.0.0.1:53");
    }

    #[test]
    fn who_is_reached_or_not_tried_proves_nothing() {
        let same = seen(&[1_001], &[1_001]);
        for (tried, why) in [
            (&[][..], "tried no address that is not loopback"),
            (&[("127.0.0.1:9", Outcome::Refused)], "tried no address that is not loopback"),
            (&[("fx:80", Outcome::UnknownName)], "tried no address that is not loopback"),
            (
                &[("1.1.1.1:443", Outcome::NoAnswer), ("127.0.0.1:9", Outcome::Connected)],
                "connected to 127.0.0.1:9",
            ),
            (
                &[("1.1.1.1:443", Outcome::NoAnswer), ("10.0.0.1:53", Outcome::Refused)],
                "was refused by 10.0.0.1:53",
            ),
        ] {
            let error = outward(tried).proof(&same).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_probe_speaks_only_for_its_user_and_network() {
        let silent = outward(&[("1.1.1.1:443", Outcome::NoAnswer)]);
        let elsewhere = Seen { network: "net:[2]".into(), ..seen(&[1_001], &[1_001]) };
        let nobody = Outward { uid: UNKNOWN_USER, ..silent.clone() };
        for (outward, seen, why) in [
            (&silent, seen(&[1_002], &[1_001]), "the candidate listens as user 1002"),
            (&silent, seen(&[1_001, 0], &[1_001]), "listens as user 0 and 1001"),
            (&silent, seen(&[1_002], &[1_002]), "listens as user 1002 and says 1001"),
            (&silent, seen(&[], &[]), "nothing listens at the candidate's address"),
            (&silent, elsewhere, "another network namespace"),
            (&nobody, seen(&[UNKNOWN_USER], &[UNKNOWN_USER]), "not known here"),
        ] {
            let error = outward.proof(&seen).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn the_default_gateway_is_read_from_the_routes() {
        let own = |address: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(address));
        let (gateway, network) = (own([10, 0, 0, 1]), own([10, 0, 0, 0]));
        let routes = format!(
            "Iface Destination Gateway Flags\neth0 00000000 {gateway} 0003\neth0 {network} 00000000 0001\ntun0 00000000 00000000 0001\n"
        );
        assert_eq!(gateways(&routes), [Ipv4Addr::new(10, 0, 0, 1)]);
    }
}
