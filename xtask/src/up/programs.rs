//! Which of our programs an `up` runs, where they listen, and what they are told.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use stage::{Launch, Login};

use super::ports::Ports;
use super::servers::Servers;
use super::{Up, console};
use crate::checkout::Place;
use crate::state::Source;

/// Where the invalidator's admin address is expected.
const INVALIDATOR_PORT: u16 = 9102;

/// Where the relay's admin address is expected.
const RELAY_PORT: u16 = 9103;

/// Where the demonstration is expected.
const DEMO_PORT: u16 = 9105;

/// What the demonstration has to be told before it changes rows and holds commits: servers of ours are there for that.
const DEMO_CONSENT: &str = "this-is-a-demonstration-database";

/// The namespace of our keys in Redis.
const NAMESPACE: &str = "freshline";

/// The most products that the warm run fills.
const WARM_ROWS_MAX: u64 = 1_000;

/// One program that is kept running.
#[derive(Clone)]
pub struct Program {
    /// The name of its process.
    pub name: String,
    /// How it is started.
    pub launch: Launch,
    /// Where it serves; none for the invalidator and the relay.
    pub address: Option<SocketAddr>,
    /// Where it answers `/readyz`.
    pub admin_address: SocketAddr,
    /// Its log.
    pub log: PathBuf,
}

/// All of them: those that are kept running, and the warm run.
pub struct Programs {
    /// In the order in which they stop.
    pub kept: Vec<Program>,
    /// Runs once, when the others are ready.
    pub warm: Launch,
    /// The log of the warm run.
    pub warm_log: PathBuf,
    /// Theirs as long as they are kept running.
    _ports: Ports,
}

impl Programs {
    /// Decides names, ports and settings. The programs lie in `directory`.
    pub fn plan(up: &Up, place: &Place, servers: &Servers, directory: PathBuf) -> Result<Self> {
        let plan = Plan { place, servers, directory };
        let mut ports = Ports::default();
        let mut kept = Vec::new();
        let replicas = (1..=up.api).map(|number| {
            let name = format!("api-{number}");
            ports.take(&name, up.port + number - 1).map(|address| (name, address))
        });
        let replicas = replicas.collect::<Result<Vec<_>>>()?;
        // The page that one of them serves reads through the others as well.
        let origins: Vec<_> =
            replicas.iter().map(|(_, address)| format!("http://{address},http://localhost:{}", address.port())).collect();
        for (name, address) in replicas {
            let launch = plan
                .launch(&name, "freshline-api", Login::Api)?
                .variables([("FRESHLINE_API_ADDRESS", address.to_string()), ("FRESHLINE_API_CORS_ORIGINS", origins.join(","))]);
            kept.push(Program { log: place.log(&name), name, launch, address: Some(address), admin_address: address });
        }
        kept.push(plan.worker("invalidator", "FRESHLINE_INVALIDATOR_ADDRESS", ports.take("invalidator", INVALIDATOR_PORT)?)?);
        if servers.broker().source() == Source::Nats {
            kept.push(plan.worker("relay", "FRESHLINE_RELAY_ADDRESS", ports.take("relay", RELAY_PORT)?)?);
        }
        if up.shows() {
            let address = ports.take("demo", DEMO_PORT)?;
            let launch = plan
                .launch("demo", "freshline-demo", Login::Superuser)?
                .variables([("FRESHLINE_DEMO_DATABASE", DEMO_CONSENT.to_owned()), ("FRESHLINE_DEMO_ADDRESS", address.to_string())]);
            kept.push(Program {
                log: place.log("demo"),
                name: "demo".to_owned(),
                launch,
                address: Some(address),
                admin_address: address,
            });
        }
        let newest = (up.rows / 2).clamp(1, WARM_ROWS_MAX); // not all: the first read of an old product shows a miss
        let warm = plan.launch("warmer", "freshline-warmer", Login::Warmer)?.argument("--newest").argument(newest.to_string());
        Ok(Self { kept, warm, warm_log: place.log("warmer"), _ports: ports })
    }
}

/// What all of them have in common.
struct Plan<'a> {
    place: &'a Place,
    servers: &'a Servers,
    directory: PathBuf,
}

impl Plan<'_> {
    /// A program that follows the change stream, and what it is told of the source.
    fn worker(&self, name: &str, address_in: &str, admin_address: SocketAddr) -> Result<Program> {
        let launch = self.launch(name, &format!("freshline-{name}"), Login::Invalidator)?;
        let launch = launch.variables(self.servers.broker().variables()).variable(address_in, admin_address.to_string());
        Ok(Program { log: self.place.log(name), name: name.to_owned(), launch, address: None, admin_address })
    }

    fn launch(&self, name: &str, program: &str, login: Login) -> Result<Launch> {
        let path = self.directory.join(program);
        path.metadata()
            .with_context(|| format!("{} is not there: build it, or name its directory by --programs", path.display()))?;
        let launch = Launch::new(name, path).inheriting().ended_in_order().each_line(console::log_to(name, &self.place.log(name))?);
        Ok(launch.variables([
            ("FRESHLINE_DATABASE_URL", self.servers.postgres_urls().of(login)),
            ("FRESHLINE_REDIS_URL", self.servers.redis_urls().of(login)),
            ("FRESHLINE_NAMESPACE", NAMESPACE),
        ]))
    }
}
