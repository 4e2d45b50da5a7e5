//! Who is asked about an exchange: the candidate, once or twice, and beside it the control with a stub of its own.

use std::sync::Arc;

use shadow_recorder::exchange::Exchange;
use shadow_recorder::redact::Redactor;
use tokio::time::Instant;

use crate::ambient::AmbientCalls;
use crate::answer::Answered;
use crate::client::Candidate;
use crate::config::Config;
use crate::drive::{Driver, Paced};
use crate::given_up::GivenUp;
use crate::pace::Pacer;
use crate::run::{Run, RunId};
use crate::stub::{Stub, StubError};
use crate::target::Target;

/// The builds of a run.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) candidate: Driver,
    /// Whether the candidate is asked twice.
    twice: bool,
    /// Production's own build.
    control: Option<Driver>,
}

impl Asking {
    /// Starts the stubs; nothing is asked yet.
    pub(crate) async fn start(
        config: &Config,
        run: &Run,
        candidate: Target,
        control: Option<Target>,
        ambient: AmbientCalls,
    ) -> Result<Self, StubError> {
        let exchanges = run.evidence.segments.iter().map(|segment| segment.exchanges).sum();
        let patience = config.replay.pacing.backoff_max;
        let pacer = Arc::new(Pacer::new(run.settings.pace(), exchanges, patience));
        let control = match control {
            Some(target) => {
                let config = config.control.as_candidate(config);
                Some(driver(&config, run, target, ambient.clone(), " control", &pacer).await?)
            }
            None => None,
        };
        let candidate = driver(config, run, candidate, ambient, "", &pacer).await?;
        Ok(Self { candidate, twice: run.settings.twice, control })
    }

    /// Asks what production was asked.
    pub(crate) async fn answered(
        &self,
        run: &RunId,
        exchange: &Arc<Exchange>,
        redactor: &Arc<Redactor>,
        due: Instant,
    ) -> (Answered, Paced) {
        let candidate = async {
            let (first, paced) = self.candidate.answer(run, exchange, redactor, due).await;
            if !self.twice {
                return (first, None, paced);
            }
            // One after the other: each is alone at the stub under the exchange's id.
            let again = self.candidate.answer(run, exchange, redactor, Instant::now()).await;
            (first, Some(again.0), paced)
        };
        let control = async {
            let control = self.control.as_ref()?;
            Some(control.answer(run, exchange, redactor, due).await.0)
        };
        let ((candidate, second, paced), control) = tokio::join!(candidate, control);
        (Answered { candidate, second, control }, paced)
    }

    /// Returns where the builds find their upstreams, in words.
    pub(crate) fn places(&self) -> Vec<String> {
        let control = self.control.iter().flat_map(|control| control.stub.places());
        let control = control.map(|place| format!("{place} (control)"));
        self.candidate.stub.places().into_iter().chain(control).collect()
    }

    /// Forgets the exchanges that are open: their attempt was given up.
    pub(crate) fn forget(&self) {
        self.candidate.stub.forget();
        self.control.iter().for_each(|control| control.stub.forget());
    }

    /// Ends the stubs.
    pub(crate) async fn stop(&self) {
        self.candidate.stub.stop().await;
        if let Some(control) = &self.control {
            control.stub.stop().await;
        }
    }
}

async fn driver(
    config: &Config,
    run: &Run,
    target: Target,
    ambient: AmbientCalls,
    role: &'static str,
    pacer: &Arc<Pacer>,
) -> Result<Driver, StubError> {
    let replay = &config.replay;
    let stub = Stub::start(config, run, ambient).await?;
    let (rules, id) = (replay.candidate.clone(), run.id.clone());
    let (timeout, bytes_max) = (replay.timeout, replay.body_bytes_max);
    let candidate = Candidate::new(target, rules, replay.http, id, timeout, bytes_max);
    Ok(Driver {
        candidate,
        stub,
        linger: replay.linger,
        role,
        given_up: GivenUp::default(),
        pacer: Arc::clone(pacer),
        tries_max: replay.pacing.backoff_tries_max,
    })
}
