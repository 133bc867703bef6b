//! Pages: Relay connections over keyset cursors, which stay right while rows come and go.

use std::future::Future;

use async_graphql::{
    OutputType,
    connection::{Connection, Edge},
};
use projections::PageSize;

use crate::{
    errors::{Code, Failed, coded},
    limits::{DEFAULT_PAGE, MAX_PAGE},
};

/// A page of rows.
pub(crate) struct Page<R> {
    pub(crate) rows: Vec<R>,
    has_previous: bool,
    has_next: bool,
}

pub(crate) fn size(first: Option<i32>) -> Result<PageSize, Failed> {
    let asked = first.map_or(Some(DEFAULT_PAGE), |first| u32::try_from(first).ok());
    match asked.filter(|size| (1..=MAX_PAGE).contains(size)) {
        Some(size) => Ok(PageSize::clamped(size as usize)),
        None => Err(coded(Code::BadInput, format!("a page has 1 to {MAX_PAGE} items"))
            .in_chinese(format!("一页要有 1 到 {MAX_PAGE} 项"))
            .at("first")),
    }
}

/// Reads a cursor; `after` may be unsaid, but not wrong.
pub(crate) fn cursor<C>(after: Option<&str>, read: impl FnOnce(&str) -> Option<C>) -> Result<Option<C>, Failed> {
    match after {
        None => Ok(None),
        Some(text) => {
            let cursor =
                read(text).ok_or_else(|| coded(Code::BadInput, "that is not a cursor of this list").at("after"));
            cursor.map(Some)
        }
    }
}

/// The page after `after`. `fetch` gives at most so many rows after a cursor: it is asked for one more than the
/// page has.
pub(crate) async fn page<R, C, E, F, Fut>(first: Option<i32>, after: Option<C>, fetch: F) -> Result<Page<R>, Failed>
where
    F: Fn(Option<C>, PageSize) -> Fut,
    Fut: Future<Output = Result<Vec<R>, E>>,
    Failed: From<E>,
{
    let size = size(first)?;
    let has_previous = after.is_some();
    let page = first_page(fetch(after, size.and_one()).await?, size);
    Ok(Page { has_previous, ..page })
}

/// A first page out of `rows`, which are one more than its size when there are more.
pub(crate) fn first_page<R>(mut rows: Vec<R>, size: PageSize) -> Page<R> {
    let has_next = rows.len() > size.get();
    rows.truncate(size.get());
    Page { rows, has_previous: false, has_next }
}

/// As clients see it. `cursor_of` writes a row's cursor.
pub(crate) fn connection<R, T: OutputType>(
    page: Page<R>,
    cursor_of: impl Fn(&R) -> String,
    item: impl Fn(R) -> T,
) -> Connection<String, T> {
    let mut connection = Connection::new(page.has_previous, page.has_next);
    connection.edges.extend(page.rows.into_iter().map(|row| {
        let cursor = cursor_of(&row);
        Edge::new(cursor, item(row))
    }));
    connection
}
