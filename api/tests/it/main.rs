//! The API as a process, over HTTP: alone where a request never gets as far as a server, else on real ones.

mod bad_input;
mod cached;
mod degraded;
mod documents;
mod ending;
mod events;
mod health;
mod http;
mod latest;
mod manage;
mod products;
mod protocol;
mod secrets;
mod slow;
mod support;
mod tls;
