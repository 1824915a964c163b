//! `freshline`, the control command: looks at a running Freshline, explains it, and finds what is wrong with its surroundings.
//!
//! It reads, and changes nothing but the table of dead letters. One command a file.

use std::{io::Write, process::ExitCode};

use clap::{CommandFactory, Parser};
use freshline::{
    config::Environment,
    fault::Classified,
    service::{self, ServiceFailed},
    telemetry::chain,
};

mod broker;
mod config;
mod dead_letters;
mod doctor;
mod explain;
mod options;
mod paint;
mod servers;
mod status;
mod watch;

use options::{Command, Options};
use servers::{Servers, Trouble};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// It was looked at, and something is not as it should be.
const FINDINGS: u8 = 1;
/// It could not be looked at: a setting, a server that is away. clap ends with the same.
const UNSEEN: u8 = 2;

fn main() -> ExitCode {
    let options = Options::parse();
    match options.command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell.generator(), &mut Options::command(), "freshline", &mut script);
            ended(std::io::stdout().write_all(&script).map(|()| 0).map_err(Trouble::Output))
        }
        Command::Settings { form } => {
            print!("{}", freshline::config::listing(&config::settings(), Some(form.as_str())));
            ExitCode::SUCCESS
        }
        command => match config::load(&Environment) {
            Ok(config) => ended(start(command, config)),
            Err(faults) => {
                eprintln!("{faults}");
                ExitCode::from(UNSEEN)
            }
        },
    }
}

fn start(command: Command, config: config::Config) -> Result<u8, Trouble> {
    service::choose_tls()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(ServiceFailed::Runtime)?;
    runtime.block_on(run(command, Servers::new(config)?))
}

async fn run(command: Command, servers: Servers) -> Result<u8, Trouble> {
    match command {
        Command::Status(options) => status::run(&servers, &options).await,
        Command::Doctor(options) => doctor::run(&servers, &options).await,
        Command::Explain(options) => explain::run(&servers, &options).await,
        Command::Watch(options) => watch::run(&servers, &options).await,
        Command::DeadLetters(options) => dead_letters::run(&servers, &options).await,
        Command::Completions { .. } | Command::Settings { .. } => Ok(0), // carried out before anything is read
    }
}

/// Tells how it ended. Whoever reads our output may have read enough.
fn ended(outcome: Result<u8, Trouble>) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(Trouble::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("{}", chain(&trouble));
            if let Some(remedy) = trouble.remedy() {
                eprintln!("remedy: {remedy}");
            }
            ExitCode::from(UNSEEN)
        }
    }
}
