-- The event log, format 1. Columns that can be worked out are NULL: a correlation that is the
-- stream's own key, a causation, digest or trace that there was none of.

CREATE TABLE log (
    one            INTEGER PRIMARY KEY CHECK (one = 1),
    id             BLOB    NOT NULL,  -- made at the log's birth, kept by every copy and import
    incarnation    BLOB    NOT NULL,  -- of this file alone
    format_version INTEGER NOT NULL,
    created_at     INTEGER NOT NULL   -- microseconds since 1970, as every time here
) STRICT;

-- Streams are named once. The key comes first in the index because keys sort by time, so that
-- new streams go to its right-hand end.
CREATE TABLE streams (
    id     INTEGER PRIMARY KEY,
    key    BLOB    NOT NULL,
    kind   INTEGER NOT NULL,
    tenant BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX streams_by_key ON streams (key, kind, tenant);

CREATE TABLE event_types (
    id   INTEGER PRIMARY KEY,
    name TEXT    NOT NULL UNIQUE
) STRICT;

CREATE TABLE events (
    position       INTEGER PRIMARY KEY,
    stream         INTEGER NOT NULL,
    version        INTEGER NOT NULL,
    type           INTEGER NOT NULL,
    schema_version INTEGER NOT NULL,
    payload        TEXT    NOT NULL,
    command        BLOB    NOT NULL,
    digest         BLOB,
    actor          BLOB    NOT NULL,
    correlation    BLOB,
    causation      BLOB,
    trace          BLOB,
    occurred_at    INTEGER NOT NULL,
    recorded_at    INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_by_stream ON events (stream, version);

CREATE TABLE snapshots (
    stream        INTEGER PRIMARY KEY,
    version       INTEGER NOT NULL,
    state_version INTEGER NOT NULL,
    state         TEXT    NOT NULL
) STRICT;

-- For people with a SQLite shell.
CREATE VIEW event_log AS
SELECT e.position,
       CASE s.kind WHEN 1 THEN 'menu' WHEN 2 THEN 'serving' WHEN 3 THEN 'order' WHEN 4 THEN 'payment'
                   WHEN 5 THEN 'wallet' WHEN 6 THEN 'subsidy' WHEN 7 THEN 'company' ELSE s.kind END AS kind,
       lower(hex(s.key)) AS stream, lower(hex(s.tenant)) AS tenant,
       e.version, t.name AS type, e.schema_version, e.payload,
       strftime('%Y-%m-%dT%H:%M:%fZ', e.occurred_at / 1e6, 'unixepoch') AS occurred_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', e.recorded_at / 1e6, 'unixepoch') AS recorded_at,
       lower(hex(e.command)) AS command, lower(hex(e.actor)) AS actor,
       lower(hex(coalesce(e.correlation, s.key))) AS correlation
FROM events e JOIN streams s ON s.id = e.stream JOIN event_types t ON t.id = e.type;
