//! The program as its users have it: run, watched, killed, given damaged files.

#![allow(unreachable_pub, reason = "nothing uses a test's modules but the test")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod aggregate;
mod as_of;
mod bench;
mod beside_a_server;
mod books;
mod canteen;
mod damage;
mod diners;
mod ends;
mod events;
mod finance;
mod guides;
mod help;
mod invoices;
mod moving;
mod nodes;
mod orders;
mod postgres;
mod projections;
mod settings;
mod shutdown;
mod subsidies;
mod support;
mod tokens;
