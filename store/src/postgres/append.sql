-- Writes a batch in one statement: new streams, versions of known ones, events, snapshots, the head.
-- The caller holds the head's lock, and has worked out every number.
WITH named AS (
    INSERT INTO tiffin_log.streams (id, version, kind, key, tenant)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::uuid[], $5::uuid[])
), moved AS (
    UPDATE tiffin_log.streams AS s SET version = u.version
    FROM unnest($6::bigint[], $7::bigint[]) AS u (id, version) WHERE s.id = u.id
), written AS (
    INSERT INTO tiffin_log.events (position, stream, version, occurred_at, recorded_at, schema_version, type, command,
                                   actor, correlation, causation, digest, trace, payload)
    SELECT $8 + u.number, u.stream, u.version, u.occurred_at, u.recorded_at, u.schema_version, u.type, u.command,
           u.actor, u.correlation, u.causation, u.digest, u.trace, u.payload
    FROM unnest($9::bigint[], $10::bigint[], $11::timestamptz[], $12::timestamptz[], $13::integer[], $14::smallint[],
                $15::uuid[], $16::uuid[], $17::uuid[], $18::uuid[], $19::bytea[], $20::bytea[], $21::text[])
         WITH ORDINALITY
         AS u (stream, version, occurred_at, recorded_at, schema_version, type, command, actor, correlation, causation,
               digest, trace, payload, number)
), kept AS (
    INSERT INTO tiffin_log.snapshots (stream, version, state_version, state)
    SELECT * FROM unnest($22::bigint[], $23::bigint[], $24::bigint[], $25::text[])
    ON CONFLICT (stream) DO UPDATE
    SET version = excluded.version, state_version = excluded.state_version, state = excluded.state
)
UPDATE tiffin_log.head SET position = $26, streams = $27, recorded_at = $28
RETURNING pg_notify('tiffin_log', position::text)
