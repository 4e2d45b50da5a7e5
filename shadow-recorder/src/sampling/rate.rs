//! A configured share of exchanges, exact: an integer over 2⁵³.

use crate::exchange::PI_ONE;

/// Decimals of a rate: finer than one in a hundred trillion is no rate.
const DECIMALS_MAX: usize = 15;

/// The rate, 0 < π ≤ 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    pi: u64,
    /// As configured.
    text: String,
}

impl Rate {
    /// Reads a decimal between 0 and 1; the error says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{text}` is not a rate: write a decimal above 0 and up to 1, such as \"0.25\"")
        };
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !matches!(whole, "0" | "1") || !digits(decimals) || decimals.len() > DECIMALS_MAX {
            return Err(wrong());
        }
        let scale = 10_u128.pow(u32::try_from(decimals.len()).map_err(|_| wrong())?);
        let parse = |part: &str| part.parse::<u128>().map_err(|_| wrong());
        let units = parse(whole)? * scale + parse(decimals)?;
        let pi = u64::try_from(units * u128::from(PI_ONE) / scale).map_err(|_| wrong())?;
        if pi == 0 || pi > PI_ONE || units > scale {
            return Err(wrong());
        }
        Ok(Self { pi, text: text.into() })
    }

    /// Everything.
    pub fn one() -> Self {
        Self { pi: PI_ONE, text: "1".into() }
    }

    /// Returns whether everything is recorded.
    pub fn is_one(&self) -> bool {
        self.pi == PI_ONE
    }

    /// Returns the rate as an integer over 2⁵³.
    pub fn pi(&self) -> u64 {
        self.pi
    }

    /// Returns the rate as it was configured.
    pub fn text(&self) -> &str {
        &self.text
    }
}
