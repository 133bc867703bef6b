-- For people. No format of the log counts it: a start makes it anew where it lacks the name of a kind.
CREATE OR REPLACE VIEW tiffin_log.event_log AS
SELECT e.position,
       CASE s.kind WHEN 1 THEN 'menu' WHEN 2 THEN 'serving' WHEN 3 THEN 'order' WHEN 4 THEN 'payment'
                   WHEN 5 THEN 'wallet' WHEN 6 THEN 'subsidy' WHEN 7 THEN 'company' WHEN 8 THEN 'policy'
                   WHEN 9 THEN 'grant' WHEN 10 THEN 'diner' WHEN 11 THEN 'books' WHEN 12 THEN 'correction'
                   WHEN 13 THEN 'top_up' WHEN 14 THEN 'payout' WHEN 15 THEN 'invoice' ELSE s.kind::text END AS kind,
       s.key AS stream, s.tenant, e.version, t.name AS type, e.schema_version, e.payload,
       e.occurred_at, e.recorded_at, e.command, e.actor, coalesce(e.correlation, s.key) AS correlation,
       e.causation, encode(e.trace, 'hex') AS trace
FROM tiffin_log.events e
JOIN tiffin_log.streams s ON s.id = e.stream
JOIN tiffin_log.event_types t ON t.id = e.type;
COMMENT ON VIEW tiffin_log.event_log IS 'The events with everything by name, for people.';
