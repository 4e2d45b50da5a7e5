//! Holds the parser to an implementation of its own, Python's `decimal`, over random and adversarial texts.

use std::io::{BufWriter, Write};
use std::process::{Command, Stdio};

use iso_currency::Currency;

use super::*;

/// Cases that are judged: a million where programs are optimised, and what is bearable elsewhere.
const CASES: u64 = if cfg!(debug_assertions) { 60_000 } else { 1_200_000 };
/// Decides every case.
const SEED: u64 = 0x5ad0_1edc_e271_f1ed;

/// `SplitMix64`: a stream of numbers that its seed decides.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a bound.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        let count = u64::try_from(choices.len()).unwrap();
        choices[usize::try_from(self.below(count)).unwrap()]
    }

    /// So many digits, often of the kind that carries or ends.
    fn digits(&mut self, count: u64) -> String {
        let alphabet: &[&str] = match self.below(4) {
            0 => &["0", "9"],
            1 => &["0", "0", "0", "1", "5"],
            _ => &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
        };
        (0..count).map(|_| self.of(alphabet)).collect()
    }

    /// An integer as JSON writes it, mostly.
    fn whole(&mut self) -> String {
        let count = match self.below(8) {
            0 => 1,
            1 => 17 + self.below(4),
            2 => self.below(60),
            _ => 1 + self.below(12),
        };
        let digits = self.digits(count);
        match self.below(20) {
            0 => digits,
            _ => match digits.trim_start_matches('0') {
                "" => "0".into(),
                digits => digits.into(),
            },
        }
    }

    fn fraction(&mut self) -> String {
        let count = match self.below(6) {
            0 => return String::new(),
            1 => 8 + self.below(4),
            2 => self.below(40),
            _ => 1 + self.below(4),
        };
        let zeros = self.of(&["", "", "0", "000000", "00000000000000"]);
        format!(".{}{zeros}", self.digits(count))
    }

    fn exponent(&mut self) -> String {
        let letter = self.of(&["e", "E"]);
        let sign = self.of(&["", "+", "-", "-"]);
        let size = match self.below(12) {
            0 => self.digits(20),
            1 => self.digits(400),
            2 => self.below(2_000_002).to_string(),
            3 => format!("00{}", self.below(12)),
            _ => self.below(32).to_string(),
        };
        format!("{letter}{sign}{size}")
    }

    fn number(&mut self) -> String {
        let sign = self.of(&["", "", "-"]);
        let text = format!("{sign}{}{}", self.whole(), self.fraction());
        if self.below(3) == 0 { text + &self.exponent() } else { text }
    }

    /// A number around the limits: 18 integer digits and 9 decimals.
    fn limit(&mut self) -> String {
        let sign = self.of(&["", "-"]);
        let whole = self.of(&[
            "999999999999999999",
            "1000000000000000000",
            "99999999999999999",
            "123456789012345678",
            "0",
        ]);
        let fraction = self.of(&[
            "",
            ".999999999",
            ".9999999999",
            ".000000001",
            ".0000000001",
            ".0000000010000",
        ]);
        let exponent =
            self.of(&["", "", "e0", "e-1", "E+1", "e-9", "e-27", "e-28", "E1", "e17", "e18"]);
        format!("{sign}{whole}{fraction}{exponent}")
    }

    /// A number with a slip of the pen.
    fn slip(&mut self) -> String {
        let mut characters: Vec<char> = self.number().chars().take(60).collect();
        for _ in 0..=self.below(2) {
            let at = usize::try_from(self.below(61)).unwrap().min(characters.len());
            let slips = [
                "", "0", "-", "+", ".", "e", "E", ",", "_", " ", "N", "x", "٣", "∞", "'", "1e",
                "--",
            ];
            let slip = self.of(&slips);
            let end = (at + usize::from(self.below(2) == 0)).min(characters.len());
            characters.splice(at..end, slip.chars());
        }
        characters.into_iter().collect()
    }

    fn text(&mut self) -> String {
        match self.below(8) {
            0 => self.limit(),
            1 => self.slip(),
            2 => self
                .of(&[
                    "", "NaN", "Infinity", "-", "0", "-0", "-0.00", "0e5", "1e", "null", "1.",
                    ".5", "00", "0x1",
                ])
                .into(),
            _ => self.number(),
        }
    }

    /// An amount that is there.
    fn amount(&mut self) -> (String, Amount) {
        loop {
            let text = self.text();
            if let Ok(amount) = text.parse() {
                return (text, amount);
            }
        }
    }
}

fn result(amount: &Result<Amount, AmountError>) -> String {
    match amount {
        Ok(amount) => amount.to_string(),
        Err(AmountError::Grammar(_)) => "grammar".into(),
        Err(AmountError::TooLarge(_)) => "large".into(),
        Err(AmountError::TooFine(_)) => "fine".into(),
    }
}

const CURRENCIES: [&str; 20] = [
    "JPY", "KRW", "CLP", "ISK", "UGX", "VND", "USD", "EUR", "GBP", "INR", "HUF", "MXN", "KWD",
    "BHD", "TND", "JOD", "OMR", "IQD", "CLF", "UYW",
];

fn case(random: &mut Random) -> String {
    match random.below(8) {
        0 => {
            let (mantissa, places) = (random.text(), u32::try_from(random.below(40)).unwrap());
            let read = result(&Amount::from_mantissa(&mantissa, places));
            format!("M\t{mantissa}\t{places}\t{read}")
        }
        1 => {
            let (currency, text) = (random.of(&CURRENCIES), random.text());
            let places = Currency::from_code(currency).and_then(Currency::exponent).unwrap();
            let read = result(&Amount::from_mantissa(&text, places.into()));
            format!("C\t{currency}\t{text}\t{read}")
        }
        2 => {
            let ((a, left), (b, right)) = (random.amount(), random.amount());
            let sum = format_units(left.units() + right.units());
            let difference = format_units(left.units() - right.units());
            format!("S\t{a}\t{b}\t{sum}\t{difference}")
        }
        _ => {
            let text = random.text();
            let read = result(&text.parse());
            format!("N\t{text}\t{read}")
        }
    }
}

#[test]
fn every_amount_is_read_as_an_independent_implementation_reads_it() {
    eprintln!("{CASES} cases of seed {SEED:#x}");
    let mut python = Command::new("python3")
        .args(["-c", include_str!("oracle.py")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs python3: apt-get install python3");
    let mut cases = BufWriter::new(python.stdin.take().unwrap());
    let mut random = Random(SEED);
    for _ in 0..CASES {
        writeln!(cases, "{}", case(&mut random)).unwrap();
    }
    // The end of the cases ends the program.
    drop(cases);
    let output = python.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.trim_end(), format!("{CASES} cases, 0 disagree"));
}
