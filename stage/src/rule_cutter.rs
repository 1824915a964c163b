//! A TCP proxy before Redis that cuts rules out of the scripts that pass it, so that a test can show what a rule is for.
//!
//! A rule is a line of Lua that ends in `-- rule: <its name>`. The cutter replaces such a line by as many spaces while the script is
//! loaded, and passes everything else as it is. Whoever loads the script goes by the digest that Redis answers, and so runs the cut
//! script without knowing: real processes can be put behind it, and the product needs no switch.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::servers::port;

/// How much is read at a time, in bytes.
const CHUNK_LEN: usize = 64 * 1024;

/// A line longer than this is no line of a script, and is passed on before its end has come.
const LINE_LEN_MAX: usize = 4 * 1024;

/// What a rule's line says before the rule's name.
const MARK: &str = "-- rule: ";

/// A proxy that cuts rules. Dropped, all its connections are cut.
pub struct RuleCutter {
    address: SocketAddr,
    target: SocketAddr,
    knife: Arc<Knife>,
    _accepting: JoinSet<()>,
}

/// The rules to cut, and how often one has been.
struct Knife {
    ends: Vec<Vec<u8>>,
    cut_count: AtomicUsize,
}

impl RuleCutter {
    /// A proxy before `target` that cuts the rules of these names.
    ///
    /// # Errors
    /// If no port can be had.
    pub async fn to(target: SocketAddr, rules: &[&str]) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port::pick()?)).await.context("opening a port for a rule cutter")?;
        let address = listener.local_addr().context("asking for a rule cutter's address")?;
        let ends = rules.iter().map(|rule| format!("{MARK}{rule}").into_bytes()).collect();
        let knife = Arc::new(Knife { ends, cut_count: AtomicUsize::new(0) });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, target, Arc::clone(&knife)));
        Ok(Self { address, target, knife, _accepting: accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `url` with this proxy in the server's place.
    ///
    /// # Panics
    /// If `url` does not name the server that this proxy stands before.
    pub fn before(&self, url: &str) -> String {
        let (server, proxy) = (format!("@{}", self.target), format!("@{}", self.address));
        assert!(url.contains(&server), "a URL of {} was expected", self.target);
        url.replacen(&server, &proxy, 1)
    }

    /// How many lines have been cut. A test of what a missing rule breaks has to see that it went missing.
    pub fn cut_count(&self) -> usize {
        self.knife.cut_count.load(Ordering::SeqCst)
    }
}

/// The names of all rules in this text, in order.
pub fn rules_in(script: &str) -> Vec<&str> {
    script.lines().filter_map(|line| line.split_once(MARK)).map(|(_, rule)| rule.trim_end()).collect()
}

/// Accepts until it is dropped with its [`RuleCutter`]; its connections are dropped with it.
async fn accept(listener: TcpListener, target: SocketAddr, knife: Arc<Knife>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((client, _)) = listener.accept() => { connections.spawn(serve(client, target, Arc::clone(&knife))); }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// Passes bytes until one side ends; an end is told by closing both, as a broken connection is.
async fn serve(client: TcpStream, target: SocketAddr, knife: Arc<Knife>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    tokio::select! {
        _ = pass_cut(from_client, to_server, &knife) => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
}

/// Passes whole lines, so that a rule is seen whole. Each command of Redis's protocol ends in one, so nothing is held back that
/// somebody waits for.
async fn pass_cut(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, knife: &Knife) -> std::io::Result<()> {
    let mut held = Vec::with_capacity(CHUNK_LEN);
    while from.read_buf(&mut held).await? > 0 {
        let lines_len = held.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let passed_len = if held.len() - lines_len > LINE_LEN_MAX { held.len() } else { lines_len };
        knife.cut(&mut held[..passed_len]);
        to.write_all(&held[..passed_len]).await?;
        held.drain(..passed_len);
    }
    to.write_all(&held).await
}

impl Knife {
    fn cut(&self, text: &mut [u8]) {
        for line in text.split_mut(|byte| *byte == b'\n') {
            if self.ends.iter().any(|end| line.ends_with(end)) {
                line.fill(b' ');
                self.cut_count.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(rules: &[&str], text: &str) -> (String, usize) {
        let ends = rules.iter().map(|rule| format!("{MARK}{rule}").into_bytes()).collect();
        let knife = Knife { ends, cut_count: AtomicUsize::new(0) };
        let mut text = text.as_bytes().to_vec();
        knife.cut(&mut text);
        (String::from_utf8(text).expect("text"), knife.cut_count.into_inner())
    }

    #[test]
    fn a_rule_is_replaced_by_spaces_and_nothing_else_is() {
        let script = "local a = 1\n  a = 2 -- rule: a grows\n  a = 3 -- rule: a grows twice\nreturn a\n";
        assert_eq!(rules_in(script), ["a grows", "a grows twice"]);
        let (left, cut_count) = cut(&["a grows"], script);
        assert_eq!(cut_count, 1);
        assert_eq!(left.len(), script.len());
        assert_eq!(rules_in(&left), ["a grows twice"]);
        assert_eq!(
            left.trim_matches(' ').replace("                        ", ""),
            "local a = 1\n\n  a = 3 -- rule: a grows twice\nreturn a\n"
        );
    }

    #[test]
    fn text_that_has_no_such_rule_is_left_alone() {
        let text = "*1\r\n$4\r\nPING\r\n-- rule: a grows, or not\n";
        assert_eq!(cut(&["a grows"], text), (text.to_owned(), 0));
    }
}
