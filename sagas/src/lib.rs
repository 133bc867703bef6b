//! The processes that cross aggregates: checkout, refund, withdrawal.
