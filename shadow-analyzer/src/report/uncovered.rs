//! What a certificate does not cover: only what the verdict says, the absent control included.

use crate::number::{count, counted};
use crate::report::text::{Figure, Text, instant, more};
use crate::verdict::{
    AssumedMoney, Cell, DimensionName, IgnoredPath, Losses, LostMoney, Replay, Stretch, Verdict,
};

/// Entries that one item lists.
const DETAILS_MAX: usize = 6;

/// One item of the box.
pub(super) struct Item {
    pub(super) title: String,
    pub(super) details: Vec<Detail>,
    pub(super) more: u64,
}

/// A line of an item.
pub(super) struct Detail {
    pub(super) text: Text,
    pub(super) money: Vec<(Figure, Text)>,
}

impl Detail {
    fn words(words: &str) -> Self {
        Self { text: Text::sentence(words), money: Vec::new() }
    }
}

impl Item {
    fn of(title: impl Into<String>, mut details: Vec<Detail>) -> Self {
        let more = more(details.len(), DETAILS_MAX);
        details.truncate(DETAILS_MAX);
        Self { title: title.into(), details, more }
    }

    fn plain(title: &str, words: &str) -> Self {
        Self::of(title, vec![Detail::words(words)])
    }
}

/// Returns the items, the gravest first.
pub(super) fn items(verdict: &Verdict) -> Vec<Item> {
    let mut items = vec![money(verdict)];
    items.extend(exchanges(verdict));
    items.extend(losses(verdict));
    items.extend(judging(verdict));
    items.push(control(verdict));
    items.extend(verdict.replay.iter().flat_map(replayed));
    items.extend(ignored(verdict));
    let latency =
        "The candidate's upstreams are stubs; its latency is shown further down, and not judged.";
    items.push(Item::plain("Latency", latency));
    items
}

/// Production's money that was not compared, by line of business; by whatever else there is where that is missing.
fn money(verdict: &Verdict) -> Item {
    let cells = verdict
        .dimension(DimensionName::LineOfBusiness)
        .or_else(|| verdict.dimensions.first())
        .map_or(&[][..], |dimension| &dimension.cells[..]);
    let details: Vec<_> =
        cells.iter().filter_map(|cell| not_examined(cell, &verdict.reporting_currency)).collect();
    match (details.is_empty(), cells.is_empty()) {
        (true, true) => Item::plain("Money", "No money of production was read in this range."),
        (true, false) => Item::plain(
            "Money not examined: none",
            "All money that could be read of production's recorded exchanges was compared.",
        ),
        _ => Item::of("Money not examined", details),
    }
}

fn not_examined(cell: &Cell, reporting_currency: &str) -> Option<Detail> {
    let money: Vec<_> = match &cell.not_examined {
        Some(money) => vec![(Figure::amount(money), Text::name(reporting_currency))],
        // A rate is missing: the amounts as they stand.
        None => cell
            .currencies
            .iter()
            .flat_map(|of| {
                [
                    (
                        Figure::amount(&of.not_examined_debit),
                        Text::name(&format!("{} debit", of.currency)),
                    ),
                    (
                        Figure::amount(&of.not_examined_credit),
                        Text::name(&format!("{} credit", of.currency)),
                    ),
                ]
            })
            .take(DETAILS_MAX)
            .collect(),
    };
    let money: Vec<_> = money.into_iter().filter(|(figure, _)| !figure.zero).collect();
    (!money.is_empty()).then(|| Detail { text: Text::names(&cell.value), money })
}

fn exchanges(verdict: &Verdict) -> Vec<Item> {
    let all =
        [("unverified", verdict.exchanges.unverified), ("filtered", verdict.exchanges.filtered)];
    all.into_iter()
        .filter(|(_, number)| *number > 0)
        .map(|(outcome, number)| {
            let reasons = verdict.not_compared.iter().filter(|reason| reason.outcome == outcome);
            let details = reasons
                .map(|reason| Detail::words(&format!("{}: {}", count(reason.count), reason.reason)))
                .collect();
            Item::of(format!("{} {outcome}", counted(number, "exchange", "exchanges")), details)
        })
        .collect()
}

fn losses(verdict: &Verdict) -> Vec<Item> {
    let losses = &verdict.losses;
    let mut items = Vec::new();
    let dropped: Vec<_> = losses
        .dropped
        .iter()
        .filter(|(_, number)| **number > 0)
        .map(|(reason, number)| Detail::words(&format!("{}: {reason}", count(*number))))
        .collect();
    if !dropped.is_empty() {
        items.push(Item::of("Lost while recording, by reason", dropped));
        items.push(Item::plain("The money of what was lost", lost_money(losses)));
    }
    let list = |title: &str, texts: &[String]| {
        (!texts.is_empty())
            .then(|| Item::of(title, texts.iter().map(|text| Detail::words(text)).collect()))
    };
    items.extend(list("Gaps in the recording of the range", &losses.gaps));
    items.extend(list("Recordings that could not be read whole", &losses.unreadable));
    items.extend(list("No recorder was there", &unrecorded(verdict)));
    if losses.money_unknown > 0 {
        let title = counted(losses.money_unknown, "exchange", "exchanges");
        items.push(Item::plain(
            &format!("{title} of unknown money"),
            "Not even production's money could be read from them.",
        ));
    }
    if verdict.basis.sampled || losses.sampled_out > 0 {
        let left_out = counted(losses.sampled_out, "exchange was", "exchanges were");
        items.push(Item::plain(
            "Traffic outside the sample",
            &format!(
                "{left_out} left out by the sampling, as intended. Basis: {}.",
                verdict.basis.text
            ),
        ));
    }
    items
}

fn lost_money(losses: &Losses) -> &'static str {
    match &losses.money {
        Some(LostMoney { known: true, at_most: false, .. }) => {
            "It is known from the census, and part of the money not examined."
        }
        Some(LostMoney { known: true, at_most: true, .. }) => {
            "It is at most what the census has beyond what was recorded, and part of the money not examined; a segment reaches beyond the range."
        }
        _ => "It is not known: set [recorder] census, so that later ranges tell.",
    }
}

/// When no recorder was there: nobody knows here whether production served anything then.
fn unrecorded(verdict: &Verdict) -> Vec<String> {
    let stretch = |of: &Stretch| {
        format!("from {} to {}, {} seconds", instant(of.from), instant(of.to), of.seconds)
    };
    verdict.time.unrecorded.iter().map(stretch).collect()
}

/// What the policy leaves unjudged, accepts or expects.
fn judging(verdict: &Verdict) -> Vec<Item> {
    let mut items = Vec::new();
    let shown_only: Vec<_> = verdict
        .dimensions
        .iter()
        .filter(|dimension| !dimension.gated)
        .map(|dimension| Detail::words(dimension.name.title()))
        .collect();
    if !shown_only.is_empty() {
        items.push(Item::of("Shown, and not judged", shown_only));
    }
    let no_threshold = |cell: &&Cell| {
        let judged = || [&cell.net, &cell.gross].into_iter().flatten();
        judged().any(|judged| judged.threshold.is_none())
    };
    let gated = || verdict.dimensions.iter().filter(|dimension| dimension.gated);
    let missing: Vec<_> = gated()
        .flat_map(|dimension| &dimension.cells)
        .filter(no_threshold)
        .map(|cell| Detail { text: Text::names(&cell.value), money: Vec::new() })
        .collect();
    if !missing.is_empty() {
        items.push(Item::of("No threshold is configured", missing));
    }
    let declared: Vec<_> = gated()
        .flat_map(|dimension| &dimension.cells)
        .filter(|cell| cell.declared)
        .map(|cell| Detail { text: Text::names(&cell.value), money: Vec::new() })
        .collect();
    if !declared.is_empty() {
        items.push(Item::of("New values that the policy expects", declared));
    }
    if verdict.policy.candidate_errors_max > 0 {
        let most = counted(verdict.policy.candidate_errors_max, "failure", "failures");
        items.push(Item::plain(
            "Failures that the policy accepts",
            &format!("Up to {most} of the candidate where production succeeded."),
        ));
    }
    items
}

/// What the way of replaying leaves open.
fn replayed(replay: &Replay) -> Vec<Item> {
    let mut items = Vec::new();
    if !replay.isolation_proven {
        items.push(Item::plain("Isolation", &replay.isolation));
    }
    if replay.upstreams == "own" {
        items.push(Item::plain(
            "Upstreams of its own",
            "The candidate called upstreams of its own, of which nothing was seen; a difference may be theirs.",
        ));
    }
    if replay.assumed.exchanges > 0 {
        let exchanges = counted(replay.assumed.exchanges, "exchange rests", "exchanges rest");
        let money = |of: &AssumedMoney| {
            let debit = (Figure::amount(&of.debit), Text::name(&format!("{} debit", of.currency)));
            let credit =
                (Figure::amount(&of.credit), Text::name(&format!("{} credit", of.currency)));
            [debit, credit]
        };
        let text = Text::sentence(&format!(
            "{exchanges} on declared answers to calls that production never made; what the candidate booked in them:"
        ));
        let money = replay.assumed.money.iter().take(DETAILS_MAX).flat_map(money).collect();
        items.push(Item::of("Assumed", vec![Detail { text, money }]));
    }
    items
}

/// What the structural comparison leaves out, which is no money.
fn ignored(verdict: &Verdict) -> Option<Item> {
    let ignored = &verdict.structure.ignored;
    let words = |ignored: &IgnoredPath| {
        let route = ignored.route.as_deref().unwrap_or("every route");
        Detail::words(&format!("{} of {route}: {}", ignored.path, ignored.reason))
    };
    (!ignored.is_empty()).then(|| {
        Item::of("Parts of the answers that are not compared", ignored.iter().map(words).collect())
    })
}

fn control(verdict: &Verdict) -> Item {
    let Some(control) = &verdict.control else {
        return Item::plain(
            "No control",
            "Production's own build was not replayed beside the candidate, so a difference that comes from the replay itself is not told apart.",
        );
    };
    let differing = counted(control.exchanges_differing, "exchange", "exchanges");
    let replayed = counted(control.exchanges_replayed, "exchange", "exchanges");
    let mut details = vec![Detail::words(&format!(
        "Production's build {}, replayed itself, differed from what it had booked in {differing} of {replayed}.",
        control.build
    ))];
    if control.exchanges_explained > 0 {
        let explained = counted(control.exchanges_explained, "exchange", "exchanges");
        details.push(Detail::words(&format!(
            "In {explained} it shows all that the candidate shows, so the replay is to blame; they count all the same."
        )));
    }
    details.extend(
        control
            .cells
            .iter()
            .map(|cell| Detail { text: Text::names(&cell.value), money: Vec::new() }),
    );
    Item::of("Control", details)
}
