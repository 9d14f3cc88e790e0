-- What was refused, by command, for audit trails (docs/decisions/0019-audit-trail.md). Rows are only ever added.
CREATE TABLE refusals (
    shard integer NOT NULL,
    command_id text COLLATE "C" NOT NULL,
    attempt text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    command text NOT NULL,
    code text NOT NULL,
    actor bytea NOT NULL,
    mac bytea NOT NULL,
    PRIMARY KEY (shard, command_id, attempt)
);
CREATE INDEX refusals_of_account ON refusals (account, at, command_id, attempt);
