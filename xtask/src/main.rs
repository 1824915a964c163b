//! Developer verbs: `cargo xtask up`, `down`, `status`, `seed`, `bench`, `load`, `docs`, `prepare`, `screenshots`, `test`, `tidy`, `usual-way`. One verb a file; its doc line is its help.

mod bench;
mod cargo;
mod checkout;
mod docs;
mod down;
mod identity;
mod load;
mod prepare;
mod screenshots;
mod seed;
mod state;
mod status;
mod tail;
mod test;
mod tidy;
mod up;
mod usual_way;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

/// As in our processes: the reference of a bench has to be built as they are.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Developer verbs of Freshline.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 120)]
enum Verb {
    Up(up::Up),
    Down(down::Down),
    Status(status::Status),
    Seed(seed::Seed),
    Bench(bench::Bench),
    #[command(hide = true)]
    BenchReference(bench::BenchReference),
    Load(load::Load),
    Docs(docs::Docs),
    Prepare(prepare::Prepare),
    Screenshots(screenshots::Screenshots),
    Test(test::Test),
    Tidy(tidy::Tidy),
    UsualWay(usual_way::UsualWay),
}

fn main() -> ExitCode {
    match run(Verb::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match verb {
        Verb::Up(up) => runtime.block_on(up.run()),
        Verb::Down(down) => runtime.block_on(down.run()),
        Verb::Status(status) => runtime.block_on(status.run()),
        Verb::Seed(seed) => runtime.block_on(seed.run()),
        Verb::Bench(bench) => runtime.block_on(bench.run()),
        Verb::BenchReference(reference) => reference.run(),
        Verb::Load(load) => runtime.block_on(load.run()),
        Verb::Docs(docs) => docs.run(),
        Verb::Prepare(prepare) => runtime.block_on(prepare.run()),
        Verb::Screenshots(screenshots) => screenshots.run(),
        Verb::Test(test) => test.run(),
        Verb::Tidy(tidy) => tidy.run(),
        Verb::UsualWay(usual_way) => runtime.block_on(usual_way.run()),
    }
}
