//! What is new, and what was before: classes of difference, changed lines of the policy, earlier verdicts.

use crate::number::count;
use crate::report::text::{Figure, Text, instant, more};
use crate::verdict::{Earlier, FirstSeen, History, Signature, SignatureMoney, Verdict};

/// Classes of difference that the page shows.
const CLASSES_MAX: usize = 60;
/// Lines of the policy that it shows.
const CHANGES_MAX: usize = 60;
/// Earlier verdicts that it shows.
const EARLIER_MAX: usize = 20;

/// The sections about what was before.
pub(super) struct Before {
    /// The last certified run; absent where there is none.
    pub(super) last: Option<Given>,
    pub(super) classes: Vec<Class>,
    pub(super) classes_more: u64,
    pub(super) changes: Vec<Change>,
    pub(super) changes_more: u64,
    pub(super) same_build: Vec<Given>,
    pub(super) same_build_more: u64,
}

/// An earlier verdict.
pub(super) struct Given {
    pub(super) verdict: &'static str,
    pub(super) build: Text,
    pub(super) run_id: Text,
    pub(super) decided_at: String,
}

/// A class of difference.
pub(super) struct Class {
    pub(super) state: &'static str,
    pub(super) kind: Text,
    pub(super) place: Text,
    pub(super) direction: Text,
    pub(super) exchanges: String,
    pub(super) money: Vec<Money>,
    pub(super) example: Text,
    pub(super) first: Option<First>,
}

/// Its money in one currency.
pub(super) struct Money {
    pub(super) currency: Text,
    pub(super) debit: Figure,
    pub(super) credit: Figure,
}

/// Where it was first seen.
pub(super) struct First {
    pub(super) build: Text,
    pub(super) run_id: Text,
    pub(super) decided_at: String,
}

/// A changed line of the policy.
pub(super) struct Change {
    pub(super) line: Text,
    pub(super) before: Option<Text>,
    pub(super) after: Option<Text>,
}

impl Before {
    pub(super) fn of(verdict: &Verdict) -> Self {
        let History { last_certified, policy_changes, same_build, .. } = &verdict.history;
        let signatures = &verdict.signatures;
        let text = |text: &Option<String>| text.as_deref().map(Text::sentence);
        let change = |change: &crate::verdict::PolicyChange| Change {
            line: Text::name(&change.line),
            before: text(&change.before),
            after: text(&change.after),
        };
        Self {
            last: last_certified.as_ref().map(given),
            classes: signatures.shown.iter().take(CLASSES_MAX).map(class).collect(),
            classes_more: more(signatures.shown.len(), CLASSES_MAX) + signatures.left_out,
            changes: policy_changes.iter().take(CHANGES_MAX).map(change).collect(),
            changes_more: more(policy_changes.len(), CHANGES_MAX)
                + verdict.history.policy_changes_left_out,
            same_build: same_build.iter().take(EARLIER_MAX).map(given).collect(),
            same_build_more: more(same_build.len(), EARLIER_MAX)
                + verdict.history.same_build_left_out,
        }
    }
}

fn given(of: &Earlier) -> Given {
    Given {
        verdict: of.verdict.word(),
        build: Text::name(&of.build),
        run_id: Text::name(&of.run_id),
        decided_at: instant(of.decided_at),
    }
}

fn class(of: &Signature) -> Class {
    let first = |first: &FirstSeen| First {
        build: Text::name(&first.build),
        run_id: Text::name(&first.run_id),
        decided_at: instant(first.decided_at),
    };
    let money = |money: &SignatureMoney| Money {
        currency: Text::name(&money.currency),
        debit: Figure::difference(&money.debit),
        credit: Figure::difference(&money.credit),
    };
    Class {
        state: match of.new {
            Some(true) => "new",
            Some(false) => "known",
            None => "not known",
        },
        kind: Text::name(&of.kind.replace('_', " ")),
        place: Text::name(&of.place()),
        direction: Text::name(&of.direction.replace('_', " ")),
        exchanges: count(of.exchanges),
        money: of.money.iter().map(money).collect(),
        example: Text::name(&of.example),
        first: of.first.as_ref().filter(|_| of.new != Some(true)).map(first),
    }
}

#[cfg(test)]
mod tests {
    use crate::report::fixture::{certified, refused};
    use crate::report::render;
    use crate::verdict::{
        Decision, Earlier, FirstSeen, History, PolicyChange, Signature, SignatureMoney, Signatures,
    };

    #[test]
    fn new_and_known_differences_the_changed_policy_and_earlier_verdicts_are_on_the_page() {
        let mut verdict = refused();
        let at = "2026-03-01T06:00:00Z".parse().expect("a timestamp");
        let earlier = |run: &str, verdict| Earlier {
            run_id: run.into(),
            revision: 1,
            build: "2026.10-<rc1>".into(),
            decided_at: at,
            verdict,
            policy_sha256: "p".into(),
        };
        let class = |place: &str, new| Signature {
            kind: "amount_changed".into(),
            line_of_business: Some(place.into()),
            gl_account: Some("4000".into()),
            direction: "less credit".into(),
            exchanges: 1_200,
            money: vec![SignatureMoney {
                currency: "USD".into(),
                debit: "0.00".into(),
                credit: "-1234.50".into(),
            }],
            new: Some(new),
            first: Some(FirstSeen { run_id: "r-0".into(), build: "b-0".into(), decided_at: at }),
            ..Signature::default()
        };
        verdict.signatures =
            Signatures { shown: vec![class("Eats", true), class("Rides", false)], left_out: 7 };
        let line = |n: usize| PolicyChange {
            line: format!("line {n}"),
            before: Some("1000.00".into()),
            after: (n > 0).then(|| "5000.00".into()),
        };
        verdict.history = History {
            last_certified: Some(earlier("r-1", Decision::Certified)),
            policy_changes: (0..70).map(line).collect(),
            same_build: vec![earlier("r-2", Decision::Inconclusive)],
            ..History::default()
        };
        let page = render(&verdict).expect("a page");
        for text in [
            "▲ new</strong></th><td><bdi>amount changed</bdi></td><td><bdi>Eats / 4000</bdi>",
            "known</th><td><bdi>amount changed</bdi></td><td><bdi>Rides / 4000</bdi>",
            "since run <bdi class=\"id\">r-0</bdi> of build <bdi>b-0</bdi>",
            "<data value=\"-1234.50\">\u{2212}1,234.50</data>",
            "7 more in verdict.json or the journal",
            "line 1</bdi></th><td><bdi>1000.00</bdi></td><td><bdi>5000.00</bdi>",
            "line 0</bdi></th><td><bdi>1000.00</bdi></td><td>–</td>",
            "10 more lines.",
            "inconclusive</th><td>2026-03-01 06:00:00 UTC</td>",
            "2026.10-&#60;rc1&#62;",
        ] {
            assert!(page.contains(text), "{text} is not on the page");
        }
    }

    #[test]
    fn a_first_run_says_that_nothing_was_before() {
        let page = render(&certified()).expect("a page");
        for text in ["No other run of the service was certified", "was not judged before"] {
            assert!(page.contains(text), "{text} is not on the page");
        }
    }
}
