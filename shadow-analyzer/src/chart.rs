//! `[certify] chart`: the lines of business and GL accounts that there are.
//!
//! ```text
//! line_of_business,gl_account,name        one of the two is enough; other columns are ignored
//! rides,4000,Revenue                      this account of this line of business
//! ,2200,Tax payable                       this account of every line of business: an empty field is any
//! ```
//!
//! What the candidate books outside of it, where production booked nothing, refuses the build, whatever it amounts to: nobody has
//! opened that account. Where production books outside of it too, the chart is behind the books: that is shown and judged as any cell.

use std::collections::BTreeSet;

use shadow_recorder::digest::sha256;

use crate::columns;

/// The known lines of business and accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chart {
    /// Of the file.
    pub sha256: String,
    /// An empty text is any.
    known: BTreeSet<[String; 2]>,
}

impl Chart {
    /// Reads a file; the error has every mistake with its line.
    pub fn parse(bytes: &[u8]) -> Result<Self, Vec<String>> {
        let mut known = BTreeSet::new();
        let mut mistakes = Vec::new();
        for row in columns::some_of(bytes, &["line_of_business", "gl_account"])? {
            let pair = [0, 1].map(|column| row.text(column).to_owned());
            if pair.iter().all(String::is_empty) {
                mistakes.push(row.mistake("names neither a line of business nor an account"));
            } else {
                known.insert(pair);
            }
        }
        if known.is_empty() && mistakes.is_empty() {
            mistakes.push("names no account".into());
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(Self { sha256: sha256(bytes), known })
    }

    /// Returns whether an account of a line of business is known.
    pub fn knows(&self, line_of_business: &str, gl_account: &str) -> bool {
        let any = "";
        [[line_of_business, gl_account], [line_of_business, any], [any, gl_account]]
            .into_iter()
            .any(|pair| self.known.contains(&pair.map(str::to_owned)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_known_of_its_line_of_business_or_of_all() {
        let chart = Chart::parse(
            b"\xef\xbb\xbfgl_account,name,line_of_business\n4000,\"Revenue, net\",rides\n2200,Tax,\n,All,eats\n",
        )
        .unwrap();
        for (line, account, known) in [
            ("rides", "4000", true),
            ("rides", "4001", false),
            ("freight", "4000", false),
            ("freight", "2200", true),
            ("eats", "anything", true),
        ] {
            assert_eq!(chart.knows(line, account), known, "{line} {account}");
        }
        assert!(Chart::parse(b"gl_account\n4000\n").unwrap().knows("rides", "4000"));
        assert!(Chart::parse(b"line_of_business\nrides\n").unwrap().knows("rides", "4000"));
    }

    #[test]
    fn a_chart_without_accounts_is_a_mistake() {
        assert_eq!(
            Chart::parse(b"account\n4000\n").unwrap_err(),
            ["its first line has none of the columns line_of_business, gl_account"]
        );
        assert_eq!(Chart::parse(b"gl_account\n").unwrap_err(), ["names no account"]);
        let text = b"line_of_business,gl_account,name\nrides,4000,x\n,,y\n";
        let mistake = "line 3: names neither a line of business nor an account";
        assert_eq!(Chart::parse(text).unwrap_err(), [mistake]);
    }
}
