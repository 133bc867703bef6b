//! The program as its users have it: run, watched, killed, given damaged files.

mod beside_a_server;
mod damage;
mod ends;
mod help;
mod settings;
mod shutdown;
mod support;
