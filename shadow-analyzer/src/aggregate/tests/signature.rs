use super::*;

#[test]
fn what_differs_alike_is_one_class_whatever_the_shards() {
    let moved = |id, credit| {
        let lines = vec![
            line(Source::Primary, Some(Kind::Reclassified), "fares", "0", credit),
            line(Source::Shadow, Some(Kind::Reclassified), "tips", "0", credit),
            line(Source::Both, None, "cash", "100", "0"),
        ];
        exchange(id, Outcome::Different, lines)
    };
    let changed = vec![
        line(Source::Primary, Some(Kind::AmountChanged), "fares", "0", "5"),
        line(Source::Shadow, Some(Kind::AmountChanged), "fares", "0", "7"),
    ];
    let unexamined = vec![line(Source::Primary, Some(Kind::NotExamined), "fares", "0", "9")];
    let rows = vec![
        moved("a", "100"),
        moved("b", "50.50"),
        exchange("c", Outcome::Different, changed),
        exchange("d", Outcome::Unverified, unexamined),
    ];
    let together = totals_of(std::slice::from_ref(&rows)).unwrap().signatures;
    let classes: Vec<_> = together
        .iter()
        .map(|of| (&*of.kind, of.place(), &*of.direction, of.exchanges, &*of.money[0].credit))
        .collect();
    assert_eq!(
        classes,
        [
            ("reclassified", "rides / fares".into(), "less credit", 2, "-150.50"),
            ("reclassified", "rides / tips".into(), "more credit", 2, "150.50"),
            ("amount_changed", "rides / fares".into(), "more credit", 1, "2.00"),
        ]
    );
    assert_eq!((&*together[0].example, together[0].sha256.len()), ("a", 64));
    let apart: Vec<Vec<ExchangeRow>> = rows.into_iter().rev().map(|row| vec![row]).collect();
    assert_eq!(totals_of(&apart).unwrap().signatures, together);
}
