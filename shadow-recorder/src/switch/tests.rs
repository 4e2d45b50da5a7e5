use super::*;
use crate::capture::Event;
use crate::capture::tests::{LIMITS, after_linger, call, capture, exchange};
use crate::exchange::Attribution;

#[test]
fn a_switch_is_idempotent_and_pauses_end_on_their_own() {
    let gauge = Gauge::default();
    let switch = Switch::new(gauge.clone());
    let (started, reasons) = switch.state();
    assert_eq!((switch.bypass(), reasons, gauge.get()), (None, vec![], 1));
    switch.resume(Reason::RecordingOff);
    assert_eq!(switch.state(), (started, vec![]));

    switch.pause(Reason::Disk);
    let (since, _) = switch.state();
    // What the disk costs is decided where it is written.
    assert_eq!((switch.bypass(), gauge.get()), (None, 0));
    switch.pause(Reason::RecordingOff);
    switch.pause(Reason::RecordingOff);
    assert_eq!(switch.state(), (since, vec![Reason::Disk, Reason::RecordingOff]));
    assert_eq!(switch.bypass(), Some(Reason::RecordingOff));
    switch.resume(Reason::Disk);
    assert_eq!((switch.state().1, gauge.get()), (vec![Reason::RecordingOff], 0));
    switch.pause(Reason::Panic);
    assert_eq!(switch.bypass(), Some(Reason::Panic));
    switch.resume(Reason::RecordingOff);
    assert_eq!((switch.state().1, gauge.get()), (vec![Reason::Panic], 0));
    switch.resume(Reason::Panic);
    assert_eq!((switch.bypass(), switch.state().1, gauge.get()), (None, vec![], 1));
}

#[tokio::test]
async fn what_is_open_when_it_is_switched_off_is_finished_and_the_rest_passes_untouched() {
    let (capture, events) = capture(LIMITS);
    let named = exchange(&capture, "/book").await;
    assert!(named.starts_with("shadow="), "{named}");
    capture.switch.pause(Reason::RecordingOff);
    call(&capture, &named).await;
    // Not copied, and marked, so that its calls are nobody else's.
    let unrecorded = exchange(&capture, "/book").await;
    assert_eq!(unrecorded, "shadow=-,v=1");
    call(&capture, &unrecorded).await;
    // Of the same trace, so that it could be anybody's; and of no exchange at all.
    call(&capture, "v=1").await;
    call(&capture, "shadow=unknown").await;
    capture.sweep(after_linger());
    let Ok(Event::Exchange(closed)) = events.try_recv() else { panic!("not closed") };
    assert_eq!(closed.calls.len(), 1);
    assert!(events.try_recv().is_err());
    let passed = capture.account.take();
    assert_eq!((passed.dropped(), passed.calls_dropped), ([(Reason::RecordingOff, 1)].into(), 2));
    assert_eq!(passed.calls_sampled_out, 1);
    assert_eq!(capture.metrics.calls(Attribution::Ambiguous).get(), 1);

    capture.switch.resume(Reason::RecordingOff);
    let named = exchange(&capture, "/book").await;
    call(&capture, &named).await;
    capture.sweep(after_linger());
    let Ok(Event::Exchange(closed)) = events.try_recv() else { panic!("not closed") };
    assert_eq!((closed.calls.len(), capture.account.observed()), (1, 3));
}
