//! `dead-letters`: what the sources could not use. The only command that changes anything: the state of a letter, or its being there.

use std::io::Write;

use freshline::dead_letters::{self, Kept, State};
use serde::Serialize;

use crate::{
    FINDINGS,
    options::{DeadLetters as Options, DeadLettersCommand as Command, LetterState, Which},
    paint::{self, Paint},
    servers::{Servers, Trouble},
};

/// How many bytes a line of the dump has.
const DUMP_WIDTH: usize = 16;

/// How much of the bytes is dumped; `--raw` has them all.
const DUMP_LEN_MAX: usize = 512;

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    kept: &'a Kept,
    raw_hex: String,
}

impl From<LetterState> for State {
    fn from(state: LetterState) -> Self {
        match state {
            LetterState::New => Self::New,
            LetterState::Retry => Self::Retry,
            LetterState::Done => Self::Done,
        }
    }
}

/// Carries the command out.
///
/// # Errors
/// Where Postgres is away, or refuses.
pub async fn run(servers: &Servers, options: &Options) -> Result<u8, Trouble> {
    let mut connection = servers.postgres().await?;
    match &options.command {
        Command::List { state, limit, json } => {
            let letters = dead_letters::list(&mut connection, state.map(State::from), *limit).await?;
            let text = if *json { serde_json::to_string_pretty(&letters)? + "\n" } else { listed(&letters) };
            paint::put(&text)?;
            Ok(0)
        }
        Command::Show { id, raw, json } => match dead_letters::show(&mut connection, *id).await? {
            None => Ok(missing(&[*id])),
            Some((_, bytes)) if *raw => {
                std::io::stdout().lock().write_all(&bytes)?;
                Ok(0)
            }
            Some((kept, bytes)) => {
                let text = if *json {
                    serde_json::to_string_pretty(&Shown { kept: &kept, raw_hex: hex(&bytes) })? + "\n"
                } else {
                    one(&kept, &bytes)
                };
                paint::put(&text)?;
                Ok(0)
            }
        },
        Command::Retry(which) => {
            let found = dead_letters::retry(&mut connection, chosen(which)).await?;
            done(which, &found, "to be tried again")
        }
        Command::Drop(which) => {
            let found = dead_letters::forget(&mut connection, chosen(which)).await?;
            done(which, &found, "dropped")
        }
    }
}

fn chosen(which: &Which) -> Option<&[i64]> {
    (!which.all).then_some(which.ids.as_slice())
}

fn done(which: &Which, found: &[i64], what: &str) -> Result<u8, Trouble> {
    paint::put(&format!("{} {what}\n", found.len()))?;
    let lacking: Vec<i64> = which.ids.iter().copied().filter(|id| !found.contains(id)).collect();
    Ok(if lacking.is_empty() { 0 } else { missing(&lacking) })
}

fn missing(ids: &[i64]) -> u8 {
    let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
    eprintln!("there is no dead letter {}: `freshline dead-letters list` shows those there are", ids.join(", "));
    FINDINGS
}

fn listed(letters: &[Kept]) -> String {
    if letters.is_empty() {
        return "none\n".to_owned();
    }
    let mut rows = vec![["id", "at", "state", "met", "source", "place", "reason"].map(str::to_owned).to_vec()];
    rows.extend(letters.iter().map(|letter| {
        let Kept { id, at, state, attempts, source, place, reason, .. } = letter;
        let first_line = reason.lines().next().unwrap_or_default();
        vec![
            id.to_string(),
            at.clone(),
            state.clone(),
            format!("{attempts}×"),
            source.clone(),
            place.clone(),
            first_line.to_owned(),
        ]
    }));
    paint::columns(&rows, "")
}

fn one(letter: &Kept, raw: &[u8]) -> String {
    let Kept { id, at, source, place, subject, table, reason, raw_len, truncated, attempts, state } = letter;
    let dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let size = format!("{raw_len}{}", if *truncated { ", and more that were cut off" } else { "" });
    let facts = [
        ("id", id.to_string()),
        ("at", at.clone()),
        ("source", source.clone()),
        ("place", place.clone()),
        ("subject", dash(subject)),
        ("table", dash(table)),
        ("reason", reason.clone()),
        ("state", state.clone()),
        ("met", format!("{attempts}×")),
        ("bytes", size),
    ];
    let rows: Vec<Vec<String>> = facts.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    paint::columns(&rows, "") + &dump(&raw[..raw.len().min(DUMP_LEN_MAX)], raw.len(), Paint::of_output())
}

/// The bytes in hexadecimal, and what of them can be printed.
fn dump(raw: &[u8], len: usize, paint: Paint) -> String {
    let printed = |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' };
    let line = |bytes: &[u8]| {
        let cells: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let text: String = bytes.iter().map(printed).collect();
        format!("  {:<width$}  {}\n", cells.join(" "), paint.dim(&text), width = 3 * DUMP_WIDTH - 1)
    };
    let mut text: String = raw.chunks(DUMP_WIDTH).map(line).collect();
    if raw.len() < len {
        text += &format!("  … {} more bytes: --raw has them all\n", len - raw.len());
    }
    text
}

fn hex(raw: &[u8]) -> String {
    raw.iter().map(|byte| format!("{byte:02x}")).collect()
}
