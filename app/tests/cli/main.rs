//! The program as its users have it: run, watched, killed, given damaged files.

#![allow(unreachable_pub, reason = "nothing uses a test's modules but the test")]

mod beside_a_server;
mod damage;
mod ends;
mod help;
mod settings;
mod shutdown;
mod support;
