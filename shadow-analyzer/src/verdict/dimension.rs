//! The names of dimensions and of their cells.

use std::collections::BTreeSet;
use std::sync::Mutex;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The value of the lines that have none in a dimension in which others have one.
pub const NO_VALUE: &str = "(none)";

/// Every name that a mapping ever gave a dimension: a handful, kept for the life of the program, so that a name is as light as a number.
static MAPPED: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// Names a cell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CellName {
    /// The dimension.
    pub dimension: DimensionName,
    /// Its values in the dimension: the line of business and the GL account in this order where it is of both, else one.
    pub value: Vec<String>,
}

/// A dimension of the judgement: a column of the journal's table `entry`, or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DimensionName {
    /// Lines of business.
    LineOfBusiness,
    /// General-ledger accounts.
    GlAccount,
    /// Each GL account of each line of business.
    LineOfBusinessGlAccount,
    /// The months or days of the accounting dates, where the mapping reads them.
    AccountingPeriod,
    /// Legal entities, where the mapping reads them.
    Entity,
    /// What else the mapping names, such as a country; made by [`DimensionName::named`].
    Mapped(&'static str),
}

impl DimensionName {
    /// Those that every journal has, in the order of a report. The others follow them.
    pub const STANDARD: [Self; 3] =
        [Self::LineOfBusiness, Self::GlAccount, Self::LineOfBusinessGlAccount];

    /// Returns the dimension of a word; the error says how a name is written.
    pub fn named(word: &str) -> Result<Self, String> {
        let fixed = [Self::AccountingPeriod, Self::Entity];
        let known = Self::STANDARD.into_iter().chain(fixed).find(|name| name.word() == word);
        if let Some(name) = known {
            return Ok(name);
        }
        let follows = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !word.starts_with(|c: char| c.is_ascii_lowercase()) || !word.chars().all(follows) {
            return Err(format!(
                "`{word}` is not the name of a dimension: write small letters, digits and _, for example country"
            ));
        }
        let mut mapped = MAPPED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let kept = mapped.get(word).copied();
        Ok(Self::Mapped(kept.unwrap_or_else(|| {
            let word: &'static str = String::leak(word.to_owned());
            mapped.insert(word);
            word
        })))
    }

    /// Returns whether every journal has it.
    pub fn is_standard(self) -> bool {
        Self::STANDARD.contains(&self)
    }

    /// Returns the word in documents and configurations.
    pub fn word(self) -> &'static str {
        match self {
            Self::LineOfBusiness => "line_of_business",
            Self::GlAccount => "gl_account",
            Self::LineOfBusinessGlAccount => "line_of_business_gl_account",
            Self::AccountingPeriod => "accounting_period",
            Self::Entity => "entity",
            Self::Mapped(word) => word,
        }
    }

    /// Returns the name for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::LineOfBusiness => "line of business",
            Self::GlAccount => "GL account",
            Self::LineOfBusinessGlAccount => "line of business × GL account",
            Self::AccountingPeriod => "accounting period",
            Self::Entity => "legal entity",
            Self::Mapped(word) => word,
        }
    }

    /// Returns the column of the journal's table `entry` of a dimension that not every journal has.
    pub fn column(self) -> &'static str {
        if self == Self::AccountingPeriod { "accounting_date" } else { self.word() }
    }
}

impl Serialize for DimensionName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl<'de> Deserialize<'de> for DimensionName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::named(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_word_everywhere() {
        for word in ["gl_account", "line_of_business_gl_account", "accounting_period", "country"] {
            let name = DimensionName::named(word).unwrap();
            let json = serde_json::to_string(&name).unwrap();
            assert_eq!(json, format!("\"{word}\""));
            assert_eq!(serde_json::from_str::<DimensionName>(&json).unwrap(), name);
        }
        assert_eq!(DimensionName::named("entity").unwrap(), DimensionName::Entity);
        for word in ["", "Country", "1st", "a b", "_x", "land-des-kunden"] {
            assert!(DimensionName::named(word).is_err(), "{word}");
        }
    }

    #[test]
    fn the_standard_ones_come_first() {
        let country = DimensionName::named("country").unwrap();
        let mut names = vec![country, DimensionName::Entity];
        names.extend(DimensionName::STANDARD);
        names.sort();
        assert_eq!(names[..3], DimensionName::STANDARD);
        assert_eq!(names[4], country);
    }
}
