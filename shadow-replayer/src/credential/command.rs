//! A command that prints a credential.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Issued;
use crate::secret::Secret;

/// Bytes read of what it prints.
const PRINTED_BYTES_MAX: u64 = 64 * 1024;

/// A program with its arguments.
#[derive(Clone, Debug)]
pub struct Command {
    /// The program: a path, or a name that is looked up.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl Command {
    /// Runs it with the principal on standard input; what it prints, without the white space around it, is the credential. What it
    /// says on standard error is the replayer's own.
    pub(super) async fn fetch(&self, principal: &str) -> Result<Issued, String> {
        let program = self.program.display();
        let failed = |error: std::io::Error| format!("{program} cannot be run: {error}");
        let mut child = tokio::process::Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        if let Some(mut input) = child.stdin.take() {
            // A command that does not read it needs no principal.
            let _ = input.write_all(format!("{principal}\n").as_bytes()).await;
        }
        let mut printed = String::new();
        if let Some(output) = child.stdout.take() {
            let mut output = output.take(PRINTED_BYTES_MAX);
            output.read_to_string(&mut printed).await.map_err(failed)?;
        }
        let status = child.wait().await.map_err(failed)?;
        let credential = printed.trim();
        if !status.success() || credential.is_empty() {
            return Err(format!(
                "{program} ended with {status} and printed {} bytes",
                printed.len()
            ));
        }
        Ok(Issued { credential: Secret::new(credential.to_owned()), lifetime: None })
    }
}
