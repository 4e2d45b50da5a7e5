//! Which columns of a flat file the mapping names. Pure.

use std::collections::BTreeSet;

use shadow_recorder::ledger::{AmountField, Extract, Field, Money, Path};

use crate::config::supplied::Supplied;

/// The columns that are read; none are named where a path is more than a name, and then all are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns(Option<BTreeSet<String>>);

impl Columns {
    /// Returns the columns; the error says why the mapping cannot read rows.
    pub(super) fn of(supplied: &Supplied) -> Result<Self, String> {
        if !is_flat(&supplied.extract) {
            return Err(
                "a row of CSV or Parquet is one entry, so that its mapping in [supplied] needs `transactions = \"$\"` and `entries = \"$\"`"
                    .into(),
            );
        }
        let names = [Some(&supplied.event_id), supplied.occurred_at.as_ref()];
        let fields = fields(&supplied.extract);
        let of_fields = fields.into_iter().filter_map(|field| match field {
            Field::Read { path, .. } => Some(path),
            Field::Constant(_) => None,
        });
        let paths = names.into_iter().flatten().chain(of_fields);
        Ok(Self(paths.map(|path| name(path).map(str::to_owned)).collect()))
    }

    /// Returns where these columns are among a file's; the error says which are not there.
    pub(super) fn places(&self, names: &[String]) -> Result<Vec<usize>, String> {
        if let Some(twice) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name))
        {
            return Err(format!("it has two columns `{}`: rename one", twice.1));
        }
        let Some(wanted) = &self.0 else { return Ok((0..names.len()).collect()) };
        let absent: Vec<String> = wanted
            .iter()
            .filter(|name| !names.contains(name))
            .map(|name| format!("`{name}`"))
            .collect();
        if absent.is_empty() {
            let is_wanted = |at: &usize| wanted.contains(&names[*at]);
            return Ok((0..names.len()).filter(is_wanted).collect());
        }
        Err(format!(
            "it has no column {}, which [supplied] names; its columns are {}",
            absent.join(", "),
            names.join(", ")
        ))
    }
}

/// Returns whether a document is one entry.
pub(super) fn is_flat(extract: &Extract) -> bool {
    extract.transactions.parts().is_empty() && extract.entries.parts().is_empty()
}

fn fields(extract: &Extract) -> Vec<&Field> {
    let mut fields = vec![&extract.line_of_business, &extract.gl_account, &extract.currency];
    fields.extend([&extract.key, &extract.accounting_date, &extract.entity].into_iter().flatten());
    fields.extend(extract.dimensions.values().chain(extract.fields.values()));
    let amounts: Vec<&AmountField> = match &extract.money {
        Money::Apart { debit, credit } => vec![debit, credit],
        Money::Signed { amount, .. } => vec![amount],
        Money::Sided { amount, side, .. } => {
            fields.push(side);
            vec![amount]
        }
    };
    for amount in amounts {
        match amount {
            AmountField::Decimal { field, .. } => fields.push(field),
            AmountField::Mantissa { mantissa, places } => fields.extend([mantissa, places]),
        }
    }
    fields
}

/// Returns the column that a path such as `$.lob` or `$['GL account']` names.
fn name(path: &Path) -> Option<&str> {
    let parts = path.parts();
    let [part] = parts[..] else { return None };
    let text = path.as_str();
    let part = &text[text.len() - part.len()..];
    if let Some(name) = part.strip_prefix('.') {
        return Some(name);
    }
    let inner = part.strip_prefix('[')?.strip_suffix(']')?.trim();
    let quoted = |sign| inner.strip_prefix(sign).and_then(|rest| rest.strip_suffix(sign));
    quoted('\'').or_else(|| quoted('"')).filter(|name| !name.contains('\\'))
}
