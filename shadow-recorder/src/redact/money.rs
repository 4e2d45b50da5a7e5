//! Whether a rule certainly redacts what the ledger mapping reads. Pure.
//!
//! Names are compared with names, and a wildcard of a rule with everything. What depends on values is not looked at: a filter of a
//! rule counts as a wildcard, and a name of a rule is not taken for a member that a wildcard of the mapping selects.

use super::action::With;
use super::rule::{Place, Rule};
use crate::ledger::{Extract, Field, Mapping, Source, path};

/// One step of a path, as far as it is known without a document.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Members of these names.
    Names(Vec<String>),
    /// Anything.
    Any,
}

/// A step, and whether it may be taken any number of levels further down.
type Steps = Vec<(Step, bool)>;

impl Rule {
    /// Returns what the rule would take from the mapping: the names of its fields.
    pub fn money_in<'m>(&self, mapping: &'m Mapping) -> Vec<&'m str> {
        let Place::Json { text, .. } = &self.place else { return Vec::new() };
        let own = steps(text);
        let mut taken = Vec::new();
        for rule in &mapping.rules {
            let (is_meant, extract) = match &rule.source {
                Source::Nothing => continue,
                Source::Answer(extract) => {
                    let route = self.route.as_ref().is_none_or(|own| own.overlaps(&rule.route));
                    (self.upstream.is_none() && route, extract)
                }
                Source::Sink(name, extract) => match (&self.upstream, &self.route) {
                    (Some(upstream), _) => (upstream == name, extract),
                    (None, route) => (route.is_none(), extract),
                },
            };
            let hit = read_by(extract).into_iter().filter(|(what, read)| {
                // A token still tells transactions apart.
                is_meant && hits(&own, read) && !(*what == "key" && self.with == With::Token)
            });
            taken.extend(hit.map(|(what, _)| what));
        }
        taken.dedup();
        taken
    }
}

/// Returns what the mapping reads, from the root of the document.
fn read_by(extract: &Extract) -> Vec<(&str, Steps)> {
    let mut read = Vec::new();
    for (what, field) in extract.money_fields() {
        let Field::Read { from, path, .. } = field else { continue };
        let paths = extract.above(*from).into_iter().chain([path]);
        read.push((what, paths.flat_map(|path| steps(path.as_str())).collect()));
    }
    read
}

/// Returns whether a rule's path selects what is read, or something that holds it.
fn hits(rule: &[(Step, bool)], read: &[(Step, bool)]) -> bool {
    let Some(((step, descends), rest)) = rule.split_first() else { return true };
    let depths = if *descends { read.len() } else { read.len().min(1) };
    (0..depths).any(|at| step.takes(&read[at].0) && hits(rest, &read[at + 1..]))
}

impl Step {
    fn takes(&self, read: &Self) -> bool {
        match (self, read) {
            (Self::Any, _) => true,
            (Self::Names(own), Self::Names(read)) => own.iter().any(|name| read.contains(name)),
            (Self::Names(_), Self::Any) => false,
        }
    }
}

fn steps(text: &str) -> Steps {
    path::split(text).into_iter().map(step).collect()
}

/// Reads one segment of a valid path.
fn step(segment: &str) -> (Step, bool) {
    let (descends, segment) = match segment.strip_prefix("..") {
        Some(rest) => (true, rest),
        None => (false, segment.strip_prefix('.').unwrap_or(segment)),
    };
    let Some(inner) = segment.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
        let name = (segment != "*").then(|| Step::Names(vec![segment.to_owned()]));
        return (name.unwrap_or(Step::Any), descends);
    };
    (names(inner).map_or(Step::Any, Step::Names), descends)
}

/// Returns the names of a selector that has only such, in quotes of either kind.
fn names(inner: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = inner.trim();
    loop {
        let quote = rest.chars().next().filter(|c| "'\"".contains(*c))?;
        let mut escaped = false;
        let end = rest[1..].find(|c| {
            let closes = c == quote && !escaped;
            escaped = c == '\\' && !escaped;
            closes
        })? + 1;
        names.push(rest[1..end].replace(&format!("\\{quote}"), &quote.to_string()));
        rest = rest[end + 1..].trim_start();
        if rest.is_empty() {
            return Some(names);
        }
        rest = rest.strip_prefix(',')?.trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_hits_what_it_selects_and_what_lies_below() {
        let read = steps("$.transactions[*].lines[0]['amount']");
        for (rule, expect) in [
            ("$", true),
            ("$.transactions", true),
            ("$.transactions[*].lines[*].amount", true),
            ("$['x','transactions'][?@.kind == 'card']", true),
            ("$..amount", true),
            ("$..lines[*].amount", true),
            ("$..*", true),
            ("$.*", true),
            ("$.transactions[*].lines[*].amount.currency", false),
            ("$.transactions[*].email", false),
            ("$.*.email", false),
            ("$..email", false),
            ("$.amount", false),
            ("$['amount','email']", false),
        ] {
            assert_eq!(hits(&steps(rule), &read), expect, "{rule}");
        }
    }
}
