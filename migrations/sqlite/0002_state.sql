-- Format 2: what may be done with the log. 'copy': of another log, read and imported into.
-- 'complete': a copy with everything of its origin, which is sealed. 'sealed': it has moved elsewhere.

ALTER TABLE log ADD COLUMN state TEXT NOT NULL DEFAULT 'open'
    CHECK (state IN ('open', 'copy', 'complete', 'sealed'));
UPDATE log SET format_version = 2;
