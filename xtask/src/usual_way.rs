//! `usual-way`: the comparison of the usual way with Freshline, on the terminal. The demonstration runs it; this asks for it, and shows
//! what comes of it.

mod shown;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::Response;
use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::checkout::Where;
use crate::state::State;
use shown::Shown;

/// How long the demonstration may be silent: a stale value lasts for the TTL, a minute at most, and is read meanwhile.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Change a product while two ways read it, DEL + SET and Freshline, and show which reads were stale; beside a running `up`
#[derive(Debug, Clone, clap::Args)]
pub struct UsualWay {
    /// The product. [default: the oldest]
    #[arg(long, value_name = "UUID")]
    id: Option<uuid::Uuid>,
    /// How often it is changed
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=500))]
    rounds: u32,
    /// How long each commit is held between the log and its visibility; 0: as long as that takes by itself
    #[arg(long, value_name = "MS", default_value_t = 1_500, value_parser = clap::value_parser!(u32).range(0..=3_000))]
    hold_ms: u32,
    /// Reads a second, in each of the two ways
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=200))]
    reads_per_s: u32,
    /// How long the usual way keeps a value
    #[arg(long, value_name = "MS", default_value_t = 8_000, value_parser = clap::value_parser!(u32).range(100..=60_000))]
    ttl_ms: u32,
    #[command(flatten)]
    place: Where,
}

impl UsualWay {
    /// Runs it to its end. Ends with 1 where Freshline served something stale, although it had as long as a held commit to hear of it.
    pub async fn run(self) -> Result<ExitCode> {
        let place = self.place.place()?;
        let state = if place.is_up()? { State::read(&place)? } else { None };
        let state = state.context("nothing is up: `cargo xtask up` starts everything")?;
        let id = match self.id {
            Some(id) => id.to_string(),
            None => oldest_product(&state).await?,
        };
        let answer = self.ask(demo(&state)?, &id).await?;
        println!("Product {id}: {} changes, each {}", self.rounds, self.kind());
        println!("{} reads a second in each way; the usual way keeps a value for {} ms.", self.reads_per_s, self.ttl_ms);
        let shown = told(answer).await?;
        print!("{}", shown.table()?);
        Ok(if self.hold_ms > 0 && shown.is_freshline_stale() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn kind(&self) -> String {
        match self.hold_ms {
            0 => "as visible as fast as Postgres makes it.".to_owned(),
            hold => format!("held for {hold} ms between the log and its visibility."),
        }
    }

    async fn ask(&self, demo: SocketAddr, id: &str) -> Result<Response> {
        let Self { rounds, hold_ms, reads_per_s, ttl_ms, .. } = self;
        let order = json!({"id": id, "rounds": rounds, "hold_ms": hold_ms, "reads_per_s": reads_per_s, "ttl_ms": ttl_ms});
        let client = reqwest::Client::builder().no_proxy().read_timeout(SILENCE_MAX).build()?;
        let answer = client.post(format!("http://{demo}/usual")).json(&order).send().await.context("asking the demonstration")?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        bail!("the demonstration refuses: {}", answer.text().await?)
    }
}

fn demo(state: &State) -> Result<SocketAddr> {
    let demo = state.processes.iter().find(|member| member.name == "demo").and_then(|member| member.address);
    demo.context("no demonstration runs here: start `cargo xtask up` without --no-demo, on servers of its own")
}

async fn oldest_product(state: &State) -> Result<String> {
    let url = &state.postgres.as_ref().context("it has only just begun: try again in a moment")?.superuser;
    let mut connection = PgConnection::connect(url).await.context("asking for a product")?;
    let id = sqlx::query_scalar("select id::text from products order by id limit 1").fetch_optional(&mut connection).await?;
    connection.close().await?;
    id.context("there is no product: `cargo xtask seed` makes some")
}

/// Shows each line as it comes.
async fn told(mut answer: Response) -> Result<Shown> {
    let (mut shown, mut rest) = (Shown::default(), Vec::new());
    while let Some(chunk) = answer.chunk().await.context("the demonstration broke off")? {
        rest.extend_from_slice(&chunk);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            if let Some(said) = shown.take(serde_json::from_slice(&line)?)? {
                println!("{said}");
            }
        }
    }
    Ok(shown)
}
