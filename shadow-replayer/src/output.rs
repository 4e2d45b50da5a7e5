//! The files that an attempt writes into a local folder: the journal's tables, and the candidate's answers.

use std::io::BufWriter;
use std::path::Path;

use shadow_recorder::ledger::Mapping;
use shadow_recorder::segment::write_frame;

use crate::RunError;
use crate::answer::{self, Answered};
use crate::journal::{ExchangeRow, Writer};
use crate::run::Run;

/// The file of the kept answers.
pub(crate) const ANSWERS: &str = "answers.ndjson.zst";
/// Answers of one frame: 256 of about 2 KiB.
const FRAME_ANSWERS: usize = 256;

/// The files of an attempt.
pub(crate) struct Output {
    journal: Writer,
    answers: BufWriter<std::fs::File>,
    waiting: Vec<answer::Line>,
}

impl Output {
    pub(crate) fn create(folder: &Path, run: &Run, mapping: &Mapping) -> Result<Self, RunError> {
        let header = answer::Header {
            format: answer::FORMAT.into(),
            version: answer::VERSION,
            run_id: run.id.clone(),
            build: run.candidate_build.clone(),
        };
        let dimensions = mapping.dimensions().into_iter().collect();
        let file = std::fs::File::create(folder.join(ANSWERS)).map_err(RunError::Scratch)?;
        Ok(Self {
            journal: Writer::create(folder, run.id.clone(), dimensions)?,
            answers: BufWriter::new(file),
            waiting: vec![answer::Line::Header(header)],
        })
    }

    pub(crate) fn write(
        &mut self,
        row: &ExchangeRow,
        answered: Option<Answered>,
    ) -> Result<(), RunError> {
        self.journal.append(row)?;
        self.waiting.extend(answered.into_iter().flat_map(Answered::into_lines));
        if self.waiting.len() >= FRAME_ANSWERS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), RunError> {
        write_frame(&mut self.answers, &self.waiting).map_err(RunError::Scratch)?;
        self.waiting.clear();
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<(), RunError> {
        self.flush()?;
        self.answers.into_inner().map_err(|error| RunError::Scratch(error.into_error()))?;
        Ok(self.journal.finish()?)
    }
}
