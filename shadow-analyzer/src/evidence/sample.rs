//! The lines of an exchange side by side: the check of single transactions, field by field. Pure.

use crate::verdict::{FieldDifference, Line};

/// A line of production and the candidate's that the journal pairs with it.
pub(crate) type Pair<'l> = (Option<&'l Line>, Option<&'l Line>);

/// Puts each line beside what the other side made of it. The lines are in the journal's order, in which a line of production is followed
/// by the candidate's that explains it.
pub(crate) fn pairs<'l>(lines: &[&'l Line]) -> Vec<Pair<'l>> {
    let mut rows: Vec<Pair<'l>> = Vec::new();
    for line in lines.iter().copied() {
        if line.source == "shadow"
            && let Some((Some(primary), partner)) = rows.last_mut()
            && partner.is_none()
            && explains(primary, line)
        {
            *partner = Some(line);
            continue;
        }
        rows.push(match &*line.source {
            "both" => (Some(line), Some(line)),
            "shadow" => (None, Some(line)),
            _ => (Some(line), None),
        });
    }
    rows
}

fn explains(primary: &Line, shadow: &Line) -> bool {
    let alone = ["missing", "extra", "not_examined"];
    primary.transaction == shadow.transaction
        && primary.line.checked_add(1) == Some(shadow.line)
        && primary.kind == shadow.kind
        && !primary.kind.as_deref().is_some_and(|kind| alone.contains(&kind))
}

/// Returns a line's fields beside its place in the exchange.
fn fields(line: &Line) -> Vec<(&str, &str)> {
    let mut fields = vec![
        ("line_of_business", &*line.line_of_business),
        ("gl_account", &*line.gl_account),
        ("currency", &*line.currency),
        ("debit", &*line.debit),
        ("credit", &*line.credit),
    ];
    let mapped = [("accounting_date", &line.accounting_date), ("entity", &line.entity)].into_iter();
    fields.extend(mapped.filter_map(|(name, value)| Some((name, value.as_deref()?))));
    fields.extend(line.dimensions.iter().map(|(name, value)| (&**name, &**value)));
    fields
}

/// Returns every field in which a line of one side is not its counterpart's; all fields of a line that has none.
pub(crate) fn differences(lines: &[Line]) -> Vec<FieldDifference> {
    let lines: Vec<&Line> = lines.iter().collect();
    let pairs = pairs(&lines).into_iter();
    pairs.flat_map(|(primary, shadow)| of_pair(primary, shadow)).collect()
}

fn of_pair(primary: Option<&Line>, shadow: Option<&Line>) -> Vec<FieldDifference> {
    let Some(line) = primary.or(shadow) else { return Vec::new() };
    let sides = [primary, shadow].map(|line| line.map(fields).unwrap_or_default());
    let mut names: Vec<&str> = sides.iter().flatten().map(|(name, _)| *name).collect();
    // Both sides have theirs in one order, the optional ones last.
    let mut known = Vec::new();
    names.retain(|name| {
        let is_new = !known.contains(name);
        known.push(*name);
        is_new
    });
    let value = |side: usize, name: &str| {
        let found = sides[side].iter().find(|(field, _)| *field == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let differing = names.into_iter().map(|name| (name, value(0, name), value(1, name)));
    differing
        .filter(|(_, primary, shadow)| primary != shadow)
        .map(|(field, primary, shadow)| FieldDifference {
            transaction: line.transaction,
            transaction_key: line.transaction_key.clone(),
            line: line.line,
            kind: line.kind.clone(),
            field: field.into(),
            primary,
            shadow,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn line(number: i32, source: &str, kind: Option<&str>, gl_account: &str, debit: &str) -> Line {
        Line {
            transaction: 0,
            transaction_key: Some("t-1".into()),
            line: number,
            source: source.into(),
            kind: kind.map(str::to_owned),
            blame: None,
            line_of_business: "rides".into(),
            gl_account: gl_account.into(),
            currency: "USD".into(),
            debit: debit.into(),
            credit: "0.00".into(),
            accounting_date: None,
            entity: None,
            dimensions: BTreeMap::new(),
            change: None,
        }
    }

    fn texts(found: &[FieldDifference]) -> Vec<(i32, &str, Option<&str>, Option<&str>)> {
        found
            .iter()
            .map(|of| (of.line, &*of.field, of.primary.as_deref(), of.shadow.as_deref()))
            .collect()
    }

    #[test]
    fn lines_stand_beside_what_the_journal_pairs_them_with() {
        let moved = Some("reclassified");
        let lines = [
            line(0, "both", None, "cash", "5.00"),
            line(1, "primary", moved, "fares", "5.00"),
            line(2, "shadow", moved, "tips", "5.00"),
            line(3, "primary", moved, "fares", "7.00"),
            line(4, "shadow", moved, "fees", "7.00"),
            line(5, "primary", Some("missing"), "fares", "1.00"),
            line(6, "shadow", Some("extra"), "fares", "2.00"),
        ];
        let all: Vec<&Line> = lines.iter().collect();
        let shown: Vec<_> = pairs(&all)
            .into_iter()
            .map(|(a, b)| (a.map(|line| line.line), b.map(|line| line.line)))
            .collect();
        let expected = [
            (Some(0), Some(0)),
            (Some(1), Some(2)),
            (Some(3), Some(4)),
            (Some(5), None),
            (None, Some(6)),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn each_field_that_differs_is_one_finding_and_a_line_alone_has_all_of_them() {
        let changed = Some("amount_changed");
        let lines = [
            line(0, "primary", changed, "fares", "5.00"),
            line(1, "shadow", changed, "fares", "6.00"),
            line(2, "primary", Some("missing"), "tips", "1.00"),
        ];
        let found = differences(&lines);
        assert_eq!(
            texts(&found),
            [
                (0, "debit", Some("5.00"), Some("6.00")),
                (2, "line_of_business", Some("rides"), None),
                (2, "gl_account", Some("tips"), None),
                (2, "currency", Some("USD"), None),
                (2, "debit", Some("1.00"), None),
                (2, "credit", Some("0.00"), None),
            ]
        );
        assert_eq!(found[0].transaction_key.as_deref(), Some("t-1"));
        assert_eq!(found[0].kind.as_deref(), changed);
    }

    #[test]
    fn a_date_or_a_dimension_that_moved_is_a_field_that_differs() {
        let moved = Some("period_changed");
        let of = |number, source, date: &str| Line {
            accounting_date: Some(date.into()),
            ..line(number, source, moved, "fares", "5.00")
        };
        let found = differences(&[of(0, "primary", "2026-03-31"), of(1, "shadow", "2026-04-01")]);
        let expected = [(0, "accounting_date", Some("2026-03-31"), Some("2026-04-01"))];
        assert_eq!(texts(&found), expected);
        let of = |number, source, country: &str| Line {
            dimensions: [("country".to_owned(), country.to_owned())].into(),
            ..line(number, source, Some("field_changed"), "fares", "5.00")
        };
        let found = differences(&[of(0, "primary", "NL"), of(1, "shadow", "DE")]);
        assert_eq!(texts(&found), [(0, "country", Some("NL"), Some("DE"))]);
    }
}
