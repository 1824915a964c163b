//! The demonstration beside a running Freshline, on servers that it may do with as it likes.

mod doors;
mod holding;
mod house;
mod sql;
mod usual;
