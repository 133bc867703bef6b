//! What every adapter of the log must do.
