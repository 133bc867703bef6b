-- The keys of personal data, format 1. In a folder of its own, never in that of the log.

-- A person whose key is NULL was erased: no key is ever made for them again.
CREATE TABLE people (
    tenant BLOB NOT NULL,
    diner  BLOB NOT NULL,
    key    BLOB,
    PRIMARY KEY (tenant, diner)
) STRICT, WITHOUT ROWID;

-- Under which a tenant's outside ids are hashed.
CREATE TABLE tenants (
    tenant BLOB NOT NULL PRIMARY KEY,
    key    BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Which diner an outside id of a company names, by its hash.
CREATE TABLE outside_ids (
    tenant  BLOB NOT NULL,
    hash    BLOB NOT NULL,
    company BLOB NOT NULL,
    diner   BLOB NOT NULL,
    PRIMARY KEY (tenant, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX outside_ids_by_diner ON outside_ids (tenant, diner);
