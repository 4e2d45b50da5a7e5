use super::*;

#[test]
fn kinds_are_counted_over_all_exchanges_and_by_what_else_differs() {
    use crate::verdict::{KindCount, Unbalanced};
    use shadow_replayer::journal::FieldChange;
    let changed = |id: &str, kind: Kind, field: Option<&str>| {
        let changed = field.map(|field| FieldChange {
            field: field.into(),
            change: format!("{field}: 'a' → 'b'"),
        });
        let of = |source| EntryRow {
            changed: changed.clone(),
            ..line(source, Some(kind), "fares", "1", "0")
        };
        let row = exchange(id, Outcome::Different, vec![of(Source::Primary), of(Source::Shadow)]);
        ExchangeRow { primary_unbalanced: 1, shadow_unbalanced: 2, newly_unbalanced: 1, ..row }
    };
    let not_examined = line(Source::Primary, Some(Kind::NotExamined), "fares", "7", "0");
    let shards = [
        vec![
            changed("a", Kind::FieldChanged, Some("memo")),
            changed("b", Kind::FieldChanged, Some("memo")),
        ],
        vec![
            changed("c", Kind::FieldChanged, Some("memo")),
            changed("d", Kind::AmountChanged, None),
            exchange("e", Outcome::Unverified, vec![not_examined]),
        ],
    ];
    let totals = totals_of(&shards).unwrap();
    let count = |kind: &str, field: Option<&str>, exchanges, lines| KindCount {
        kind: kind.into(),
        field: field.map(str::to_owned),
        exchanges,
        lines,
    };
    assert_eq!(
        totals.kinds.lines,
        [count("field_changed", Some("memo"), 3, 6), count("amount_changed", None, 1, 2)]
    );
    assert_eq!(totals.kinds.unbalanced, Unbalanced { primary: 4, shadow: 8, newly: 4 });
    let shown = totals.largest.iter().find(|exchange| exchange.exchange_id == "a").unwrap();
    assert_eq!(shown.lines[0].change.as_deref(), Some("memo: 'a' → 'b'"));
}
