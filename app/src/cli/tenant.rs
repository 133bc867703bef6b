//! Whose thing is meant, when the command line does not say it.

use anyhow::bail;
use domain::{StreamId, StreamKind, TenantId};
use store::{EventStore, history};
use uuid::Uuid;

use crate::config::usage;

/// Tenants among which it is looked for.
const MAX_TENANTS: usize = 1_000;
/// Tenants that an error names.
const NAMED: usize = 10;

/// The tenant whose log has a stream of one of these kinds with this key: the one that is `said`,
/// or else the only one there is.
///
/// # Errors
/// When no tenant has one, or several have.
pub async fn tenant_of(
    store: &dyn EventStore,
    said: Option<TenantId>,
    kinds: &[StreamKind],
    key: Uuid,
) -> anyhow::Result<TenantId> {
    if let Some(tenant) = said {
        return Ok(tenant);
    }
    let tenants = history::tenants(store, MAX_TENANTS).await?;
    if tenants.len() == MAX_TENANTS {
        return Err(usage(format!("the log has {MAX_TENANTS} tenants or more; say whose it is with --tenant")));
    }
    let mut having = Vec::new();
    for tenant in &tenants {
        let streams: Vec<StreamId> = kinds.iter().map(|kind| StreamId { tenant: *tenant, kind: *kind, key }).collect();
        if store.versions(&streams).await?.iter().any(|version| *version > 0) {
            having.push(*tenant);
        }
    }
    match having.as_slice() {
        [tenant] => Ok(*tenant),
        [] => {
            let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
            bail!("the log has no events of {} {key}", kinds.join(", "))
        }
        several => {
            let named: Vec<String> = several.iter().take(NAMED).map(|tenant| format!("--tenant {tenant}")).collect();
            let (count, named) = (several.len(), named.join(", "));
            Err(usage(format!("{count} tenants have {key}; say which is meant: {named}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::Timestamp;
    use store::{
        MemoryLog,
        contract::{append_of, stream},
    };

    use super::*;
    use crate::config::Usage;

    async fn log(streams: &[(u128, u128)]) -> MemoryLog {
        let log = MemoryLog::new();
        for (tenant, key) in streams {
            log.append(vec![append_of(stream(*tenant, *key), 0, 1)], Timestamp::EPOCH).await.unwrap();
        }
        log
    }

    async fn found(log: &MemoryLog, said: Option<TenantId>, key: u128) -> anyhow::Result<TenantId> {
        tenant_of(log, said, &[StreamKind::Wallet, StreamKind::Order], Uuid::from_u128(key)).await
    }

    #[tokio::test]
    async fn the_only_tenant_that_has_it_is_meant() {
        let log = log(&[(1, 7), (2, 8), (2, 9), (1, 9)]).await;
        assert_eq!(found(&log, None, 7).await.unwrap(), stream(1, 7).tenant);
        assert_eq!(found(&log, None, 8).await.unwrap(), stream(2, 8).tenant);
        let said = stream(3, 1).tenant;
        assert_eq!(found(&log, Some(said), 7).await.unwrap(), said, "what is said is not questioned");
        let several = found(&log, None, 9).await.unwrap_err();
        let named = several.to_string();
        assert!(several.is::<Usage>(), "{named}");
        for tenant in [1, 2] {
            assert!(named.contains(&format!("--tenant {}", stream(tenant, 9).tenant)), "{named}");
        }
    }

    #[tokio::test]
    async fn what_nobody_has_is_not_found() {
        for log in [log(&[]).await, log(&[(1, 7)]).await] {
            let error = found(&log, None, 8).await.unwrap_err();
            assert!(!error.is::<Usage>() && error.to_string().contains("no events of wallet, order"), "{error}");
        }
    }
}
