-- What is to be told to the outside (docs/decisions/0026-outbox.md): how far each reader has read each shard's log, and
-- the deliveries that it made of what it read. One that was taken is deleted; the log can make it again.
CREATE TABLE outbox_positions (
    reader text COLLATE "C" NOT NULL,
    shard integer NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (reader, shard)
) WITH (fillfactor = 50);

CREATE TABLE deliveries (
    target text COLLATE "C" NOT NULL,
    shard integer NOT NULL,
    account text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    part integer NOT NULL,
    id text COLLATE "C" NOT NULL,
    type text NOT NULL,
    body bytea NOT NULL,
    created_at bigint NOT NULL,
    due_at bigint NOT NULL,
    state text NOT NULL,
    attempts integer NOT NULL,
    first_sent_at bigint,
    claimed_by text COLLATE "C" NOT NULL,
    claimed_until bigint NOT NULL,
    problem text NOT NULL,
    PRIMARY KEY (target, shard, account, seq, part)
);
-- Whatever the planner knows of the table, those of one account can only be found by this one and the primary key.
CREATE INDEX deliveries_in_order ON deliveries (target, shard, account, seq, part) WHERE state = 'waiting';
CREATE INDEX deliveries_due ON deliveries (due_at) WHERE state = 'waiting';
CREATE INDEX deliveries_by_id ON deliveries (id);
CREATE INDEX deliveries_by_age ON deliveries (created_at);
