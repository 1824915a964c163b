//! A connection whose other end has to keep pace: a head that has begun comes to its end, and an answer is taken, in time.
//!
//! Timers are made only where somebody has to be waited for. A request that comes whole costs two additions to a number, and no
//! system call, lock or timer.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// Whose turn it is on a connection: odd while a request is answered, even while its caller's next head is awaited.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns(Arc<AtomicU32>);

impl Turns {
    /// A head has come to its end; or its request has been answered.
    pub fn pass(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn now(&self) -> u32 {
        self.0.load(Relaxed)
    }
}

/// What a connection is read from and written to.
pub(super) struct Paced<S> {
    stream: S,
    turns: Turns,
    /// How long a head may take once it has begun.
    head_max: Duration,
    /// How long what is written may find no taker.
    stall_max: Duration,
    /// The turn in which something was read last; an odd one at first.
    read_in: u32,
    head: Option<Pin<Box<Sleep>>>,
    stall: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    pub fn new(stream: S, turns: Turns, head_max: Duration, stall_max: Duration) -> Self {
        Self { stream, turns, head_max, stall_max, read_in: 1, head: None, stall: None }
    }

    /// Whether a head has begun and not come to its end.
    fn is_in_head(&self) -> bool {
        self.read_in.is_multiple_of(2) && self.read_in == self.turns.now()
    }

    fn written<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        late(&mut self.stall, self.stall_max, cx, "the answer was not taken")
    }
}

/// Waits on: until the timer has run out, which is an error then.
fn late<T>(timer: &mut Option<Pin<Box<Sleep>>>, max: Duration, cx: &mut Context<'_>, why: &'static str) -> Poll<io::Result<T>> {
    let timer = timer.get_or_insert_with(|| Box::pin(sleep(max)));
    timer.as_mut().poll(cx).map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, why)))
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_pending() {
            if self.is_in_head() {
                let Self { head, head_max, .. } = &mut *self;
                return late(head, *head_max, cx, "the head of a request did not come to its end");
            }
            return Poll::Pending;
        }
        if buffer.filled().len() > before && !self.is_in_head() {
            (self.read_in, self.head) = (self.turns.now(), None);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, written)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.written(cx, shut)
    }
}
