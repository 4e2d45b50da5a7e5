//! The exchanges of one bucket in recorded order, merged from what was put aside.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use serde_json::value::RawValue;
use shadow_recorder::segment::Reader;

use super::Line;
use super::spill::{Run, Spilled, Text, next_frame};

/// What is left of a bucket.
#[derive(Debug)]
pub(super) struct Merge {
    file: Arc<File>,
    cursors: Vec<Cursor>,
    /// The next exchange's place of each cursor that has one.
    heads: BinaryHeap<Reverse<(i64, String, u64, usize)>>,
    /// The place of the exchange that was taken last.
    last: Option<(i64, String, u64)>,
    begun: bool,
}

/// What is left of what was put aside at once.
#[derive(Debug)]
struct Cursor {
    rest: Run,
    frame: VecDeque<Text>,
}

impl Merge {
    pub(super) fn of(spilled: &Spilled, bucket: usize) -> Self {
        let cursor = |run: &Run| Cursor { rest: *run, frame: VecDeque::new() };
        Self {
            file: Arc::clone(&spilled.file),
            cursors: spilled.runs[bucket].iter().map(cursor).collect(),
            heads: BinaryHeap::new(),
            last: None,
            begun: false,
        }
    }

    /// Returns the lines of the bucket's next frame; none at its end.
    pub(super) fn next_frame(&mut self) -> io::Result<Vec<Line<Box<RawValue>>>> {
        if !self.begun {
            self.begun = true;
            (0..self.cursors.len()).try_for_each(|cursor| self.enter(cursor))?;
        }
        let mut failed = None;
        let lines = next_frame(&mut std::iter::from_fn(|| {
            self.next().unwrap_or_else(|error| {
                failed = Some(error);
                None
            })
        }));
        failed.map_or(Ok(lines), Err)
    }

    fn next(&mut self) -> io::Result<Option<Text>> {
        while let Some(Reverse((received_us, boot, sequence, cursor))) = self.heads.pop() {
            let taken = self.cursors[cursor].frame.pop_front();
            self.enter(cursor)?;
            let place = (received_us, boot, sequence);
            // The same exchange can lie in two segments after a crash; it is replayed once.
            if self.last.as_ref() != Some(&place) {
                self.last = Some(place);
                return Ok(taken);
            }
        }
        Ok(None)
    }

    /// Enters a cursor's next exchange among the heads, if it has one.
    fn enter(&mut self, number: usize) -> io::Result<()> {
        let cursor = &mut self.cursors[number];
        if cursor.frame.is_empty() && cursor.rest.from < cursor.rest.to {
            cursor.frame = read(&self.file, &mut cursor.rest)?;
        }
        if let Some(next) = cursor.frame.front() {
            let (received_us, boot, sequence) = next.order();
            self.heads.push(Reverse((received_us, boot.to_owned(), sequence, number)));
        }
        Ok(())
    }
}

/// Reads the next frame of what was put aside.
fn read(file: &File, rest: &mut Run) -> io::Result<VecDeque<Text>> {
    let mut length = [0; 4];
    file.read_exact_at(&mut length, rest.from)?;
    let length = u32::from_le_bytes(length);
    let mut frame = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact_at(&mut frame, rest.from + 4)?;
    rest.from += 4 + u64::from(length);
    let mut reader = Reader::<Line<Box<RawValue>>>::new(&frame);
    let exchanges = reader.lines().filter_map(|line| match line {
        Line::Exchange(placed) => Some(placed),
        Line::Header(_) => None,
    });
    let exchanges = exchanges.collect();
    if reader.damage().any() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "what was put aside on the local disk is damaged",
        ));
    }
    Ok(exchanges)
}
