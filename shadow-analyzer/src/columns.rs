//! Reads the tables that a configuration names: CSV with a first line of column names.

/// A row's wanted columns.
pub(crate) struct Row {
    line: u64,
    texts: Vec<String>,
}

impl Row {
    /// Returns a wanted column; nothing where the row ends before it.
    pub(crate) fn text(&self, column: usize) -> &str {
        self.texts.get(column).map_or("", String::as_str)
    }

    /// Says what is wrong, and where.
    pub(crate) fn mistake(&self, what: &str) -> String {
        format!("line {}: {what}", self.line)
    }
}

/// Reads the rows with the columns of these names, in whatever order they stand; others are passed over.
pub(crate) fn rows(bytes: &[u8], columns: &[&str]) -> Result<Vec<Row>, Vec<String>> {
    let places = places(bytes, columns)?;
    if let Some(missing) =
        columns.iter().zip(&places).find_map(|(column, at)| at.is_none().then_some(column))
    {
        return Err(vec![format!("its first line has no column `{missing}`")]);
    }
    read(bytes, &places)
}

/// Reads the rows with the columns of these names as far as they are there, at least one of them.
pub(crate) fn some_of(bytes: &[u8], columns: &[&str]) -> Result<Vec<Row>, Vec<String>> {
    let places = places(bytes, columns)?;
    if places.iter().all(Option::is_none) {
        return Err(vec![format!("its first line has none of the columns {}", columns.join(", "))]);
    }
    read(bytes, &places)
}

fn reader(bytes: &[u8]) -> csv::Reader<&[u8]> {
    // Spreadsheets put a mark before the first name.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(bytes)
}

fn places(bytes: &[u8], columns: &[&str]) -> Result<Vec<Option<usize>>, Vec<String>> {
    let mut reader = reader(bytes);
    let names = reader.headers().map_err(|error| unreadable(&error))?;
    Ok(columns.iter().map(|column| names.iter().position(|name| name == *column)).collect())
}

fn read(bytes: &[u8], places: &[Option<usize>]) -> Result<Vec<Row>, Vec<String>> {
    let mut rows = Vec::new();
    for record in reader(bytes).records() {
        let record = record.map_err(|error| unreadable(&error))?;
        let text = |at: &Option<usize>| at.and_then(|at| record.get(at)).unwrap_or_default();
        rows.push(Row {
            line: record.position().map_or(0, csv::Position::line),
            texts: places.iter().map(|at| text(at).to_owned()).collect(),
        });
    }
    Ok(rows)
}

fn unreadable(error: &csv::Error) -> Vec<String> {
    vec![format!("it is not CSV: {error}")]
}
