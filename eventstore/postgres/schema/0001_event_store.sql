-- The event store (docs/architecture.md). Every key begins with the shard. Times are microseconds since 1970 in UTC,
-- exactly as the domain counts them, but for leases, which are of this server's clock. Texts that are keys compare
-- bytewise, whatever the database's locale, as they do in Python.

CREATE TABLE meta (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    shards integer NOT NULL CHECK (shards > 0),
    level integer NOT NULL
);

CREATE TABLE workers (
    worker text COLLATE "C" PRIMARY KEY,
    alive_until timestamptz NOT NULL
);

-- Rewritten by every batch: room in the page keeps all of its versions there.
CREATE TABLE shard_head (
    shard integer PRIMARY KEY,
    owner text COLLATE "C",
    lease_until timestamptz NOT NULL DEFAULT '-infinity',
    lease_s double precision NOT NULL DEFAULT 0,
    epoch bigint NOT NULL DEFAULT 0,
    next_offset bigint NOT NULL DEFAULT 0,
    seq bigint NOT NULL DEFAULT 0,
    last_digest bytea NOT NULL DEFAULT '',
    stopped text,
    adopt_until bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20);

CREATE TABLE stream_head (
    shard integer NOT NULL,
    stream text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    mac bytea NOT NULL,
    due_at bigint,
    snapshot bytea,
    snapshot_at bigint NOT NULL,
    snapshot_version integer NOT NULL,
    quarantined boolean NOT NULL,
    PRIMARY KEY (shard, stream)
) WITH (fillfactor = 70);
CREATE INDEX stream_head_due ON stream_head (shard, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX stream_head_quarantined ON stream_head (stream) WHERE quarantined;

CREATE TABLE events (
    shard integer NOT NULL,
    stream text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    seq bigint NOT NULL,
    at bigint NOT NULL,
    type text NOT NULL,
    schema_version integer NOT NULL,
    payload bytea NOT NULL,
    metadata bytea NOT NULL,
    mac bytea NOT NULL,
    PRIMARY KEY (shard, stream, version)
);
CREATE UNIQUE INDEX events_in_order ON events (shard, seq);

CREATE TABLE outcomes (
    shard integer NOT NULL,
    command_id text COLLATE "C" NOT NULL,
    status text NOT NULL,
    attempt text NOT NULL,
    stream text NOT NULL,
    at bigint NOT NULL,
    fingerprint text,
    data bytea NOT NULL,
    secret text,
    refused text[] NOT NULL,
    curable boolean NOT NULL,
    PRIMARY KEY (shard, command_id)
);
CREATE INDEX outcomes_with_secret ON outcomes (at) WHERE secret IS NOT NULL;

CREATE TABLE claims (
    kind text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    shard integer NOT NULL,
    stream text COLLATE "C" NOT NULL,
    command_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (kind, value)
);

CREATE TABLE dead_letters (
    shard integer NOT NULL,
    "offset" bigint NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    record bytea NOT NULL,
    at bigint NOT NULL,
    command_id text,
    stream text COLLATE "C",
    state text NOT NULL,
    epoch bigint NOT NULL,
    PRIMARY KEY (shard, epoch, "offset")
);
CREATE INDEX dead_letters_in_order ON dead_letters (state, at, shard, epoch, "offset");
CREATE INDEX dead_letters_set_aside ON dead_letters (shard, stream, epoch, "offset")
    WHERE reason = 'quarantined' AND state = 'open';

CREATE TABLE data_keys (
    subject text COLLATE "C" PRIMARY KEY,
    master_id text NOT NULL,
    wrapped bytea NOT NULL
);

-- The key of HMACs that are looked up by: one for the life of the log.
CREATE TABLE lookup_key (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    subject text NOT NULL,
    master_id text NOT NULL,
    wrapped bytea NOT NULL
);

CREATE TABLE answers (
    shard integer NOT NULL,
    command_id text COLLATE "C" NOT NULL,
    attempt text NOT NULL,
    sealed bytea NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (shard, command_id)
);
CREATE INDEX answers_expiring ON answers (expires_at);
-- What is sealed cannot be compressed.
ALTER TABLE answers ALTER COLUMN sealed SET STORAGE EXTERNAL;

-- For people.
CREATE VIEW events_readable AS
SELECT
    shard, stream, version, seq,
    timestamptz 'epoch' + at * interval '1 microsecond' AS at,
    type, schema_version,
    convert_from(payload, 'UTF8')::jsonb AS payload,
    convert_from(metadata, 'UTF8')::jsonb AS metadata
FROM events;

CREATE VIEW outcomes_readable AS
SELECT
    shard, command_id, status, stream,
    timestamptz 'epoch' + at * interval '1 microsecond' AS at,
    convert_from(data, 'UTF8')::jsonb AS data,
    curable
FROM outcomes;
