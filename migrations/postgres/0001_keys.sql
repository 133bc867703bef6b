-- The keys of personal data, format 1. In a database of its own, never in that of the log.

CREATE SCHEMA tiffin_keys;
COMMENT ON SCHEMA tiffin_keys IS 'The keys that tiffin seals personal data with. Back it up apart from the log, and keep its backups for as short a time.';

CREATE TABLE tiffin_keys.format (
    one     smallint PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    version integer  NOT NULL
);
INSERT INTO tiffin_keys.format (version) VALUES (1);
COMMENT ON TABLE tiffin_keys.format IS 'Which of the migrations have been applied: one row.';

CREATE TABLE tiffin_keys.people (
    tenant uuid NOT NULL,
    diner  uuid NOT NULL,
    key    bytea CHECK (octet_length(key) = 32),
    PRIMARY KEY (tenant, diner)
);
COMMENT ON TABLE tiffin_keys.people IS 'A key a person. Where it is null the person was erased: none is ever made for them again.';

CREATE TABLE tiffin_keys.tenants (
    tenant uuid PRIMARY KEY,
    key    bytea NOT NULL CHECK (octet_length(key) = 32)
);
COMMENT ON TABLE tiffin_keys.tenants IS 'The key under which a tenant''s outside ids are hashed.';

CREATE TABLE tiffin_keys.outside_ids (
    tenant  uuid  NOT NULL,
    hash    bytea NOT NULL CHECK (octet_length(hash) = 32),
    company uuid  NOT NULL,
    diner   uuid  NOT NULL,
    PRIMARY KEY (tenant, hash)
);
CREATE INDEX outside_ids_by_diner ON tiffin_keys.outside_ids (tenant, diner);
COMMENT ON TABLE tiffin_keys.outside_ids IS 'Which diner an outside id of a company names, by its hash.';
