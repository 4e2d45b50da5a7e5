//! Restores the candidate's store, so that an attempt begins where every attempt begins.

use std::process::Stdio;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use crate::config::state::{Hook, Reset};
use crate::plain;
use crate::run::RunId;

impl Reset {
    /// Restores the store before an attempt at a shard; the error says why that is not certain.
    pub(crate) async fn restore(&self, run: &RunId, shard: u32) -> Result<(), String> {
        let restoring = async {
            match &self.hook {
                Hook::Command(program, arguments) => {
                    let mut command = tokio::process::Command::new(program);
                    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
                    command.env("SHADOW_RUN_ID", run.as_str());
                    command.env("SHADOW_SHARD", shard.to_string()).kill_on_drop(true);
                    let what = program.display();
                    match command.status().await {
                        Ok(status) if status.success() => Ok(()),
                        Ok(status) => Err(format!("{what} ended with {status}")),
                        Err(error) => Err(format!("{what} cannot be run: {error}")),
                    }
                }
                Hook::Post(origin, path, allow) => {
                    let request = Request::post(path)
                        .header("host", origin.authority.as_str())
                        .body(Full::new(Bytes::new()))
                        .map_err(|error| error.to_string())?;
                    match plain::ask(origin, allow, request).await {
                        Ok((status, _)) if status.is_success() => Ok(()),
                        Ok((status, _)) => Err(format!("{origin}{path} answered with {status}")),
                        Err(why) => Err(format!("{origin}{path}: {why}")),
                    }
                }
            }
        };
        let timeout = self.timeout;
        tokio::time::timeout(timeout, restoring)
            .await
            .unwrap_or_else(|_| Err(format!("it took longer than {timeout:?}")))
    }
}
