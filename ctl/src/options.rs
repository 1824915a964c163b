//! What can be asked, word by word.

use clap::{Args, Parser, Subcommand, ValueEnum};

const AFTER_HELP: &str = "\
Where Postgres and Redis are is said by the same variables as for the processes: see `freshline settings`.

Exit codes:
  0  it was looked at, and nothing is wrong
  1  something is wrong: doctor has findings, a key or a dead letter is not there
  2  it could not be looked at: an option, a variable, a server that is away";

/// Looks at a running Freshline, explains it, and finds what is wrong with its surroundings.
#[derive(Debug, Parser)]
#[command(name = "freshline", version, after_help = AFTER_HELP)]
pub struct Options {
    #[command(subcommand)]
    pub command: Command,
}

/// One command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show where the cache stands: source, position, lag, freshness, fences, generation, slots and processes
    Status(Status),
    /// Check every precondition of every configured part, and say what mends what is missing
    Doctor(Doctor),
    /// Explain one key: entry, proof, fences, lease, and what Postgres holds now. Changes nothing
    Explain(Explain),
    /// Show changes and what they do, as they are applied
    Watch(Watch),
    /// Look after messages that a source could not use
    DeadLetters(DeadLetters),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print the variables that are read, as a table or as lines of an .env file
    Settings {
        /// How
        #[arg(value_enum, default_value = "table")]
        form: Form,
    },
}

/// How settings are printed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Form {
    Table,
    Env,
}

impl Form {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Env => "env",
        }
    }
}

/// The shells that there are completions for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    pub fn generator(self) -> clap_complete::Shell {
        match self {
            Self::Bash => clap_complete::Shell::Bash,
            Self::Zsh => clap_complete::Shell::Zsh,
            Self::Fish => clap_complete::Shell::Fish,
        }
    }
}

#[derive(Debug, Args)]
pub struct Status {
    /// Again every two seconds, until it is interrupted
    #[arg(long)]
    pub watch: bool,
    /// As JSON; with --watch one object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Explain {
    /// The key, such as products:019a0000-0000-7000-8000-000000000001
    pub key: String,
    /// A tag that the value depends on, in the order in which its service names them. The catalogue's own are known
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[group(id = "what", multiple = false)]
pub struct Watch {
    /// Only what is done to this key or tag, and to every key
    #[arg(group = "what")]
    pub key: Option<String>,
    /// Only what changes of this table do, such as public.products, and what is done to every key
    #[arg(long, value_name = "TABLE", group = "what")]
    pub table: Option<String>,
    /// What the trail still holds, before what comes
    #[arg(long)]
    pub history: bool,
    /// As JSON, one object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct DeadLetters {
    #[command(subcommand)]
    pub command: DeadLettersCommand,
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadLettersCommand {
    /// List them, the last first
    List {
        /// Only those in this state; left out, all but the done
        #[arg(long, value_enum)]
        state: Option<LetterState>,
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one, with its bytes
    Show {
        /// Its number
        id: i64,
        /// Its bytes and nothing else, as they are
        #[arg(long, conflicts_with = "json")]
        raw: bool,
        /// As JSON, the bytes in hexadecimal
        #[arg(long)]
        json: bool,
    },
    /// Ask for another attempt
    Retry(Which),
    /// Forget them for good
    Drop(Which),
}

/// Which dead letters.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// Their numbers
    pub ids: Vec<i64>,
    /// All of them; for another attempt, all that are new
    #[arg(long)]
    pub all: bool,
}

/// The state of a dead letter.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LetterState {
    New,
    Retry,
    Done,
}
