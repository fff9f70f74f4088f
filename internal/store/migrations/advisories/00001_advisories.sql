-- +goose Up

-- One row an advisory in force. Times are UTC text of one width, so that they
-- sort; same are the ids of the same flaw, between spaces.
CREATE TABLE advisories (
    id        TEXT PRIMARY KEY,
    modified  TEXT NOT NULL,
    published TEXT NOT NULL,
    summary   TEXT NOT NULL,
    rating    TEXT NOT NULL,
    links     TEXT NOT NULL,
    same      TEXT NOT NULL
);

-- What an advisory says of a package. ecosystem and name are canonical
-- (advisory.Key); ranges and versions as package advisory encodes them.
CREATE TABLE advisory_packages (
    ecosystem TEXT NOT NULL,
    name      TEXT NOT NULL,
    advisory  TEXT NOT NULL,
    ranges    TEXT NOT NULL,
    versions  TEXT NOT NULL,
    rating    TEXT NOT NULL
);
CREATE INDEX advisory_packages_by_name ON advisory_packages (ecosystem, name);
CREATE INDEX advisory_packages_by_advisory ON advisory_packages (advisory);

-- Which record is in which ecosystem's feed, withdrawn ones too, with the time
-- the feed gave: what an update compares with.
CREATE TABLE advisory_feed (
    ecosystem TEXT NOT NULL,
    advisory  TEXT NOT NULL,
    modified  TEXT NOT NULL,
    PRIMARY KEY (ecosystem, advisory)
);
CREATE INDEX advisory_feed_by_advisory ON advisory_feed (advisory);

-- Alias groups.
CREATE TABLE vulnerabilities (
    id      TEXT PRIMARY KEY,
    aliases TEXT NOT NULL,
    rating  TEXT NOT NULL
);
CREATE TABLE advisory_vulnerabilities (
    advisory      TEXT NOT NULL,
    vulnerability TEXT NOT NULL,
    PRIMARY KEY (advisory, vulnerability)
);

CREATE TABLE kev (
    cve        TEXT PRIMARY KEY,
    added      TEXT NOT NULL,
    ransomware INTEGER NOT NULL
);
CREATE TABLE epss (
    cve        TEXT PRIMARY KEY,
    score      DOUBLE PRECISION NOT NULL,
    percentile DOUBLE PRECISION NOT NULL
);

-- One row an ecosystem's feed (without suffix) that was ever taken in.
CREATE TABLE advisory_sources (
    ecosystem TEXT PRIMARY KEY,
    mirror    TEXT NOT NULL,
    starter   INTEGER NOT NULL,
    synced_at TEXT NOT NULL,
    records   INTEGER NOT NULL,
    newest    TEXT NOT NULL
);

-- One row an ecosystem and release that advisories name.
CREATE TABLE advisory_coverage (
    ecosystem  TEXT PRIMARY KEY,
    advisories INTEGER NOT NULL
);

-- The lists that rank vulnerabilities: kev, epss.
CREATE TABLE advisory_lists (
    name      TEXT PRIMARY KEY,
    location  TEXT NOT NULL,
    synced_at TEXT NOT NULL,
    entries   INTEGER NOT NULL
);
