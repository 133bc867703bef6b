-- The event log, format 1, in a schema of its own so that views may stand beside it.

CREATE SCHEMA tiffin_log;
COMMENT ON SCHEMA tiffin_log IS 'The event log of tiffin: what was decided, in the order in which it was decided. Only tiffin writes it.';

CREATE TABLE tiffin_log.log (
    one            smallint    PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    id             uuid        NOT NULL,
    incarnation    uuid        NOT NULL,
    format_version integer     NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE tiffin_log.log IS 'Who this log is: one row.';
COMMENT ON COLUMN tiffin_log.log.id IS 'Made at the log''s birth, kept by every copy and import.';
COMMENT ON COLUMN tiffin_log.log.incarnation IS 'Of this database alone; views are bound to it.';
COMMENT ON COLUMN tiffin_log.log.format_version IS 'Which of the migrations have been applied; it rises when an older program could not go on.';

-- The row is rewritten with every batch, so its page has room for the next versions of it.
CREATE TABLE tiffin_log.head (
    one         smallint    PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    position    bigint      NOT NULL DEFAULT 0,
    streams     bigint      NOT NULL DEFAULT 0,
    recorded_at timestamptz,
    state       text        NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'copy', 'complete', 'sealed'))
) WITH (fillfactor = 10);
COMMENT ON TABLE tiffin_log.head IS 'Where the log ends: one row. Whoever appends locks it first, so it orders, numbers and dates what is committed.';
COMMENT ON COLUMN tiffin_log.head.position IS 'Position of the last event; 0 for an empty log.';
COMMENT ON COLUMN tiffin_log.head.streams IS 'The highest id of a stream.';
COMMENT ON COLUMN tiffin_log.head.recorded_at IS 'When the last event was recorded.';
COMMENT ON COLUMN tiffin_log.head.state IS 'open: takes appends. copy, complete: a copy of another log, unfinished or whole, which is only read. sealed: moved elsewhere.';

-- The key comes first in the index because keys sort by time, so that new streams go to its
-- right-hand end. A version changes in place while its page has room.
CREATE TABLE tiffin_log.streams (
    id      bigint   PRIMARY KEY,
    version bigint   NOT NULL,
    kind    smallint NOT NULL,
    key     uuid     NOT NULL,
    tenant  uuid     NOT NULL
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX streams_by_key ON tiffin_log.streams (key, kind, tenant);
COMMENT ON TABLE tiffin_log.streams IS 'The streams, named once each.';
COMMENT ON COLUMN tiffin_log.streams.id IS 'Dense, from 1; what events refer to.';
COMMENT ON COLUMN tiffin_log.streams.version IS 'Version of the stream''s last event.';
COMMENT ON COLUMN tiffin_log.streams.kind IS '1 menu, 2 serving, 3 order, 4 payment, 5 wallet, 6 subsidy, 7 company.';
COMMENT ON COLUMN tiffin_log.streams.key IS 'The id of what the stream is about; of a payment, its order''s.';
COMMENT ON COLUMN tiffin_log.streams.tenant IS 'Whose data it is.';

CREATE TABLE tiffin_log.event_types (
    id   smallint PRIMARY KEY,
    name text     NOT NULL UNIQUE
);
COMMENT ON TABLE tiffin_log.event_types IS 'The types of event that the log has, as aggregate.Name.';

-- Wide columns first: nothing is lost between them.
CREATE TABLE tiffin_log.events (
    position       bigint      PRIMARY KEY,
    stream         bigint      NOT NULL,
    version        bigint      NOT NULL,
    occurred_at    timestamptz NOT NULL,
    recorded_at    timestamptz NOT NULL,
    schema_version integer     NOT NULL,
    type           smallint    NOT NULL,
    command        uuid        NOT NULL,
    actor          uuid        NOT NULL,
    correlation    uuid,
    causation      uuid,
    digest         bytea,
    trace          bytea,
    payload        text        NOT NULL
);
CREATE UNIQUE INDEX events_by_stream ON tiffin_log.events (stream, version);
COMMENT ON TABLE tiffin_log.events IS 'The events. Rows are added and never changed. event_log shows them for people.';
COMMENT ON COLUMN tiffin_log.events.position IS 'The global number: dense, from 1.';
COMMENT ON COLUMN tiffin_log.events.stream IS 'tiffin_log.streams.id';
COMMENT ON COLUMN tiffin_log.events.version IS 'The number in the stream: dense, from 1.';
COMMENT ON COLUMN tiffin_log.events.occurred_at IS 'Business time, by which the books are kept.';
COMMENT ON COLUMN tiffin_log.events.recorded_at IS 'When the log took it; never decreases with the position.';
COMMENT ON COLUMN tiffin_log.events.schema_version IS 'Version of the payload''s shape.';
COMMENT ON COLUMN tiffin_log.events.type IS 'tiffin_log.event_types.id';
COMMENT ON COLUMN tiffin_log.events.command IS 'The command that decided it.';
COMMENT ON COLUMN tiffin_log.events.actor IS 'Who gave the command.';
COMMENT ON COLUMN tiffin_log.events.correlation IS 'What the whole chain is about; null when that is the stream''s own key.';
COMMENT ON COLUMN tiffin_log.events.causation IS 'The command that led to this one, if any.';
COMMENT ON COLUMN tiffin_log.events.digest IS 'Hash of what the caller sent, if the caller may repeat it.';
COMMENT ON COLUMN tiffin_log.events.trace IS 'W3C trace id of the request, if any.';
COMMENT ON COLUMN tiffin_log.events.payload IS 'JSON, kept byte by byte as it was recorded (jsonb would not): cast it to jsonb to look inside.';

CREATE TABLE tiffin_log.snapshots (
    stream        bigint  PRIMARY KEY,
    version       bigint  NOT NULL,
    state_version bigint  NOT NULL,
    state         text    NOT NULL
);
COMMENT ON TABLE tiffin_log.snapshots IS 'States of long streams, so that they load quickly. They may be deleted.';
COMMENT ON COLUMN tiffin_log.snapshots.stream IS 'tiffin_log.streams.id';
COMMENT ON COLUMN tiffin_log.snapshots.version IS 'The version of the stream after which the state was this.';
COMMENT ON COLUMN tiffin_log.snapshots.state_version IS 'Version of the state''s shape; another one is not read.';

CREATE VIEW tiffin_log.event_log AS
SELECT e.position,
       CASE s.kind WHEN 1 THEN 'menu' WHEN 2 THEN 'serving' WHEN 3 THEN 'order' WHEN 4 THEN 'payment'
                   WHEN 5 THEN 'wallet' WHEN 6 THEN 'subsidy' WHEN 7 THEN 'company' ELSE s.kind::text END AS kind,
       s.key AS stream, s.tenant, e.version, t.name AS type, e.schema_version, e.payload,
       e.occurred_at, e.recorded_at, e.command, e.actor, coalesce(e.correlation, s.key) AS correlation,
       e.causation, encode(e.trace, 'hex') AS trace
FROM tiffin_log.events e
JOIN tiffin_log.streams s ON s.id = e.stream
JOIN tiffin_log.event_types t ON t.id = e.type;
COMMENT ON VIEW tiffin_log.event_log IS 'The events with everything by name, for people.';

INSERT INTO tiffin_log.head DEFAULT VALUES;
