//! A Redis of the test's own: on a port that was free a moment ago, in a directory of its own, gone when it is dropped.

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use freshline::coherence::Link;

/// Far beyond what any answer takes, so that giving up means a fault.
const WAIT_MAX: Duration = Duration::from_secs(30);

pub struct Server {
    child: Child,
    port: u16,
    home: PathBuf,
}

impl Server {
    pub fn start() -> Self {
        let home = std::env::temp_dir().join(format!("freshline-model-{:032x}", uuid::Uuid::new_v4().as_u128()));
        std::fs::create_dir(&home).expect("a directory for Redis");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        Self { child: launch(port, &home), port, home }
    }

    pub fn address(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// A link to it.
    pub async fn link(&self) -> Link {
        link_to(self.address()).await
    }

    /// Writes its file, kills it, and starts another process on that file.
    pub async fn restart_from_its_file(&mut self) {
        let () = self.link().await.call(&redis::cmd("SAVE")).await.expect("Redis saves");
        self.end();
        self.child = launch(self.port, &self.home);
    }

    fn end(&mut self) {
        self.child.kill().expect("Redis can be killed");
        self.child.wait().expect("Redis ends");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
        std::fs::remove_dir_all(&self.home).expect("Redis's directory can be removed");
    }
}

fn launch(port: u16, home: &PathBuf) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(home);
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("redis-server is on the PATH")
}

/// A link to the Redis at this address, as soon as it answers.
pub async fn link_to(address: std::net::SocketAddr) -> Link {
    let client = redis::Client::open(format!("redis://{address}/")).expect("a URL");
    let began = Instant::now();
    loop {
        match Link::connect(&client, WAIT_MAX).await {
            Ok(link) => return link,
            Err(error) => assert!(began.elapsed() < WAIT_MAX, "Redis at {address} does not answer: {error:?}"),
        }
        tokio::task::yield_now().await;
    }
}
