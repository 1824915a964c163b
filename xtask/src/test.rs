//! `test`.
