//! One JSON document a line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use super::rows::Row;

/// Bytes of one line, which is held in memory.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// Reads every document; the error says why the file as a whole cannot be read.
pub(super) fn read(
    file: &File,
    each: &mut dyn FnMut(Row) -> Result<(), String>,
) -> Result<(), String> {
    let (mut reader, mut line) = (BufReader::with_capacity(1 << 18, file), Vec::new());
    loop {
        line.clear();
        let read = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        match read.map_err(|error| error.to_string())? as u64 {
            0 => return Ok(()),
            LINE_BYTES_MAX if !line.ends_with(b"\n") => {
                return Err(format!(
                    "a line is longer than {LINE_BYTES_MAX} bytes: write one document a line"
                ));
            }
            _ => {}
        }
        if !line.trim_ascii().is_empty() {
            each(row(&line))?;
        }
    }
}

fn row(line: &[u8]) -> Row {
    match std::str::from_utf8(line) {
        Ok(text) => Row::Document(text.to_owned()),
        Err(_) => Row::Broken("it is not UTF-8 text".into()),
    }
}
