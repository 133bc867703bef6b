//! What tests need that is not theirs alone: a real Postgres.
//!
//! Only ever a dev-dependency. What cannot be had is a panic that says what to install: a test that
//! cannot run has failed.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on says why and fails")]

mod postgres;

pub use postgres::{Postgres, free_port};
