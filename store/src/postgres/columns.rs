//! A batch in columns, as one statement takes it.

use domain::{StreamId, Timestamp};
use rustc_hash::FxHashMap;
use sqlx::{Postgres, postgres::PgArguments, query::Query};
use uuid::Uuid;

use super::{reader::FoundStream, time::PgTime};
use crate::{Append, EventRow, Metadata, StoreError, Version};

/// The streams of a batch.
pub(super) struct Streams {
    /// Each stream's place in `rows`.
    places: FxHashMap<StreamId, usize>,
    rows: Vec<StreamRow>,
    /// The highest id, those given here included.
    pub(super) last: i64,
}

struct StreamRow {
    stream: StreamId,
    /// None until it is written for the first time.
    id: Option<i64>,
    /// It has no row in the log yet.
    new: bool,
    before: Version,
    version: Version,
}

impl Streams {
    /// Each of them once; `last` is the highest id in the log.
    pub(super) fn of(streams: impl Iterator<Item = StreamId>, last: i64) -> Streams {
        let mut all = Streams { places: FxHashMap::default(), rows: Vec::new(), last };
        for stream in streams {
            all.places.entry(stream).or_insert_with(|| {
                all.rows.push(StreamRow { stream, id: None, new: true, before: 0, version: 0 });
                all.rows.len() - 1
            });
        }
        all
    }

    pub(super) fn names(&self) -> impl Iterator<Item = StreamId> {
        self.rows.iter().map(|row| row.stream)
    }

    /// Takes over where a stream stands in the log.
    pub(super) fn found(&mut self, found: &FoundStream) {
        let row = &mut self.rows[found.number];
        (row.id, row.new, row.before, row.version) = (Some(found.id), false, found.version, found.version);
    }

    /// The version of a stream, what was written here included.
    pub(super) fn version(&self, stream: &StreamId) -> Version {
        self.places.get(stream).map_or(0, |place| self.rows[*place].version)
    }

    /// Moves a stream on by `events`, and gives its id and the version before.
    pub(super) fn write(&mut self, stream: &StreamId, events: usize) -> (i64, Version) {
        // Every stream of the batch has its place from the beginning.
        let Some(row) = self.places.get(stream).and_then(|place| self.rows.get_mut(*place)) else { return (0, 0) };
        let id = *row.id.get_or_insert_with(|| {
            self.last += 1;
            self.last
        });
        let before = row.version;
        row.version += events as Version;
        (id, before)
    }

    /// Binds the first seven parameters.
    pub(super) fn bind<'q>(&self, query: Query<'q, Postgres, PgArguments>) -> Query<'q, Postgres, PgArguments> {
        let named = || self.rows.iter().filter(|row| row.new && row.id.is_some());
        let moved = || self.rows.iter().filter(|row| !row.new && row.version > row.before);
        let ids = |row: &StreamRow| row.id.unwrap_or_default();
        let versions = |row: &StreamRow| row.version as i64;
        query
            .bind(named().map(ids).collect::<Vec<i64>>())
            .bind(named().map(versions).collect::<Vec<i64>>())
            .bind(named().map(|row| row.stream.kind as i16).collect::<Vec<i16>>())
            .bind(named().map(|row| row.stream.key).collect::<Vec<Uuid>>())
            .bind(named().map(|row| row.stream.tenant.0).collect::<Vec<Uuid>>())
            .bind(moved().map(ids).collect::<Vec<i64>>())
            .bind(moved().map(versions).collect::<Vec<i64>>())
    }
}

/// Events and snapshots, a column a parameter.
#[derive(Default)]
pub(super) struct Columns<'a> {
    streams: Vec<i64>,
    versions: Vec<i64>,
    occurred_at: Vec<PgTime>,
    recorded_at: Vec<PgTime>,
    schema_versions: Vec<i32>,
    /// Filled in when the names have their numbers.
    types: Vec<i16>,
    type_names: Vec<TypeName<'a>>,
    commands: Vec<Uuid>,
    actors: Vec<Uuid>,
    correlations: Vec<Option<Uuid>>,
    causations: Vec<Option<Uuid>>,
    digests: Vec<Option<&'a [u8]>>,
    traces: Vec<Option<&'a [u8]>>,
    payloads: Vec<&'a str>,
    /// By stream: only the last of a batch counts.
    snapshots: FxHashMap<i64, (i64, i64, &'a str)>,
}

/// The type of an event, in full or in its two halves.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum TypeName<'a> {
    Full(&'a str),
    Halves(&'static str, &'static str),
}

impl TypeName<'_> {
    fn full(self) -> String {
        match self {
            TypeName::Full(name) => name.to_owned(),
            TypeName::Halves(aggregate, name) => format!("{aggregate}.{name}"),
        }
    }
}

impl<'a> Columns<'a> {
    pub(super) fn events(&self) -> usize {
        self.payloads.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.payloads.is_empty() && self.snapshots.is_empty()
    }

    /// When the last of the events was recorded.
    pub(super) fn recorded_at(&self) -> Option<Timestamp> {
        self.recorded_at.last().map(|at| at.timestamp())
    }

    /// # Errors
    /// [`StoreError::Unusable`] for what Postgres cannot keep as it is.
    pub(super) fn add_append(
        &mut self,
        append: &'a Append,
        recorded_at: Timestamp,
        streams: &mut Streams,
    ) -> Result<(), StoreError> {
        if append.events.is_empty() && append.snapshot.is_none() {
            return Ok(());
        }
        let (id, before) = streams.write(&append.stream, append.events.len());
        let (occurred_at, recorded_at) = (PgTime::new(append.occurred_at)?, PgTime::new(recorded_at)?);
        for (number, event) in (1..).zip(&append.events) {
            self.type_names.push(TypeName::Halves(append.stream.kind.aggregate(), event.name));
            self.add(id, before + number, event.schema_version, &event.payload)?;
            self.add_metadata(&append.stream, &append.metadata, occurred_at, recorded_at);
        }
        if let Some(snapshot) = &append.snapshot {
            let state = text(&snapshot.state)?;
            self.snapshots.insert(id, (snapshot.version as i64, i64::from(snapshot.state_version), state));
        }
        Ok(())
    }

    /// An event that another log recorded; `stream` is its id here and the version before.
    ///
    /// # Errors
    /// As [`Columns::add_append`].
    pub(super) fn add_recorded(&mut self, event: &'a EventRow, stream: (i64, Version)) -> Result<(), StoreError> {
        self.type_names.push(TypeName::Full(&event.event_type));
        self.add(stream.0, stream.1 + 1, event.schema_version, &event.payload)?;
        let (occurred_at, recorded_at) = (PgTime::new(event.occurred_at)?, PgTime::new(event.recorded_at)?);
        self.add_metadata(&event.stream, &event.metadata, occurred_at, recorded_at);
        Ok(())
    }

    fn add(&mut self, stream: i64, version: Version, schema_version: u16, payload: &'a [u8]) -> Result<(), StoreError> {
        self.payloads.push(text(payload)?);
        self.streams.push(stream);
        self.versions.push(version as i64);
        self.schema_versions.push(i32::from(schema_version));
        Ok(())
    }

    fn add_metadata(&mut self, stream: &StreamId, metadata: &'a Metadata, occurred_at: PgTime, recorded_at: PgTime) {
        self.occurred_at.push(occurred_at);
        self.recorded_at.push(recorded_at);
        self.commands.push(metadata.command.0);
        self.actors.push(metadata.actor.0);
        self.correlations.push(Some(metadata.correlation).filter(|correlation| *correlation != stream.key));
        self.causations.push(metadata.causation.map(|command| command.0));
        self.digests.push(metadata.digest.as_ref().map(<[u8; 16]>::as_slice));
        self.traces.push(metadata.trace.as_ref().map(<[u8; 16]>::as_slice));
    }

    /// Gives every event the number of its type, if all are known; else says which are not.
    pub(super) fn number_types(&mut self, known: &FxHashMap<String, i16>) -> Vec<String> {
        let mut numbers: FxHashMap<TypeName<'a>, Option<i16>> = FxHashMap::default();
        self.types.clear();
        for name in &self.type_names {
            let number = numbers.entry(*name).or_insert_with(|| known.get(&name.full()).copied());
            self.types.extend(*number);
        }
        numbers.into_iter().filter(|(_, number)| number.is_none()).map(|(name, _)| name.full()).collect()
    }

    /// Binds the eighth to the twenty-fifth parameter.
    pub(super) fn bind<'q>(
        &'q self,
        query: Query<'q, Postgres, PgArguments>,
        before: i64,
    ) -> Query<'q, Postgres, PgArguments> {
        let query = query
            .bind(before)
            .bind(&self.streams)
            .bind(&self.versions)
            .bind(&self.occurred_at)
            .bind(&self.recorded_at)
            .bind(&self.schema_versions)
            .bind(&self.types)
            .bind(&self.commands)
            .bind(&self.actors)
            .bind(&self.correlations)
            .bind(&self.causations)
            .bind(&self.digests)
            .bind(&self.traces)
            .bind(&self.payloads);
        let snapshots = || self.snapshots.iter();
        query
            .bind(snapshots().map(|(stream, _)| *stream).collect::<Vec<i64>>())
            .bind(snapshots().map(|(_, snapshot)| snapshot.0).collect::<Vec<i64>>())
            .bind(snapshots().map(|(_, snapshot)| snapshot.1).collect::<Vec<i64>>())
            .bind(snapshots().map(|(_, snapshot)| snapshot.2).collect::<Vec<&str>>())
    }
}

/// The bytes as a text, which is how Postgres keeps them unchanged.
fn text(bytes: &[u8]) -> Result<&str, StoreError> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !bytes.contains(&0) => Ok(text),
        _ => Err(StoreError::Unusable("a payload or snapshot is not JSON: it is no UTF-8, or has a byte 0".into())),
    }
}
