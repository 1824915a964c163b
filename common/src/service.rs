//! The life of a process that serves until it is asked to end: it is told its settings, starts, runs, and drains.

mod ready;

use std::process::ExitCode;

use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{
    config::{Description, Environment, Faults, Life, Options, Vars, listing, tell_unknown},
    fault::{Classified, Kind, in_full},
    shutdown::{NotClean, TaskError, Tasks, drain, requested},
    telemetry::{Logging, TelemetryFault, trace},
};

/// The exit code of a process that was told something it cannot use, and did nothing.
pub const UNUSABLE: u8 = 2;

/// What a service is told from outside.
pub trait Configuration: Sized {
    /// Every setting, in the order of the documentation.
    fn settings() -> Vec<Description>;

    /// Reads them.
    ///
    /// # Errors
    /// Every fault, and not only the first.
    fn load(vars: &dyn Vars) -> Result<Self, Faults>;

    /// What every process needs.
    fn life(&self) -> &Life;

    /// Whether a process that is told this answers `/readyz` over HTTPS, for those who ask it.
    fn is_https(_: &dyn Vars) -> bool {
        false
    }
}

/// Why a process could not begin, or did not end as it should.
#[derive(Debug, thiserror::Error)]
pub enum ServiceFailed {
    /// Two providers of TLS are in the tree, rustls does not choose, and somebody chose before us.
    #[error("a TLS provider was installed before")]
    Tls,
    /// Nothing can be logged.
    #[error(transparent)]
    Telemetry(#[from] TelemetryFault),
    /// There are no threads to run on.
    #[error("its threads cannot be started")]
    Runtime(#[source] std::io::Error),
    /// What it is made of could not be put together.
    #[error(transparent)]
    Start(TaskError),
    /// It ended unasked, or too late.
    #[error(transparent)]
    Ended(#[from] NotClean),
}

impl Classified for ServiceFailed {
    fn kind(&self) -> Kind {
        match self {
            Self::Tls => Kind::Bug,
            Self::Telemetry(fault) => fault.kind(),
            Self::Runtime(_) => Kind::Transient,
            Self::Start(_) => Kind::Permanent,
            Self::Ended(ended) => ended.kind(),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Telemetry(fault) => fault.remedy(),
            Self::Ended(ended) => ended.remedy(),
            Self::Tls | Self::Runtime(_) | Self::Start(_) => None,
        }
    }
}

/// Runs a service from `main` until it is asked to end, and answers for the shell. `name` is that of its program.
///
/// `start` puts it together and starts its tasks, which end when the token is cancelled. `--settings` lists the settings instead, as a
/// table, or as lines of an `.env` file with `env` behind it; any of them but a secret may be an option. `--ready` asks another one, which
/// was told the same settings.
pub fn run<C, E>(name: &'static str, start: impl AsyncFnOnce(C, CancellationToken) -> Result<Tasks, E>) -> ExitCode
where
    C: Configuration,
    E: Into<TaskError>,
{
    let (mut arguments, settings) = (std::env::args().skip(1).peekable(), C::settings());
    match arguments.peek().map(String::as_str) {
        Some("--settings") => {
            print!("{}", listing(&settings, arguments.nth(1).as_deref()));
            return ExitCode::SUCCESS;
        }
        Some("--ready") => return ready::<C>(arguments.skip(1), &settings),
        Some("--help") => {
            println!(
                "Runs {name} until SIGTERM. Settings are variables, or options, which go before them; --settings [env] lists them. \
                 --ready ADDRESS asks one that runs whether it is ready, for health checks of containers; options that the other was \
                 given go behind it."
            );
            return ExitCode::SUCCESS;
        }
        Some(_) | None => {}
    }
    let options = match Options::parse(arguments, &settings) {
        Ok(options) => options,
        Err(fault) => return refused(&fault.to_string()),
    };
    match C::load(&options) {
        Ok(config) => match serve(name, config, start) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failed) => {
                error!("{name} ends: {}", in_full(&failed));
                ExitCode::FAILURE
            }
        },
        Err(faults) => refused(&faults.to_string()),
    }
}

/// Whether the process at this address is ready: for a container that has no shell to ask with.
fn ready<C: Configuration>(mut arguments: impl Iterator<Item = String>, settings: &[Description]) -> ExitCode {
    let Some(address) = arguments.next().and_then(|address| address.parse().ok()) else {
        return refused("--ready wants the address and port of a process, such as 127.0.0.1:8080");
    };
    let is_https = match Options::parse(arguments, settings) {
        Ok(options) => C::is_https(&options),
        Err(fault) => return refused(&fault.to_string()),
    };
    match ready::asked(address, is_https) {
        Ok(status) if status.contains(" 200 ") => ExitCode::SUCCESS,
        Ok(status) => {
            println!("{status}");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("{address} does not answer{}: {error}", if is_https { " over TLS" } else { "" });
            ExitCode::FAILURE
        }
    }
}

fn refused(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(UNUSABLE)
}

fn serve<C, E>(
    name: &'static str,
    config: C,
    start: impl AsyncFnOnce(C, CancellationToken) -> Result<Tasks, E>,
) -> Result<(), ServiceFailed>
where
    C: Configuration,
    E: Into<TaskError>,
{
    prepare(&config.life().logging)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(ServiceFailed::Runtime)?;
    runtime.block_on(async {
        let (stop, grace) = (CancellationToken::new(), config.life().grace);
        let traces = trace::start(config.life().traces.as_ref(), name)?;
        // Heard before anybody can ask us anything, and take the answer for a sign that we hear it.
        let requested = requested();
        let mut tasks = start(config, stop.clone()).await.map_err(|error| ServiceFailed::Start(error.into()))?;
        let ended = tokio::select! {
            () = requested => None,
            Some(ended) = tasks.join_next() => Some(ended), // unasked: a failure, whatever it returned
        };
        stop.cancel();
        let drained = drain(tasks, grace, ended).await;
        traces.end().await;
        Ok(drained?)
    })
}

/// Does what any process of ours does first: chooses ring for TLS, opens the log, and says which variables nobody reads.
///
/// # Errors
/// If either was done before.
pub fn prepare(logging: &Logging) -> Result<(), ServiceFailed> {
    choose_tls()?;
    logging.init()?;
    tell_unknown(&Environment);
    Ok(())
}

/// Chooses ring for TLS: two providers are in the tree, and rustls does not choose.
///
/// # Errors
/// If one was chosen before.
pub fn choose_tls() -> Result<(), ServiceFailed> {
    rustls::crypto::ring::default_provider().install_default().map_err(|_| ServiceFailed::Tls)
}
