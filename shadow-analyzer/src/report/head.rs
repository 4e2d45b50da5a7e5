//! The head of the page: the word, the score, why, and what was compared.

use crate::number::{count, counted};
use crate::report::bar::Bar;
use crate::report::text::{Figure, Text, instant, length, more};
use crate::verdict::{Cell, Decision, DimensionName, Judged, Verdict};

/// Reasons that are shown.
const REASONS_MAX: usize = 25;

/// The head of the page.
pub(super) struct Head {
    pub(super) word: &'static str,
    /// The mark beside the word, for whom the colour says nothing.
    pub(super) symbol: &'static str,
    pub(super) basis: Text,
    pub(super) score: Score,
    pub(super) why: Text,
    pub(super) next: Text,
    pub(super) reasons: Vec<Reason>,
    pub(super) reasons_more: u64,
    pub(super) service: Text,
    pub(super) candidate: Text,
    pub(super) candidate_url: Text,
    pub(super) primary: Option<Text>,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) length: String,
    pub(super) decided_at: String,
    /// How the candidate was replayed.
    pub(super) replay: Option<Replay>,
    pub(super) run_id: Text,
    pub(super) revision: u32,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) recorded: String,
    pub(super) recorded_words: String,
    pub(super) matched: String,
    pub(super) different: String,
    /// Whether no exchange was compared, so that the absence of differences says nothing.
    pub(super) compared_none: bool,
    /// Whether there were exchanges, and every one of them was answered and compared.
    pub(super) all_compared: bool,
    pub(super) complete: bool,
    pub(super) completeness: Text,
}

/// The score in words.
pub(super) struct Score {
    pub(super) decided: bool,
    /// `50`; nothing where nothing was decided.
    pub(super) number: Option<u8>,
    /// What follows the number and its colon.
    pub(super) words: String,
    pub(super) worst: Option<Worst>,
}

/// The cell that decides the score.
pub(super) struct Worst {
    pub(super) cell: Text,
    pub(super) dimension: &'static str,
    pub(super) measure: String,
    pub(super) difference: Figure,
    pub(super) threshold: Option<Figure>,
    pub(super) bar: Option<Bar>,
}

/// How the candidate was replayed.
pub(super) struct Replay {
    pub(super) isolation: &'static str,
    pub(super) how: Text,
}

/// A rule that speaks against certifying.
pub(super) struct Reason {
    pub(super) effect: &'static str,
    pub(super) symbol: &'static str,
    pub(super) text: Text,
    pub(super) cell: Option<Text>,
}

/// A term of the sum that accounts for every exchange.
pub(super) struct Outcome {
    pub(super) count: String,
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
    pub(super) zero: bool,
}

impl Head {
    pub(super) fn of(verdict: &Verdict) -> Self {
        let reasons: Vec<_> = verdict.reasons.iter().take(REASONS_MAX).map(reason).collect();
        let of = &verdict.exchanges;
        let seconds = verdict.to.as_second().saturating_sub(verdict.from.as_second());
        Self {
            word: verdict.verdict.word(),
            symbol: symbol(verdict.verdict),
            basis: Text::sentence(&verdict.basis.text),
            score: score(verdict),
            why: Text::sentence(&verdict.why),
            next: Text::sentence(&verdict.next),
            reasons_more: more(verdict.reasons.len(), reasons.len()),
            reasons,
            service: Text::name(&verdict.service),
            candidate: Text::name(&verdict.candidate.build),
            candidate_url: Text::name(&verdict.candidate.url),
            primary: verdict.primary_build.as_deref().map(Text::name),
            from: instant(verdict.from),
            to: instant(verdict.to),
            length: length(u64::try_from(seconds).unwrap_or(0)),
            decided_at: instant(verdict.decided_at),
            replay: verdict.replay.as_ref().map(replay),
            run_id: Text::name(&verdict.run_id),
            revision: verdict.revision,
            outcomes: outcomes(verdict),
            recorded: count(verdict.exchanges.recorded),
            recorded_words: counted(verdict.exchanges.recorded, "exchange", "exchanges"),
            matched: count(verdict.exchanges.matched),
            different: count(verdict.exchanges.different),
            compared_none: (of.matched, of.different, of.errored) == (0, 0, 0),
            all_compared: of.recorded > 0 && (of.filtered, of.errored, of.unverified) == (0, 0, 0),
            complete: verdict.completeness.complete,
            completeness: Text::sentence(&verdict.completeness.text),
        }
    }
}

fn replay(replay: &crate::verdict::Replay) -> Replay {
    let upstreams = match &*replay.upstreams {
        "own" => "upstreams of its own",
        _ => "upstream calls answered from the recording",
    };
    let isolation =
        if replay.isolation_proven { "isolation proven" } else { "isolation not proven" };
    Replay { isolation, how: Text::name(&format!("{}; {upstreams}", replay.state)) }
}

fn symbol(decision: Decision) -> &'static str {
    match decision {
        Decision::Certified => "✓",
        Decision::Refused => "✕",
        Decision::Inconclusive => "?",
    }
}

fn reason(reason: &crate::verdict::Reason) -> Reason {
    Reason {
        effect: reason.effect.word(),
        symbol: symbol(reason.effect),
        text: Text::sentence(&reason.text),
        cell: reason.cell.as_ref().map(|cell| Text::names(&cell.value)),
    }
}

fn score(verdict: &Verdict) -> Score {
    if !verdict.decided {
        let words = "nothing was decided".to_owned();
        return Score { decided: false, number: None, words, worst: None };
    }
    let worst = worst(verdict);
    let examined =
        if verdict.verdict == Decision::Inconclusive { "on what was examined, " } else { "" };
    let words = match (&worst, verdict.confidence) {
        (_, 100..) => format!("{examined}no cell strayed beyond its threshold"),
        (Some(Worst { bar: Some(bar), .. }), _) => {
            format!("{examined}the worst cell {}", bar.sentence)
        }
        _ => format!("{examined}the worst cell strayed beyond its threshold"),
    };
    Score { decided: true, number: Some(verdict.confidence), words, worst }
}

/// Returns the cell with the lowest confidence of the gated dimensions, if it differs at all; the verdict lists it first.
fn worst(verdict: &Verdict) -> Option<Worst> {
    let (dimension, cell) = verdict
        .dimensions
        .iter()
        .filter(|dimension| dimension.gated)
        .flat_map(|dimension| dimension.cells.iter().map(move |cell| (dimension.name, cell)))
        .filter(|(_, cell)| cell.confidence.is_some())
        .min_by_key(|(_, cell)| cell.confidence)?;
    let (kind, judged) = deciding(cell)?;
    let difference = Figure::amount(judged.difference());
    (!difference.zero).then(|| Worst {
        cell: Text::names(&cell.value),
        dimension: DimensionName::title(dimension),
        measure: format!("{kind} difference of {}", noun(judged)),
        bar: judged.threshold.as_deref().and_then(|most| Bar::of(judged.difference(), most)),
        threshold: judged.threshold.as_deref().map(Figure::amount),
        difference,
    })
}

fn noun(judged: &Judged) -> &'static str {
    match judged.worst {
        crate::verdict::Measure::Debit => "debits",
        crate::verdict::Measure::Credit => "credits",
        crate::verdict::Measure::Balance => "the balance",
    }
}

/// Returns which of net and gross decides a cell's confidence.
fn deciding(cell: &Cell) -> Option<(&'static str, &Judged)> {
    let known = |judged: &&Judged| judged.confidence.is_some();
    let net = cell.net.as_ref().filter(known).map(|net| ("net", net));
    let gross = cell.gross.as_ref().filter(known).map(|gross| ("gross", gross));
    net.into_iter().chain(gross).min_by_key(|(_, judged)| judged.confidence)
}

fn outcomes(verdict: &Verdict) -> Vec<Outcome> {
    let of = &verdict.exchanges;
    [
        (of.matched, "matched", "both builds booked the same"),
        (of.different, "different", "the candidate booked something else"),
        (of.errored, "errored", "the candidate failed; counted as if it had booked nothing"),
        (of.filtered, "filtered", "left out by a filter"),
        (of.unverified, "unverified", "could not be compared"),
    ]
    .map(|(number, name, meaning)| Outcome {
        count: count(number),
        name,
        meaning,
        zero: number == 0,
    })
    .into()
}
