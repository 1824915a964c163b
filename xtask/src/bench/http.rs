//! A caller of HTTP/1.1 that does as little as can be done: raw TCP, connections that stay, one request under way on each.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The most bytes that an answer here has.
const ANSWER_LEN_MAX: usize = 64 * 1024;

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

    /// Asks for these paths in turn, `count` times in all: one request on each connection, then the answer of each.
    ///
    /// # Errors
    /// If an answer is not 200, or its head does not contain `expected`.
    pub fn ask(&mut self, paths: &[String], count: usize, expected: &str) -> Result<()> {
        let requests: Vec<String> = paths.iter().map(|path| format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n")).collect();
        let mut next = requests.iter().cycle();
        for _ in 0..count / self.streams.len() {
            for (stream, request) in self.streams.iter_mut().zip(&mut next) {
                stream.write_all(request.as_bytes())?;
            }
            for stream in &mut self.streams {
                answer(stream, &mut self.buffer, expected)?;
            }
        }
        Ok(())
    }
}

/// Reads one answer to its end.
fn answer(stream: &mut TcpStream, buffer: &mut [u8], expected: &str) -> Result<()> {
    let mut len = 0;
    loop {
        let read = stream.read(&mut buffer[len..]).context("reading an answer")?;
        if read == 0 {
            bail!("a connection was closed, or an answer is over {ANSWER_LEN_MAX} bytes");
        }
        len += read;
        let Some(head_len) = buffer[..len].windows(4).position(|end| end == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&buffer[..head_len]).context("a head that is no text")?;
        if !head.starts_with("HTTP/1.1 200") || !head.contains(expected) {
            bail!("an answer that was not expected:\n{head}");
        }
        let body_len = head.lines().find_map(|line| line.strip_prefix("content-length: ")).context("no content-length")?;
        if len >= head_len + 4 + body_len.parse::<usize>().context("a wrong content-length")? {
            return Ok(());
        }
    }
}
