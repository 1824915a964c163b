//! A caller of HTTP/1.1 that does as little as can be done: raw TCP, connections that stay, one request under way on each.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The most bytes that an answer here has.
const ANSWER_LEN_MAX: usize = 64 * 1024;

/// Requests that are sent in turn, and what each is to be answered with.
pub struct Asked {
    requests: Vec<String>,
    status: u16,
    /// What stands in the head of each answer.
    expected: &'static str,
}

impl Asked {
    /// Reads.
    pub fn get(paths: &[String], expected: &'static str) -> Self {
        Self { requests: each(paths, "GET", |_| String::new()), status: 200, expected }
    }

    /// Reads whose answers may be coded.
    pub fn coded(paths: &[String], expected: &'static str) -> Self {
        Self { requests: each(paths, "GET", |_| "accept-encoding: zstd\r\n\r\n".to_owned()), status: 200, expected }
    }

    /// Reads of what the caller has already: there is a validator for each path.
    pub fn known(paths: &[String], etags: &[String]) -> Self {
        let condition = |n: usize| format!("if-none-match: {}\r\n\r\n", etags[n]);
        Self { requests: each(paths, "GET", condition), status: 304, expected: "" }
    }

    /// Writes of this JSON.
    pub fn patch(paths: &[String], json: &str) -> Self {
        let rest = |_| format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n{json}", json.len());
        Self { requests: each(paths, "PATCH", rest), status: 200, expected: "" }
    }
}

/// A request for each path. Its rest is what follows the host: more headers, their end, a body; or nothing.
fn each(paths: &[String], method: &str, rest: impl Fn(usize) -> String) -> Vec<String> {
    let request = |(n, path): (usize, &String)| {
        let rest = rest(n);
        let rest = if rest.is_empty() { "\r\n" } else { &rest };
        format!("{method} {path} HTTP/1.1\r\nhost: bench\r\n{rest}")
    };
    paths.iter().enumerate().map(request).collect()
}

/// Some connections to one server.
pub struct Caller {
    streams: Vec<TcpStream>,
    buffer: Vec<u8>,
}

impl Caller {
    /// Connects so many times.
    pub fn connect(address: SocketAddr, count: usize) -> Result<Self> {
        let connect = || -> Result<TcpStream> {
            let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(ANSWER_MAX))?;
            Ok(stream)
        };
        let streams = (0..count).map(|_| connect()).collect::<Result<_>>()?;
        Ok(Self { streams, buffer: vec![0; ANSWER_LEN_MAX] })
    }

    /// Sends these requests in turn, `count` times in all: one on each connection, then the answer of each.
    ///
    /// # Errors
    /// If an answer is none that was expected.
    pub fn ask(&mut self, asked: &Asked, count: usize) -> Result<()> {
        let mut next = asked.requests.iter().cycle();
        for _ in 0..count / self.streams.len() {
            for (stream, request) in self.streams.iter_mut().zip(&mut next) {
                stream.write_all(request.as_bytes())?;
            }
            for stream in &mut self.streams {
                answer(stream, &mut self.buffer, asked)?;
            }
        }
        Ok(())
    }
}

/// Reads one answer to its end.
fn answer(stream: &mut TcpStream, buffer: &mut [u8], asked: &Asked) -> Result<()> {
    let mut len = 0;
    loop {
        let read = stream.read(&mut buffer[len..]).context("reading an answer")?;
        if read == 0 {
            bail!("a connection was closed, or an answer is over {ANSWER_LEN_MAX} bytes");
        }
        len += read;
        let Some(head_len) = buffer[..len].windows(4).position(|end| end == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&buffer[..head_len]).context("a head that is no text")?;
        if !head.starts_with(&format!("HTTP/1.1 {}", asked.status)) || !head.contains(asked.expected) {
            bail!("an answer that was not expected:\n{head}");
        }
        // What the caller knows has no body.
        let body_len = head.lines().find_map(|line| line.strip_prefix("content-length: ")).filter(|_| asked.status != 304);
        if len >= head_len + 4 + body_len.unwrap_or("0").parse::<usize>().context("a wrong content-length")? {
            return Ok(());
        }
    }
}
