//! Rows of many things at once: what an edge of a whole page needs, in a number of statements that does not
//! grow with the page.

use domain::{CompanyId, TenantId};

use crate::{Column, PageSize, Param, Row, Snapshot, ViewError};

/// Most keys that one statement names.
const KEYS: usize = 256;
/// Most pages that one statement reads: each is a query within it.
const PAGES: usize = 100;

/// `?2, ?3, …` for so many keys behind the first parameter.
fn places(keys: usize) -> String {
    (0..keys).map(|key| format!("?{}", key + 2)).collect::<Vec<_>>().join(", ")
}

/// The tenant and these keys as parameters. The last key stands there again until they are a power of two,
/// so that there are few different statements to prepare.
fn params<'a, K: Column>(tenant: &'a TenantId, keys: &'a [K]) -> Vec<Param<'a>> {
    let filled = keys.len().next_power_of_two() - keys.len();
    let last = keys.last().into_iter().cycle().take(filled);
    std::iter::once(Param::of(tenant)).chain(keys.iter().chain(last).map(Param::of)).collect()
}

/// A page of what some companies have, in the order of `key`: each one's own page, found by its index, and of all
/// those the first rows.
pub(crate) fn page_of<T, K: Ord>(
    companies: &[CompanyId],
    page: PageSize,
    key: impl Fn(&T) -> K,
    of_company: impl Fn(CompanyId) -> Result<Vec<T>, ViewError>,
) -> Result<Vec<T>, ViewError> {
    let mut found = Vec::new();
    for company in companies {
        found.extend(of_company(*company)?);
    }
    found.sort_by_key(key);
    found.truncate(page.get());
    Ok(found)
}

impl Snapshot<'_> {
    /// A tenant's rows whose `column` is one of `keys`, in the order that `rest` says (`ORDER BY …`) as far as
    /// there are at most 256 keys.
    pub fn fetch_among<T: Row, K: Column>(
        &self,
        tenant: TenantId,
        (column, keys): (&str, &[K]),
        rest: &str,
    ) -> Result<Vec<T>, ViewError> {
        let mut found = Vec::new();
        for keys in keys.chunks(KEYS) {
            let params = params(&tenant, keys);
            let query = format!("WHERE tenant = ?1 AND {column} IN ({}) {rest}", places(params.len() - 1));
            found.extend(self.fetch::<T>(&query, &params)?);
        }
        Ok(found)
    }

    /// Of each key the first `limit` rows in the order of `rest` (`[AND …] ORDER BY …`).
    pub fn fetch_first<T: Row, K: Column>(
        &self,
        tenant: TenantId,
        (column, keys): (&str, &[K]),
        rest: &str,
        limit: u32,
    ) -> Result<Vec<T>, ViewError> {
        let (table, columns) = (T::TABLE.name, T::TABLE.column_list());
        let mut found = Vec::new();
        for keys in keys.chunks(PAGES) {
            let page = |key: usize| {
                format!(
                    "SELECT {columns} FROM (SELECT {columns} FROM {{{table}}} WHERE tenant = ?1 AND {column} = ?{} {rest} \
                     LIMIT {limit}) AS page{key}",
                    key + 2
                )
            };
            let pages: Vec<_> = (0..keys.len()).map(page).collect();
            let params: Vec<_> = std::iter::once(Param::of(&tenant)).chain(keys.iter().map(Param::of)).collect();
            found.extend(self.query(&pages.join(" UNION ALL "), &params, T::read)?);
        }
        Ok(found)
    }
}
