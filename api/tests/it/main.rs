//! The API as a process, over HTTP: alone where a request never gets as far as a server, else on real ones.

mod bad_input;
mod cached;
mod degraded;
mod ending;
mod http;
mod products;
mod protocol;
mod secrets;
mod support;
mod tls;
