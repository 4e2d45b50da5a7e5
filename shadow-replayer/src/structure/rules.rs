//! What the structural comparison leaves out, and how it looks at what is left.

use shadow_recorder::ledger::{Extract, Field, Level, Mapping, Path, Route, Rule, Source};

use super::pattern::{Pattern, Step};

/// What is compared beside the ledger mapping, and how.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Names of the answer's fields that are compared, in lower case.
    pub headers: Vec<String>,
    /// What is not compared.
    pub ignored: Vec<Ignored>,
    /// Arrays whose order means nothing.
    pub unordered: Vec<Selection>,
    /// The ledger mapping's own rules, for the types of what they read.
    pub(super) mapping: Vec<Rule>,
    ledger: Vec<Ledger>,
}

/// A part of the answers.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Of which requests; all of them where it is absent.
    pub route: Option<Route>,
    /// Where in the answer, as configured.
    pub path: String,
    pattern: Pattern,
}

impl Selection {
    /// Makes a selection; the error says what a path here cannot be.
    pub fn new(route: Option<Route>, path: &str) -> Result<Self, String> {
        let pattern = Pattern::of(&Path::parse(path)?)?;
        Ok(Self { route, path: path.to_owned(), pattern })
    }

    fn is_of(&self, method: &str, path: &str) -> bool {
        self.route.as_ref().is_none_or(|route| route.matches(method, path))
    }
}

/// A part of the answers that may differ.
#[derive(Clone, Debug)]
pub struct Ignored {
    /// Where.
    pub selection: Selection,
    /// Why.
    pub reason: String,
}

/// What one ledger rule reads of an answer: judged as money, and so not shown a second time.
#[derive(Clone, Debug)]
struct Ledger {
    route: Route,
    /// Not compared.
    read: Vec<Pattern>,
    /// Arrays of transactions and of entries.
    held: Vec<Pattern>,
}

impl Rules {
    /// Makes the rules of a configuration and its ledger mapping.
    pub fn new(
        headers: Vec<String>,
        ignored: Vec<Ignored>,
        unordered: Vec<Selection>,
        mapping: &Mapping,
    ) -> Self {
        let ledger = mapping.rules.iter().filter_map(|rule| match &rule.source {
            Source::Answer(extract) => Some(ledger(rule.route.clone(), extract)),
            Source::Nothing | Source::Sink(..) => None,
        });
        let ledger = ledger.collect();
        Self { headers, ignored, unordered, mapping: mapping.rules.clone(), ledger }
    }

    /// Returns the rules for the answers to one request.
    pub(super) fn of(&self, method: &str, path: &str) -> OfRoute<'_> {
        let ledger = || self.ledger.iter().filter(|ledger| ledger.route.matches(method, path));
        let ignored = self.ignored.iter().map(|ignored| &ignored.selection);
        let ignored = ignored.filter(|selection| selection.is_of(method, path));
        let unordered = self.unordered.iter().filter(|selection| selection.is_of(method, path));
        OfRoute {
            ignored: ignored
                .map(|selection| &selection.pattern)
                .chain(ledger().flat_map(|ledger| &ledger.read))
                .collect(),
            unordered: unordered
                .map(|selection| &selection.pattern)
                .chain(ledger().flat_map(|ledger| &ledger.held))
                .collect(),
            held: ledger().flat_map(|ledger| &ledger.held).collect(),
        }
    }
}

/// The rules for one request.
pub(super) struct OfRoute<'a> {
    ignored: Vec<&'a Pattern>,
    unordered: Vec<&'a Pattern>,
    held: Vec<&'a Pattern>,
}

impl OfRoute<'_> {
    pub(super) fn ignores(&self, place: &[Step<'_>]) -> bool {
        self.ignored.iter().any(|pattern| pattern.selects(place))
    }

    pub(super) fn is_unordered(&self, array: &[Step<'_>]) -> bool {
        self.unordered.iter().any(|pattern| pattern.selects(array))
    }

    /// Returns whether the items of an array are transactions or entries: one more or less is money.
    pub(super) fn holds_money(&self, array: &[Step<'_>]) -> bool {
        self.held.iter().any(|pattern| pattern.selects(array))
    }
}

/// Returns what an extract reads. A path that no pattern expresses stays compared: it is then shown twice, and never lost.
fn ledger(route: Route, extract: &Extract) -> Ledger {
    let Ok(transactions) = Pattern::of(&extract.transactions) else {
        return Ledger { route, read: Vec::new(), held: Vec::new() };
    };
    let mut held = vec![transactions.holder()];
    let entries = Pattern::of(&extract.entries).ok().map(|entries| transactions.then(&entries));
    held.extend(entries.as_ref().map(Pattern::holder));
    let place = |field: &Field| {
        let Field::Read { from, path, .. } = field else { return None };
        let path = Pattern::of(path).ok()?;
        match from {
            Level::Answer => Some(path),
            Level::Transaction => Some(transactions.then(&path)),
            Level::Entry => entries.as_ref().map(|entries| entries.then(&path)),
        }
    };
    let money = extract.money_fields().into_iter().map(|(_, field)| field);
    let read = money.chain(extract.fields.values()).filter_map(place).collect();
    Ledger { route, read, held }
}
