//! The end of a server loses nothing that it acknowledged.
