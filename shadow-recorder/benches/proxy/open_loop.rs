//! A constant rate: requests leave on a schedule that no answer can hold up, as many clients that know nothing of each other
//! send them, and the time of each counts from the instant at which it was due. So a proxy that stalls cannot hide it by
//! delaying the requests that would have seen it. One thread and one epoll, because it shares its core with the origin.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use rustix::event::{Timespec, epoll};
use serde::{Deserialize, Serialize};

use crate::origin;
use crate::process::pinned;

/// How long after the last request's due time answers are awaited.
const PATIENCE: Duration = Duration::from_secs(2);
/// No head and body of the benchmark are longer.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// The load.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Schedule {
    /// Where to send.
    #[arg(long)]
    pub(crate) to: SocketAddr,
    /// Requests per second.
    #[arg(long)]
    pub(crate) rate: u64,
    /// Connections kept alive; a request that is due while all wait for answers waits, too.
    #[arg(long)]
    pub(crate) connections: usize,
    /// How long.
    #[arg(long)]
    pub(crate) seconds: u64,
}

/// What the clients saw.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Paced {
    pub(crate) requests: u64,
    /// Requests that had no answer when the patience was over.
    pub(crate) unanswered: u64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
}

/// Runs the schedule in a program of its own, on `core`.
pub(crate) fn run_pinned(core: usize, schedule: &Schedule) -> Result<Paced> {
    let Schedule { to, rate, connections, seconds } = schedule;
    let output = pinned(core, std::env::current_exe()?)
        .args(["open-loop", "--to", &to.to_string(), "--rate", &rate.to_string()])
        .args(["--connections", &connections.to_string(), "--seconds", &seconds.to_string()])
        .output()
        .context("run the open loop")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "open loop: {error}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Runs the schedule in this program.
pub(crate) fn run(schedule: &Schedule) -> Result<Paced> {
    let mut clients = Clients::connect(schedule)?;
    clients.send_all()?;
    clients.summary()
}

struct Clients {
    epoll: OwnedFd,
    all: Vec<Client>,
    idle: VecDeque<usize>,
    request: Vec<u8>,
    body: Vec<u8>,
    rate: u64,
    requests: u64,
    /// Microseconds, tenths of them.
    latency: Histogram<u64>,
    begun: Instant,
}

struct Client {
    stream: TcpStream,
    due: Duration,
    answer: Vec<u8>,
}

impl Clients {
    fn connect(schedule: &Schedule) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut clients = Vec::new();
        for index in 0..schedule.connections {
            let stream = TcpStream::connect(schedule.to)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&epoll, &stream, data, epoll::EventFlags::IN)?;
            clients.push(Client { stream, due: Duration::ZERO, answer: Vec::new() });
        }
        ensure!(schedule.rate > 0 && !clients.is_empty(), "nothing to send");
        Ok(Self {
            epoll,
            idle: (0..clients.len()).collect(),
            all: clients,
            request: format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", schedule.to).into_bytes(),
            body: origin::body().into_bytes(),
            rate: schedule.rate,
            requests: schedule.rate * schedule.seconds,
            latency: Histogram::new(3)?,
            begun: Instant::now(),
        })
    }

    fn due(&self, request: u64) -> Duration {
        Duration::from_nanos(request * 1_000_000_000 / self.rate)
    }

    fn send_all(&mut self) -> Result<()> {
        let end = self.due(self.requests) + PATIENCE;
        let mut events = Vec::with_capacity(self.all.len());
        let mut next = 0;
        self.begun = Instant::now();
        loop {
            let now = self.begun.elapsed();
            while next < self.requests && self.due(next) <= now {
                let Some(index) = self.idle.pop_front() else { break };
                let due = self.due(next);
                let client = &mut self.all[index];
                client.due = due;
                // A few dozen bytes on a connection that is idle: its buffer takes them whole.
                let sent = client.stream.write(&self.request).context("send")?;
                ensure!(sent == self.request.len(), "a request was sent in part");
                next += 1;
            }
            let all_sent = next == self.requests;
            if all_sent && self.idle.len() == self.all.len() || now > end {
                return Ok(());
            }
            let wake = if all_sent || self.idle.is_empty() { end } else { self.due(next) };
            let wait = Timespec::try_from(wake.saturating_sub(self.begun.elapsed()))?;
            events.clear();
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait))?;
            for event in &events {
                self.receive(usize::try_from(event.data.u64())?)?;
            }
        }
    }

    fn receive(&mut self, index: usize) -> Result<()> {
        let client = &mut self.all[index];
        let mut buffer = [0; ANSWER_BYTES_MAX];
        match client.stream.read(&mut buffer) {
            Ok(0) => bail!("the proxy closed a connection"),
            Ok(count) => client.answer.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("receive"),
        }
        let Some(head) = client.answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            ensure!(client.answer.len() < ANSWER_BYTES_MAX, "an answer's head is too long");
            return Ok(());
        };
        let body = &client.answer[head + 4..];
        if body.len() < self.body.len() {
            return Ok(());
        }
        let right = client.answer.starts_with(b"HTTP/1.1 200 ") && body == self.body;
        ensure!(right, "a wrong answer: {}", String::from_utf8_lossy(&client.answer));
        client.answer.clear();
        let took = self.begun.elapsed().saturating_sub(client.due);
        self.latency.record(u64::try_from(took.as_nanos() / 100)?)?;
        self.idle.push_back(index);
        Ok(())
    }

    fn summary(&self) -> Result<Paced> {
        ensure!(!self.latency.is_empty(), "no answer at all");
        let quantile = |q| {
            let tenths = u32::try_from(self.latency.value_at_quantile(q)).unwrap_or(u32::MAX);
            f64::from(tenths) / 10.0
        };
        let answered = self.latency.len();
        Ok(Paced {
            requests: answered,
            unanswered: self.requests.saturating_sub(answered),
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            p999_us: quantile(0.999),
            max_us: quantile(1.0),
        })
    }
}
