//! The views as they stand at one moment.

use store::Position;

use crate::{
    Build, Param, Projection, Registry, Row, SqlError, SqlRow, ViewError, Views, catalogue,
    db::Connection,
    views::{is_whole, lowest},
};

/// The views at one moment: the catalogue and every row belong together.
pub struct Snapshot<'a> {
    connection: &'a Connection,
    views: &'a Views,
    builds: Vec<Build>,
}

impl<'a> Snapshot<'a> {
    /// Within a transaction that the caller has begun.
    pub(crate) fn of(connection: &'a Connection, views: &'a Views) -> Result<Self, ViewError> {
        views.count_statement();
        Ok(Snapshot { connection, views, builds: catalogue::builds(connection)? })
    }

    /// For one statement.
    pub(crate) fn connection(&self) -> &Connection {
        self.views.count_statement();
        self.connection
    }

    fn registry(&self) -> &Registry {
        self.views.registry()
    }

    /// The last event that every sound live view has folded.
    pub fn position(&self) -> Position {
        let ours = |build: &&Build| self.registry().iter().any(|projection| build.is_of(&**projection));
        lowest(self.builds.iter().filter(ours))
    }

    /// The live build of one projection, if there is one: of this program's version, since another may be live
    /// elsewhere.
    pub(crate) fn live_build(&self, projection: &str) -> Option<&Build> {
        let ours = self.registry().iter().find(|one| one.name() == projection)?;
        self.builds.iter().find(|build| build.live && build.is_of(&**ours))
    }

    /// The last event that the live build of one projection has folded; 0 when none is live.
    pub(crate) fn position_of(&self, projection: &str) -> Position {
        self.live_build(projection).map_or(0, |build| build.position)
    }

    /// Every build that is in use or being built, with its checkpoint and health.
    pub fn builds_now(&self) -> impl Iterator<Item = &Build> {
        self.builds.iter().filter(|build| build.replaced_at.is_none())
    }

    /// The live builds that do not show everything up to where the others stand: some of their
    /// events are parked, or they wait.
    pub fn incomplete(&self) -> impl Iterator<Item = &Build> {
        let ours = |build: &&Build| self.registry().iter().any(|projection| build.is_of(&**projection));
        self.builds.iter().filter(|build| build.live).filter(ours).filter(|build| !is_whole(build))
    }

    /// The rows of a table that `rest` (`WHERE … ORDER BY … LIMIT …`) names. Parameters are
    /// `?1, ?2, …`; another table is named as `{table}`.
    pub fn fetch<T: Row>(&self, rest: &str, args: &[Param<'_>]) -> Result<Vec<T>, ViewError> {
        let spec = T::TABLE;
        let sql = format!("SELECT {} FROM {{{}}} {rest}", spec.column_list(), spec.name);
        self.query(&sql, args, T::read)
    }

    /// The one row that `rest` names, if it is there.
    pub fn fetch_one<T: Row>(&self, rest: &str, args: &[Param<'_>]) -> Result<Option<T>, ViewError> {
        Ok(self.fetch(rest, args)?.into_iter().next())
    }

    /// Any query. Tables are named as `{table}`.
    pub fn query<T>(
        &self,
        sql: &str,
        args: &[Param<'_>],
        read: impl FnMut(&SqlRow<'_>) -> Result<T, SqlError>,
    ) -> Result<Vec<T>, ViewError> {
        Ok(self.connection().query(&self.resolve(sql)?, args, read)?)
    }

    /// Puts the live builds' tables in the place of `{table}`.
    fn resolve(&self, sql: &str) -> Result<String, ViewError> {
        let mut resolved = String::with_capacity(sql.len() + 32);
        let mut rest = sql;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            resolved.push_str(before);
            resolved.push_str(&self.table(name)?);
            rest = after;
        }
        resolved.push_str(rest);
        Ok(resolved)
    }

    fn table(&self, name: &str) -> Result<String, ViewError> {
        let owner =
            |projection: &&std::sync::Arc<dyn Projection>| projection.tables().iter().any(|table| table.name == name);
        let projection = self.registry().iter().find(owner);
        let projection = projection.ok_or_else(|| ViewError::UnknownProjection(name.to_owned()))?;
        let builds = || self.builds.iter().filter(|build| build.is_of(&**projection));
        match builds().find(|build| build.live) {
            Some(build) => Ok(format!("{name}{}", build.suffix())),
            None => {
                let position = builds().map(|build| build.position).max().unwrap_or(0);
                Err(ViewError::Building { projection: projection.name(), position })
            }
        }
    }
}
