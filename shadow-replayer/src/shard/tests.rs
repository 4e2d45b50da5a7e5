use super::*;

mod model;

fn shard(state: State, epoch: i64, owner: Option<&str>) -> Shard {
    let (segments, files) = (vec![], vec![]);
    let owner = owner.map(str::to_owned);
    Shard { number: 0, segments, state, epoch, owner, heartbeat: 4, tally: None, files }
}

#[test]
fn a_shard_is_won_by_the_epoch_that_holds_it() {
    let tally = Tally::default();
    let file = WonFile { attempt: "a".into(), target: "t".into(), sha256: "d".into() };
    let leased = shard(State::Leased, 2, Some("b"));
    assert_eq!(leased.after(Event::Win(1, &[], &tally)), Err(Lost));
    let won = leased.after(Event::Win(2, std::slice::from_ref(&file), &tally)).unwrap();
    assert_eq!((won.state, &won.files), (State::Won, &vec![file.clone()]));
    let again = won.after(Event::Win(2, std::slice::from_ref(&file), &tally));
    assert_eq!(again, Ok(won.clone()), "its answer was lost");
    let finished = won.after(Event::Finish).unwrap();
    assert_eq!(finished.after(Event::Finish), Ok(finished.clone()));
    assert_eq!(finished.after(Event::Win(2, &[], &tally)), Err(Lost));
    for event in [Event::Claim("c"), Event::Beat(2), Event::Release(2)] {
        assert_eq!(finished.after(event), Err(Lost));
    }
}

#[test]
fn a_shard_that_is_taken_over_keeps_what_it_has_won() {
    let won = shard(State::Won, 2, Some("b"));
    let taken = won.after(Event::TakeOver("c", won.sign())).unwrap();
    assert_eq!((taken.state, taken.epoch, taken.owner.as_deref()), (State::Won, 3, Some("c")));
    assert_eq!(taken.after(Event::Beat(2)), Err(Lost));
    assert_eq!(won.after(Event::TakeOver("c", Sign { epoch: 2, heartbeat: 3 })), Err(Lost));
}

#[test]
fn what_is_released_can_be_claimed_again() {
    let leased = shard(State::Leased, 2, Some("b"));
    let ready = leased.after(Event::Release(2)).unwrap();
    assert_eq!((ready.state, &ready.owner), (State::Ready, &None));
    assert_eq!(ready.after(Event::Claim("c")).unwrap().epoch, 3);
    assert_eq!(leased.after(Event::Release(1)), Err(Lost));
}
