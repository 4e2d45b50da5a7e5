//! Cases that share a recorder: each is played straight against the origin and through the recorder, and the two compared.

use std::fmt::Write;

use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::harness::{Sidecar, Stored};
use crate::script::{Case, Step, Transcript};

/// A recorder in front of a scripted origin, and what went wrong so far.
pub(crate) struct Group {
    folder: TempDir,
    pub(crate) sidecar: Sidecar,
    pub(crate) origin: TcpListener,
    failures: Vec<String>,
    cases: usize,
    /// The cases in which the client saw a date that the origin never sent: one fault, that would hide all others.
    dated: usize,
    /// The requests that the origin saw through the recorder.
    reached: u64,
    /// The requests that may besides have been observed and have reached nobody.
    pub(crate) unreached_max: u64,
}

impl Group {
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// Starts with more in `[recorder]`.
    pub(crate) async fn start_with(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = origin.local_addr().unwrap();
        let sidecar = Sidecar::start(folder.path(), at, &[], more).await;
        let failures = Vec::new();
        Self { folder, sidecar, origin, failures, cases: 0, dated: 0, reached: 0, unreached_max: 0 }
    }

    /// Plays a case both ways; the recorder must make no difference.
    pub(crate) async fn same(
        &mut self,
        name: &'static str,
        section: &'static str,
        client: Vec<Step>,
        origin: Vec<Step>,
    ) {
        self.same_but(name, section, client, origin, |_, _| {}).await;
    }

    /// Plays a case both ways; the recorder makes no difference, or exactly the one that the RFC allows.
    pub(crate) async fn same_but(
        &mut self,
        name: &'static str,
        section: &'static str,
        client: Vec<Step>,
        origin: Vec<Step>,
        allowed: impl Fn(&mut Transcript, &Transcript),
    ) {
        let case = Case { name, section, client, origin };
        let direct = case.play(self.origin.local_addr().unwrap(), &self.origin).await;
        let through = self.through(&case).await;
        let mut other = direct.clone();
        allowed(&mut other, &through);
        if let Some(line) = direct.broken() {
            self.fail(&case, &format!("  the case itself is wrong: {line}\n"));
        }
        if direct != through && other != through {
            let mut what = String::new();
            compare("the client", &direct.client, &through.client, &mut what);
            compare("the origin", &direct.origin, &through.origin, &mut what);
            self.fail(&case, &what);
        }
    }

    /// Plays a case through the recorder alone, where the RFC asks for a difference; each side must see one of the transcripts.
    pub(crate) async fn expect(
        &mut self,
        name: &'static str,
        section: &'static str,
        client: Vec<Step>,
        origin: Vec<Step>,
        expected: (&[&[&str]], &[&[&str]]),
    ) {
        let case = Case { name, section, client, origin };
        let through = self.through(&case).await;
        let mut what = String::new();
        for (side, seen, any) in
            [("client", &through.client, expected.0), ("origin", &through.origin, expected.1)]
        {
            if !any.is_empty()
                && !any.contains(&&*seen.iter().map(String::as_str).collect::<Vec<_>>())
            {
                let _ = writeln!(what, "  the {side} saw:\n    {}", seen.join("\n    "));
                for one in any {
                    let _ = writeln!(what, "  expected:\n    {}", one.join("\n    "));
                }
            }
        }
        if !what.is_empty() {
            self.fail(&case, &what);
        }
    }

    /// Plays a case through the recorder alone; the first that the client sees must be one of these lines.
    pub(crate) async fn first(
        &mut self,
        name: &'static str,
        section: &'static str,
        client: Vec<Step>,
        origin: Vec<Step>,
        expected: &[&str],
    ) {
        let case = Case { name, section, client, origin };
        let through = self.through(&case).await;
        let first = through.client.first().map(String::as_str);
        if !first.is_some_and(|first| expected.contains(&first)) {
            let what = format!(
                "  expected: {expected:?}
  the client saw: {:?}
",
                through.client
            );
            self.fail(&case, &what);
        }
    }

    pub(crate) async fn through(&mut self, case: &Case) -> Transcript {
        self.cases += 1;
        let mut through = case.play(self.sidecar.clients, &self.origin).await;
        self.dated += usize::from(case.take_date(&mut through.client));
        let requests = through.origin.iter().filter(|line| line.starts_with("request "));
        self.reached += requests.count() as u64;
        through
    }

    pub(crate) fn fail(&mut self, case: &Case, what: &str) {
        self.failures.push(format!("* {} (RFC {})\n{what}", case.name, case.section));
    }

    /// Stops the recorder: every request that reached the origin was observed, and every one observed is recorded.
    pub(crate) async fn finish(mut self) {
        if self.failures.is_empty() && self.unreached_max == 0 {
            self.sidecar.until("shadow_recorder_exchanges_observed_total", self.reached).await;
        }
        let stored = self.sidecar.stop().await;
        nothing_dropped(&stored);
        let most = self.reached + self.unreached_max;
        if !(self.reached..=most).contains(&stored.tally.observed) {
            let what = format!("{} requests reached the origin: {:?}", self.reached, stored.tally);
            self.failures.push(what);
        }
        if self.dated > 0 {
            let what = format!("* a date was added in {} cases (RFC 9110, 6.6.1)", self.dated);
            self.failures.push(what);
        }
        drop(self.folder);
        report(&self.failures, self.cases);
    }
}

/// Asserts what holds of every store: `observed = recorded + sampled_out + dropped`, checked where it was read, and nothing dropped.
pub(crate) fn nothing_dropped(stored: &Stored) {
    assert!(stored.tally.balances(), "{:?}", stored.tally);
    assert!(stored.tally.dropped.is_empty(), "{:?}", stored.tally);
}

/// Fails with everything that went wrong in a group.
pub(crate) fn report(failures: &[String], cases: usize) {
    assert!(
        failures.is_empty(),
        "{} faults in {cases} cases:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

fn compare(side: &str, direct: &[String], through: &[String], what: &mut String) {
    if direct == through {
        return;
    }
    let same = direct.iter().zip(through).take_while(|(one, other)| one == other).count();
    let _ = writeln!(what, "  {side} saw alike {same} lines, then");
    for (way, lines) in [("direct ", direct), ("through", through)] {
        for line in lines.iter().skip(same).take(6) {
            let _ = writeln!(what, "    {way} {line}");
        }
        if lines.len() == same {
            let _ = writeln!(what, "    {way} nothing");
        }
    }
}
