//! The machine: its two cores, its programs, and how they are named in the report.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Where the benchmark runs.
#[derive(Debug)]
pub(crate) struct Machine {
    /// The proxy's core.
    pub(crate) proxy_core: usize,
    /// The core of the origin and of the load.
    pub(crate) load_core: usize,
    /// Envoy's executable.
    pub(crate) envoy: Option<PathBuf>,
}

impl Machine {
    /// Looks at the machine; complains about what is missing.
    pub(crate) fn look() -> Result<Self> {
        let cores = allowed_cores()?;
        let [load_core, .., proxy_core] = cores[..] else {
            bail!("the benchmark needs two cores: one for the proxy, one for origin and load");
        };
        for (program, package) in
            [("nginx", "nginx-light"), ("wrk", "wrk"), ("setpriv", "util-linux")]
        {
            if version(program, &["-v"]).is_none() {
                bail!("{program} is missing (Debian package {package}): benches/run installs it");
            }
        }
        Ok(Self { proxy_core, load_core, envoy: envoy() })
    }

    /// Describes the machine and the versions of what is compared.
    pub(crate) fn describe(&self) -> String {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let model =
            cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let envoy =
            self.envoy.as_ref().and_then(|path| version(&path.to_string_lossy(), &["--version"]));
        let load = read("/proc/loadavg");
        let line = |name: &str, text: &str| format!("{name:<8}{}\n", text.trim());
        let cores = cpuinfo.matches("processor\t").count();
        [
            line("CPU", model.map_or("unknown", |(_, model)| model)),
            line(
                "cores",
                &format!(
                    "{cores}; the proxy on {}, origin and load together on {}; load average before: {}",
                    self.proxy_core, self.load_core, load.split(' ').next().unwrap_or_default()
                ),
            ),
            line("kernel", &read("/proc/sys/kernel/osrelease")),
            line("nginx", &version("nginx", &["-v"]).unwrap_or_default()),
            line("Envoy", &envoy.unwrap_or_else(|| "not installed: benches/run installs it".into())),
            line("wrk", &version("wrk", &["-v"]).unwrap_or_default()),
        ]
        .concat()
    }
}

/// Returns an address of the loopback interface on which nothing listens.
pub(crate) fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Returns the cores on which this process may run.
fn allowed_cores() -> Result<Vec<usize>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let ranges = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let mut cores = Vec::new();
    for range in ranges.context("no Cpus_allowed_list")?.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cores.extend(first.parse::<usize>()?..=last.parse()?);
    }
    Ok(cores)
}

/// Finds Envoy where benches/run installs it, or on the path.
fn envoy() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")))?;
    let installed = cache.join("shadow/envoy-venv/bin/envoy");
    [installed, PathBuf::from("envoy")]
        .into_iter()
        .find(|path| version(&path.to_string_lossy(), &["--version"]).is_some())
}

/// Returns the first line by which a program names its version; `None` where it cannot be started.
fn version(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    // nginx answers on the one stream, wrk with a failure.
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let line = line.split(" Copyright").next().unwrap_or_default();
    Some(line.rsplit("version: ").next().unwrap_or_default().to_owned())
}
