//! Workers, a run store and an object store in memory, driven by the transitions and the watch that the real ones use: a worker can
//! die after every step, an answer can be lost, a worker can be so slow that its lease runs out, and clocks differ.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::*;
use crate::lease::Watch;

const SHARDS: u32 = 3;
const FILES: usize = 2;
const LEASE: Duration = Duration::from_secs(1);

/// What outlives every worker.
struct Stores {
    shards: Vec<Shard>,
    objects: BTreeMap<String, String>,
    winners: BTreeMap<u32, Vec<WonFile>>,
    taken_over: u32,
    lost: u32,
}

impl Stores {
    fn new() -> Self {
        let shards = (0..SHARDS).map(|number| Shard {
            number,
            segments: vec![],
            state: State::Ready,
            epoch: 0,
            owner: None,
            heartbeat: 0,
            tally: None,
            files: vec![],
        });
        let shards = shards.collect();
        let (objects, winners) = (BTreeMap::new(), BTreeMap::new());
        Self { shards, objects, winners, taken_over: 0, lost: 0 }
    }

    fn shard(&self, number: u32) -> &Shard {
        &self.shards[number as usize]
    }

    /// The one statement of the store.
    fn swap(&mut self, before: &Shard, after: &Shard) -> bool {
        let row = &mut self.shards[before.number as usize];
        let same = (row.state, row.sign()) == (before.state, before.sign());
        if same {
            *row = after.clone();
        }
        same
    }

    fn all_finished(&self) -> bool {
        self.shards.iter().all(|shard| shard.state == State::Finished)
    }

    /// What must hold after every step.
    fn check(&mut self) {
        for shard in &self.shards {
            if !shard.files.is_empty() {
                let winner =
                    self.winners.entry(shard.number).or_insert_with(|| shard.files.clone());
                assert_eq!(*winner, shard.files, "a shard has one winner");
            }
            for file in 0..FILES {
                let published = self.objects.get(&target(shard.number, file));
                let won = shard.files.get(file).map(|file| &file.sha256);
                assert!(published.is_none() || published == won, "published is what won");
                assert!(shard.state != State::Finished || published == won, "first published");
            }
        }
    }

    /// What must hold in the end.
    fn check_journal(&self) {
        assert!(self.all_finished());
        let published: Vec<&String> = self.objects.keys().collect();
        let expected: Vec<String> =
            (0..SHARDS).flat_map(|shard| (0..FILES).map(move |file| target(shard, file))).collect();
        assert_eq!(
            published,
            expected.iter().collect::<Vec<_>>(),
            "each exchange once, no leftover"
        );
    }
}

fn target(shard: u32, file: usize) -> String {
    format!("journal/shard={shard}/{file}")
}

/// What a worker does next.
#[derive(Clone, Debug)]
enum Doing {
    Look,
    /// Reads the row of a shard …
    Read(u32, Wanted),
    /// … and writes it where it is still the same.
    Swap(Box<Shard>, Box<Shard>, Wanted),
    Upload(Shard, usize),
    Publish(Shard, usize),
    Remove(Vec<WonFile>),
    Done,
}

#[derive(Clone, Debug)]
enum Wanted {
    Claim(String),
    TakeOver(String, Sign),
    Win(i64, Vec<WonFile>),
    Finish,
}

impl Wanted {
    fn event<'a>(&'a self, tally: &'a Tally) -> Event<'a> {
        match self {
            Self::Claim(owner) => Event::Claim(owner),
            Self::TakeOver(owner, seen) => Event::TakeOver(owner, *seen),
            Self::Win(epoch, files) => Event::Win(*epoch, files, tally),
            Self::Finish => Event::Finish,
        }
    }
}

struct Worker {
    name: String,
    claims: u32,
    now: Duration,
    watch: Watch,
    doing: Doing,
    /// The shard that it believes to hold, and the epoch.
    holds: Option<(u32, i64)>,
}

impl Worker {
    fn new(name: String) -> Self {
        let (watch, doing) = (Watch::new(LEASE), Doing::Look);
        Self { name, claims: 0, now: Duration::ZERO, watch, doing, holds: None }
    }

    /// Shows that it lives; stops what it does where its shard is another's.
    fn beat(&mut self, stores: &mut Stores) {
        let Some((number, epoch)) = self.holds else { return };
        let before = stores.shard(number).clone();
        match before.after(Event::Beat(epoch)) {
            Ok(after) => assert!(stores.swap(&before, &after)),
            Err(Lost) if before.state == State::Finished => {}
            Err(Lost) => (self.holds, self.doing) = (None, Doing::Look),
        }
    }

    /// Takes one step; where its answer is lost the step is done and the worker does it again.
    fn step(&mut self, stores: &mut Stores, answered: bool) {
        let next = match self.doing.clone() {
            Doing::Look => self.look(stores),
            Doing::Read(number, wanted) => {
                let before = stores.shard(number).clone();
                match before.after(wanted.event(&Tally::default())) {
                    Err(Lost) => self.lost(stores, wanted),
                    Ok(after) if after == before => self.changed(after, &wanted),
                    Ok(after) => Doing::Swap(before.into(), after.into(), wanted),
                }
            }
            Doing::Swap(before, after, wanted) => {
                if stores.swap(&before, &after) {
                    stores.taken_over += u32::from(matches!(wanted, Wanted::TakeOver(..)));
                    if answered { self.changed(*after, &wanted) } else { self.doing.clone() }
                } else {
                    Doing::Read(before.number, wanted)
                }
            }
            Doing::Upload(shard, FILES) => {
                let files = (0..FILES).map(|file| won_file(&shard, file)).collect();
                Doing::Read(shard.number, Wanted::Win(shard.epoch, files))
            }
            Doing::Upload(shard, file) => {
                let won = won_file(&shard, file);
                stores.objects.insert(won.attempt, won.sha256);
                Doing::Upload(shard, if answered { file + 1 } else { file })
            }
            Doing::Publish(shard, FILES) => Doing::Read(shard.number, Wanted::Finish),
            Doing::Publish(shard, file) => {
                let won = &shard.files[file];
                if let Some(bytes) = stores.objects.get(&won.attempt).cloned() {
                    assert_eq!(bytes, won.sha256);
                    stores.objects.insert(won.target.clone(), bytes);
                    Doing::Publish(shard, if answered { file + 1 } else { file })
                } else {
                    assert_eq!(stores.shard(shard.number).state, State::Finished);
                    Doing::Look
                }
            }
            Doing::Remove(mut files) => match files.pop() {
                Some(file) => {
                    stores.objects.remove(&file.attempt);
                    Doing::Remove(files)
                }
                None => Doing::Look,
            },
            Doing::Done => Doing::Done,
        };
        if matches!(next, Doing::Look | Doing::Done) {
            self.holds = None;
        }
        self.doing = next;
    }

    fn look(&mut self, stores: &mut Stores) -> Doing {
        self.claims += 1;
        let owner = format!("{}/{}", self.name, self.claims);
        let is_held = |shard: &&Shard| matches!(shard.state, State::Leased | State::Won);
        let held: Vec<Shard> = stores.shards.iter().filter(is_held).cloned().collect();
        if let Some(dead) = self.watch.expired(&held, self.now).first() {
            return Doing::Read(dead.number, Wanted::TakeOver(owner, dead.sign()));
        }
        if let Some(ready) = stores.shards.iter().find(|shard| shard.state == State::Ready) {
            return Doing::Read(ready.number, Wanted::Claim(owner));
        }
        if !stores.all_finished() {
            return Doing::Look;
        }
        stores.objects.retain(|key, _| !key.starts_with("attempts/"));
        Doing::Done
    }

    fn changed(&mut self, shard: Shard, wanted: &Wanted) -> Doing {
        match (wanted, shard.state) {
            (Wanted::Finish, _) => Doing::Remove(shard.files),
            (Wanted::Win(..), State::Finished) => Doing::Look,
            (_, State::Won) => {
                if !matches!(wanted, Wanted::Win(..)) {
                    self.holds = Some((shard.number, shard.epoch));
                }
                Doing::Publish(shard, 0)
            }
            _ => {
                self.holds = Some((shard.number, shard.epoch));
                Doing::Upload(shard, 0)
            }
        }
    }

    fn lost(&mut self, stores: &mut Stores, wanted: Wanted) -> Doing {
        stores.lost += 1;
        self.holds = None;
        match wanted {
            Wanted::Win(_, files) => Doing::Remove(files),
            _ => Doing::Look,
        }
    }
}

/// No two attempts write the same.
fn won_file(shard: &Shard, file: usize) -> WonFile {
    let (number, epoch) = (shard.number, shard.epoch);
    WonFile {
        attempt: format!("attempts/shard={number}/epoch={epoch}/{file}"),
        target: target(number, file),
        sha256: format!("{number} {epoch} {file} of {:?}", shard.owner),
    }
}

/// Lets a worker that is alone go on until it has nothing to do, or for so many steps; returns how many it took.
fn alone(stores: &mut Stores, name: &str, steps: usize) -> usize {
    let mut worker = Worker::new(name.to_owned());
    for step in 0..steps {
        if matches!(worker.doing, Doing::Done) {
            return step;
        }
        worker.now += LEASE / 2;
        worker.step(stores, true);
        // Seldom, as a worker does: a beat between reading and writing has it read again.
        if step % 3 == 0 {
            worker.beat(stores);
        }
        stores.check();
    }
    steps
}

#[test]
fn a_run_that_is_cut_at_every_step_and_twice_is_finished_by_the_next_worker() {
    let whole = alone(&mut Stores::new(), "whole", usize::MAX);
    assert!(whole > 30, "{whole}");
    for first in 0..=whole {
        for second in 0..=whole {
            let mut stores = Stores::new();
            alone(&mut stores, "first", first);
            alone(&mut stores, "second", second);
            alone(&mut stores, "third", 1_000);
            stores.check_journal();
        }
    }
}

/// A generator of numbers that a seed repeats: splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

#[test]
fn five_thousand_schedules_of_four_workers_end_with_each_exchange_once() {
    let (mut taken_over, mut lost, mut died) = (0, 0, 0_u32);
    for seed in 0..5_000 {
        let (mut dice, mut stores) = (Dice(seed), Stores::new());
        let mut workers: Vec<Worker> = (0..4).map(|n| Worker::new(format!("w{n}"))).collect();
        for turn in 0..150 {
            let at = usize::try_from(dice.below(4)).unwrap();
            // Each has a clock of its own, and some run faster than others.
            for (speed, worker) in (1..).zip(&mut workers) {
                worker.now += Duration::from_millis(dice.below(60)) * speed;
            }
            match dice.below(20) {
                0 => {
                    workers[at] = Worker::new(format!("w{at} from {turn}"));
                    died += 1;
                }
                1..=4 => workers[at].beat(&mut stores),
                5..=7 => workers[at].step(&mut stores, false),
                _ => workers[at].step(&mut stores, true),
            }
            stores.check();
        }
        for round in 0..1_000 {
            if workers.iter().all(|worker| matches!(worker.doing, Doing::Done)) {
                break;
            }
            for worker in &mut workers {
                worker.now += LEASE / 10;
                if round % 3 == 0 {
                    worker.beat(&mut stores);
                }
                worker.step(&mut stores, true);
            }
            stores.check();
        }
        assert!(workers.iter().all(|worker| matches!(worker.doing, Doing::Done)), "{seed}");
        stores.check_journal();
        taken_over += stores.taken_over;
        lost += stores.lost;
    }
    // So that the schedules are not peaceful by mistake.
    assert!(taken_over > 1_000 && lost > 1_000 && died > 1_000, "{taken_over} {lost} {died}");
}
