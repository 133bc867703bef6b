//! What an account has booked and may have forgotten.

use commands::{Commands, Interrupted};
use domain::{
    AccountId, CommandId, TenantId, Timestamp,
    account::{self, Account},
};

/// An account forgets ids after thirty days of business time. What is dated earlier than this is looked up in
/// its stream before it is booked again.
const REMEMBERED_SECONDS: i64 = 20 * 24 * 60 * 60;

/// What a step that is dated `at` has booked, if its account may have forgotten; nothing while it has to know.
pub(crate) async fn booked_long_ago(
    commands: &Commands,
    tenant: TenantId,
    account: AccountId,
    (step, at): (CommandId, Timestamp),
) -> Result<Vec<account::Event>, Interrupted> {
    if at.plus_seconds(REMEMBERED_SECONDS) > commands.now() {
        return Ok(vec![]);
    }
    commands.recorded::<Account>(tenant, account, step).await
}
