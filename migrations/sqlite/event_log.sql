CREATE VIEW event_log AS
-- For people with a SQLite shell. No format of the log counts it: each start makes it anew where it is another.
SELECT e.position,
       CASE s.kind WHEN 1 THEN 'menu' WHEN 2 THEN 'serving' WHEN 3 THEN 'order' WHEN 4 THEN 'payment'
                   WHEN 5 THEN 'wallet' WHEN 6 THEN 'subsidy' WHEN 7 THEN 'company' WHEN 8 THEN 'policy'
                   WHEN 9 THEN 'grant' WHEN 10 THEN 'diner' WHEN 11 THEN 'books' WHEN 12 THEN 'correction'
                   WHEN 13 THEN 'top_up' WHEN 14 THEN 'payout' WHEN 15 THEN 'invoice' ELSE s.kind END AS kind,
       lower(hex(s.key)) AS stream, lower(hex(s.tenant)) AS tenant,
       e.version, t.name AS type, e.schema_version, e.payload,
       strftime('%Y-%m-%dT%H:%M:%fZ', e.occurred_at / 1e6, 'unixepoch') AS occurred_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', e.recorded_at / 1e6, 'unixepoch') AS recorded_at,
       lower(hex(e.command)) AS command, lower(hex(e.actor)) AS actor,
       lower(hex(coalesce(e.correlation, s.key))) AS correlation
FROM events e JOIN streams s ON s.id = e.stream JOIN event_types t ON t.id = e.type
