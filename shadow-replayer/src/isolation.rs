//! Whether the candidate can reach anything but this machine's own processes: what the report calls *isolation proven*.
//!
//! It is proven, on Linux, where all of this holds while shards are replayed:
//! - the candidate is asked at a loopback address, so whoever listens there lives in the replayer's own network namespace;
//! - the processes that hold the listening socket are seen, and each is in that namespace itself;
//! - the namespace has no device but loopback, beside the tunnels that the kernel puts into every namespace and that no route names.
//!
//! So it is in `unshare --net`, and in a container without a network. Elsewhere a probe on the candidate's side shows it ([`outward`]):
//! a process that listens as the same user as the candidate, in the same namespace, and that reaches nothing that it tries. Whatever
//! cannot be seen proves nothing.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::allow::reached;
use crate::outward::{self, Seen};
use crate::target::Target;

/// What a worker found about its candidate's isolation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// The candidate reaches nothing else: how that was seen.
    Proven(String),
    /// It may: what was not seen.
    NotProven(String),
}

impl Isolation {
    /// Returns what a run with these findings says: proven where every worker found it so; without a finding it is not.
    pub fn of_run(findings: &BTreeSet<Self>) -> Self {
        let not = findings.iter().find(|finding| matches!(finding, Self::NotProven(_)));
        let finding = not.or_else(|| findings.first()).cloned();
        finding.unwrap_or_else(|| Self::NotProven("it was not looked at".into()))
    }
}

impl std::fmt::Display for Isolation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Proven(how) => write!(f, "isolation proven: {how}"),
            Self::NotProven(why) => write!(f, "isolation not proven: {why}"),
        }
    }
}

/// Looks at the candidate's namespace; where that shows nothing, asks the probe, if there is one.
pub(crate) async fn examine(target: &Target, probe: Option<SocketAddr>) -> Isolation {
    let shown = match (on_loopback(target).and_then(|()| proof(target)), probe) {
        (Err(_), Some(probe)) => probed(target, probe).await,
        (shown, _) => shown,
    };
    match shown {
        Ok(how) => Isolation::Proven(how),
        Err(why) => Isolation::NotProven(why),
    }
}

async fn probed(target: &Target, probe: SocketAddr) -> Result<String, String> {
    on_loopback(target)?;
    let outward = outward::ask(probe).await?;
    let sockets = sockets()?;
    let users = |address| listening(&sockets, address).into_iter().map(|socket| socket.user);
    let candidate = target.addresses.iter().flat_map(|address| users(*address)).collect();
    let network = outward::network()?;
    outward.proof(&Seen { network, candidate, probe: users(probe).collect() })
}

fn on_loopback(target: &Target) -> Result<(), String> {
    let local = |address: &&SocketAddr| reached(address.ip()).is_loopback();
    match target.addresses.iter().find(|address| !local(address)) {
        Some(other) => {
            Err(format!("the candidate is at {}, not on a loopback address", other.ip()))
        }
        None => Ok(()),
    }
}

fn proof(target: &Target) -> Result<String, String> {
    let devices = read("/proc/net/dev")?;
    // Absent where the machine has no IPv6.
    let routes = [read("/proc/net/route")?, read("/proc/net/ipv6_route").unwrap_or_default()];
    if let Some(device) = way_out(&devices, &routes) {
        return Err(format!(
            "its network namespace has the device {device}; run candidate and replayer together under `unshare --net` or in a container without a network, or hold the candidate's user to loopback and set [replay.isolation] listen for a probe"
        ));
    }
    let sockets = sockets()?;
    let own = namespace(Path::new("/proc/self"))?;
    for address in &target.addresses {
        let listening = listening(&sockets, *address);
        let inodes: BTreeSet<u64> = listening.iter().map(|socket| socket.inode).collect();
        let owners = owners(&inodes)?;
        // Each of an origin's addresses need not be listened at.
        if inodes.is_empty() {
            continue;
        }
        if owners.is_empty() {
            return Err(format!(
                "the process that listens at {address} cannot be seen; run the replayer as the candidate's user, or as root"
            ));
        }
        for owner in owners {
            if namespace(&owner)? != own {
                return Err(format!(
                    "{} listens at {address} and is in another network namespace",
                    owner.display()
                ));
            }
        }
        return Ok("its network namespace has no device but loopback".into());
    }
    Err("nothing listens at the candidate's address".into())
}

fn read(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{path} cannot be read: {error}"))
}

fn namespace(process: &Path) -> Result<(u64, u64), String> {
    let path = process.join("ns/net");
    let met = std::fs::metadata(&path)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    Ok((met.dev(), met.ino()))
}

/// Devices that the kernel puts into every namespace; without a route they carry nothing.
const FALLBACK_TUNNELS: [&str; 9] =
    ["tunl0", "sit0", "ip6tnl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "ip6gre0"];

/// Returns a device by which the namespace may be left.
fn way_out<'d>(devices: &'d str, routes: &[String]) -> Option<&'d str> {
    let names = devices.lines().filter_map(|line| Some(line.split_once(':')?.0.trim()));
    let is_used = |device: &str| {
        let mut words = routes.iter().flat_map(|routes| routes.split_whitespace());
        words.any(|word| word == device)
    };
    names
        .filter(|device| *device != "lo")
        .find(|device| !FALLBACK_TUNNELS.contains(device) || is_used(device))
}

/// Returns whether something listens at an address of this namespace; none where that cannot be seen.
pub(crate) fn is_listened_at(address: SocketAddr) -> Option<bool> {
    Some(!listening(&sockets().ok()?, address).is_empty())
}

/// A socket that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Socket {
    inode: u64,
    /// The effective user who made it.
    user: u32,
}

/// Returns the kernel's tables of this namespace's sockets.
fn sockets() -> Result<[String; 2], String> {
    // The second is absent where the machine has no IPv6.
    Ok([read("/proc/net/tcp")?, read("/proc/net/tcp6").unwrap_or_default()])
}

/// Returns the sockets that listen where a connection to the address arrives.
fn listening(tables: &[String], address: SocketAddr) -> Vec<Socket> {
    let mut sockets = Vec::new();
    for line in tables.iter().flat_map(|table| table.lines()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, local, _, "0A", ..] = words[..] else { continue };
        let (Some((ip, port)), Some(user), Some(inode)) = (
            local.split_once(':'),
            words.get(7).and_then(|user| user.parse().ok()),
            words.get(9).and_then(|inode| inode.parse().ok()),
        ) else {
            continue;
        };
        let same_port = u16::from_str_radix(port, 16) == Ok(address.port());
        // The address is written in the machine's own byte order; a wildcard is all zero in any.
        let everywhere = ip.bytes().all(|byte| byte == b'0');
        let there = everywhere || ip == hexadecimal(reached(address.ip())) || ip.len() == 32;
        if same_port && there {
            sockets.push(Socket { inode, user });
        }
    }
    sockets
}

/// Returns an IPv4 address as the kernel's table has it; what is IPv6 there is compared by its port alone.
fn hexadecimal(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("{:08X}", u32::from_ne_bytes(address.octets())),
        IpAddr::V6(_) => String::new(),
    }
}

/// Returns the processes that hold one of the sockets, as far as they can be seen.
fn owners(inodes: &BTreeSet<u64>) -> Result<Vec<PathBuf>, String> {
    let names: BTreeSet<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let processes =
        std::fs::read_dir("/proc").map_err(|error| format!("/proc cannot be read: {error}"))?;
    let is_process = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
    };
    let holds = |process: &PathBuf| {
        let Ok(files) = std::fs::read_dir(process.join("fd")) else { return false };
        files.flatten().any(|file| {
            let link = std::fs::read_link(file.path());
            link.is_ok_and(|link| link.to_str().is_some_and(|link| names.contains(link)))
        })
    };
    let processes = processes.flatten().map(|entry| entry.path());
    Ok(processes.filter(is_process).filter(holds).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEV: &str = "Inter-|   Receive\n face |bytes    packets\n    lo:  1 2\n";

    #[test]
    fn any_device_but_loopback_is_a_way_out() {
        assert_eq!(way_out(DEV, &[]), None);
        let tunnels = format!("{DEV}  sit0:  0 0\nip6tnl0:  0 0\n");
        assert_eq!(way_out(&tunnels, &[]), None);
        let routes = ["Iface Destination\nsit0 00000000\n".to_owned()];
        assert_eq!(way_out(&tunnels, &routes), Some("sit0"));
        assert_eq!(way_out(&format!("{DEV}  eth0: 0 0\n"), &[]), Some("eth0"));
        assert_eq!(way_out(&format!("{DEV}veth1@if2: 0 0\n"), &[]), Some("veth1@if2"));
    }

    #[test]
    fn a_listener_is_found_by_its_address_and_port() {
        let table = "  sl  local_address rem_address   st\n   0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 1001 0 71 1 x\n   1: 0100007F:1F90 0100007F:9A70 01 0:0 0:0 0 0 0 72 1 x\n   2: 00000000:1F91 00000000:0000 0A 0:0 0:0 0 0 0 73 1 x\n   3: 0200007F:1F90 00000000:0000 0A 0:0 0:0 0 0 0 74 1 x\n".to_owned();
        let six = "   0: 00000000000000000000000001000000:1F92 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 75 1 x\n".to_owned();
        let tables = [table, six];
        let found = |address: &str| {
            let sockets = listening(&tables, address.parse().unwrap());
            sockets.iter().map(|socket| socket.inode).collect::<Vec<_>>()
        };
        let socket = Socket { inode: 71, user: 1_001 };
        assert_eq!(listening(&tables, "127.0.0.1:8080".parse().unwrap()), [socket]);
        assert_eq!(found("0.0.0.0:8080"), [71]);
        assert_eq!(found("127.0.0.1:8081"), [73]);
        assert_eq!(found("[::1]:8082"), [75]);
        assert!(found("127.0.0.1:9").is_empty());
    }

    #[test]
    fn a_run_is_isolated_where_every_worker_found_it_so() {
        let (yes, no) = (Isolation::Proven("a".into()), Isolation::NotProven("b".into()));
        let said = |all: &[&Isolation]| Isolation::of_run(&all.iter().copied().cloned().collect());
        assert_eq!(said(&[&yes]), yes);
        assert_eq!(said(&[&yes, &no]), no);
        assert!(matches!(said(&[]), Isolation::NotProven(_)));
    }
}
