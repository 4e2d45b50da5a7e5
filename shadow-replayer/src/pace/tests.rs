use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + ms).unwrap()
}

/// A worker in a time of its own.
struct Worker {
    state: State,
    now: Instant,
}

impl Worker {
    fn new(pace: Result<Pace, String>, total: u64) -> Self {
        Self { state: State::new(pace.unwrap(), total, SECOND), now: Instant::now() }
    }

    /// Sends exchanges that were received at these milliseconds as soon as they may be; returns when, in milliseconds from now.
    fn send(&mut self, received_ms: &[i64]) -> Vec<u128> {
        let begin = self.now;
        let mut sent = Vec::new();
        for ms in received_ms {
            let planned = self.state.plan(at(*ms), self.now);
            self.now = self.now.max(self.state.due(planned).1);
            sent.push((self.now - begin).as_millis());
        }
        sent
    }
}

#[test]
fn the_recorded_rhythm_is_kept_by_a_factor() {
    let mut twice = Worker::new(Pace::factor("2"), 0);
    // The third was recorded behind one that was received after it.
    assert_eq!(twice.send(&[100, 300, 250, 1_100]), [0, 100, 100, 500]);
    // The next shard goes on where this one ended …
    twice.state.schedule.first = true;
    assert_eq!(twice.send(&[2_100]), [500]);
    // … unless it goes back.
    twice.state.schedule.first = true;
    assert_eq!(twice.send(&[150, 350]), [0, 100]);
}

#[test]
fn a_rate_and_a_duration_spread_evenly() {
    assert_eq!(Worker::new(Pace::rate("500"), 0).send(&[0, 0, 9, 9]), [0, 2, 4, 6]);
    assert_eq!(Worker::new(Pace::rate("0.5"), 0).send(&[0, 0]), [0, 2_000]);
    assert_eq!(Worker::new(Pace::over("1h"), 3_600).send(&[0, 0, 0]), [0, 1_000, 2_000]);
    assert_eq!(Worker::new(Ok(Pace::Unpaced), 9).send(&[0, 5_000, 9_000]), [0, 0, 0]);
}

#[test]
fn what_could_not_be_sent_in_time_counts_from_its_instant() {
    let mut rate = Worker::new(Pace::rate("10"), 0);
    rate.send(&[0]);
    rate.now += SECOND;
    let second = rate.state.plan(at(0), rate.now);
    assert_eq!(rate.now - rate.state.due(second).0, Duration::from_millis(900));
}

#[test]
fn only_what_was_promised_is_late() {
    let rate = Pacer::new(Pace::rate("10").unwrap(), 0, SECOND);
    let unpaced = Pacer::new(Pace::Unpaced, 0, SECOND);
    let long_ago = Instant::now() - SECOND;
    assert!(rate.is_late(long_ago) && !rate.is_late(Instant::now()));
    assert!(!unpaced.is_late(long_ago));
}

#[test]
fn a_refusal_holds_back_the_whole_worker_and_moves_its_schedule() {
    let half = Duration::from_millis(500);
    let mut rate = Worker::new(Pace::rate("10"), 0);
    assert_eq!(rate.send(&[0, 0]), [0, 100]);
    assert_eq!(rate.state.hold(half, rate.now), Some(rate.now + half));
    // Another refusal of the same time costs no further patience.
    assert_eq!(rate.state.hold(half, rate.now), Some(rate.now + half));
    assert_eq!(rate.send(&[0, 0]), [600, 700], "they are not sent at once");
    let longer = half + Duration::from_millis(1);
    assert_eq!(rate.state.hold(longer, rate.now), None, "its patience is at an end");
    let mut unpaced = Worker::new(Ok(Pace::Unpaced), 0);
    unpaced.state.hold(SECOND, unpaced.now).unwrap();
    assert_eq!(unpaced.send(&[0, 0]), [1_000, 1_000]);
}

#[test]
fn pauses_double_and_are_spread() {
    let ms = |n, asked, drawn| pause(n, asked, drawn).as_millis();
    assert_eq!((ms(1, None, 0), ms(2, None, 0), ms(3, None, 0)), (50, 100, 200));
    assert!(ms(2, None, 255) > 198 && ms(2, None, 255) < 200);
    assert_eq!(ms(60, None, 0), 5_000);
    assert_eq!(ms(1, Some(SECOND * 3), 0), 3_000);
    assert_eq!(ms(1, Some(SECOND * 3_600), 0), 10_000, "an hour is not waited for");
}

#[test]
fn a_pace_is_read_and_written() {
    let text = |pace: Result<Pace, String>| pace.map(|pace| pace.to_string());
    assert_eq!(text(Pace::factor("0.5")).unwrap(), "0.500 times as fast as recorded");
    assert_eq!(text(Pace::rate("500")).unwrap(), "500 exchanges per second");
    assert_eq!(text(Pace::over("5h")).unwrap(), "spread over 18000 s");
    for wrong in ["0", "-1", "fast", "0.0001", ""] {
        assert!(Pace::factor(wrong).is_err() && Pace::rate(wrong).is_err(), "{wrong}");
    }
    let rate = Pace::rate("500").unwrap();
    let json = serde_json::to_string(&rate).unwrap();
    assert_eq!(serde_json::from_str::<Pace>(&json).unwrap(), rate);
}
