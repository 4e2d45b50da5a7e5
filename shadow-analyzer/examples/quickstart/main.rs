//! The main job from end to end on this machine: record → replay → certify → report. No server, no account.
//!
//! A small service that books money (`service.rs`) runs with its upstreams behind the recorder and serves a few thousand events
//! (`traffic.rs`). Then five release candidates of it are certified one after the other. Every role is a process of its own: the
//! example starts itself again, and the roles `recorder` and `certify` use the entry points of the binaries.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use service::Upstreams;

mod http;
mod play;
mod service;
mod traffic;

#[tokio::main]
async fn main() -> ExitCode {
    match role(&std::env::args().skip(1).collect::<Vec<_>>()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("quickstart: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Plays the role that the arguments name; without arguments, the whole.
async fn role(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => {
            play::whole(&PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../target/quickstart"
            )))
            .await?;
        }
        ["--folder", folder] => play::whole(&PathBuf::from(folder)).await?,
        ["service", listen, build, fx, tax, loyalty] => {
            service::run(listen.parse()?, build, upstreams(fx, tax, loyalty)?).await?;
        }
        ["upstreams", fx, tax, loyalty] => {
            service::run_upstreams(upstreams(fx, tax, loyalty)?).await?;
        }
        ["traffic", to] => traffic::send(to.parse()?).await?,
        ["recorder", config] => recorder(config).await?,
        ["analyzer", ..] => {
            return Ok(shadow_analyzer::cli::main(std::env::args_os().skip(1)).await);
        }
        _ => bail!("usage: quickstart [--folder FOLDER]"),
    }
    Ok(ExitCode::SUCCESS)
}

fn upstreams(fx: &str, tax: &str, loyalty: &str) -> anyhow::Result<Upstreams> {
    let address = |text: &str| {
        text.parse::<SocketAddr>().with_context(|| format!("`{text}` is not an address"))
    };
    Ok(Upstreams { fx: address(fx)?, tax: address(tax)?, loyalty: address(loyalty)? })
}

/// What `shadow-recorder --config FILE` does.
async fn recorder(config: &str) -> anyhow::Result<()> {
    let config = shadow_recorder::Config::load(
        config.as_ref(),
        shadow_recorder::config::process_environment,
    )?;
    let shutdown = shadow_recorder::stop_on_signal()?;
    let summary = shadow_recorder::Recorder::bind(config).await?.run(shutdown).await?;
    anyhow::ensure!(
        summary.is_clean(),
        "the recorder left {} segments in its spool",
        summary.segments_left
    );
    Ok(())
}
