//! What crosses crates: the house's rules, journeys over HTTP and kill loops, as tests of their own.
