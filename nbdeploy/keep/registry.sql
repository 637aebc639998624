-- The registry. `PRAGMA user_version` is the number of this shape: raise it with a script that brings the shape before it here.
-- `seal` is a checksum of the row (keep/event.py, keep/version.py): SQLite does not notice a flipped byte inside a text.
PRAGMA application_id = 1852978288;
PRAGMA user_version = 1;

CREATE TABLE versions (
    seq INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    digest TEXT NOT NULL,
    bundle TEXT NOT NULL,
    created TEXT NOT NULL,
    bump TEXT NOT NULL,
    reason TEXT NOT NULL,
    gate TEXT NOT NULL,
    author TEXT NOT NULL,
    seal TEXT NOT NULL,
    UNIQUE (name, version)
);
CREATE INDEX versions_by_digest ON versions (digest);

CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    time TEXT NOT NULL,
    user TEXT NOT NULL,
    name TEXT NOT NULL,
    version TEXT,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    seal TEXT NOT NULL
);
CREATE INDEX events_by_name ON events (name, version, seq);
CREATE INDEX moves ON events (name, seq) WHERE kind IN ('live', 'rolled back', 'taken down');
CREATE INDEX marks ON events (name, seq) WHERE kind IN ('removed', 'imported', 'recovered', 'trusted', 'corrupt');

CREATE TABLE services (
    name TEXT PRIMARY KEY,
    facts TEXT NOT NULL
);

CREATE VIEW live AS
SELECT v.name AS name, v.version AS version, v.digest AS digest, v.bundle AS bundle
FROM (
    SELECT name, MAX(seq) AS seq FROM events WHERE kind IN ('live', 'rolled back', 'taken down') GROUP BY name
) AS last
JOIN events AS e ON e.seq = last.seq
JOIN versions AS v ON v.name = e.name AND v.version = e.version;

CREATE TRIGGER versions_are_kept BEFORE DELETE ON versions
BEGIN SELECT RAISE(ABORT, 'versions are never deleted'); END;
CREATE TRIGGER versions_never_change BEFORE UPDATE ON versions
BEGIN SELECT RAISE(ABORT, 'versions never change'); END;
CREATE TRIGGER events_are_kept BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END;
CREATE TRIGGER events_never_change BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events never change'); END;
