-- How often subjects asked, by cells of the windows that limits count in; see eventstore/rates.py.
-- No index has a column that counting changes, and pages keep room, so that counts are updated in place (HOT).
CREATE TABLE rate_cells (
    subject text COLLATE "C" NOT NULL,
    window_s integer NOT NULL,
    cell bigint NOT NULL,
    ends_at bigint NOT NULL,
    admitted bigint NOT NULL,
    refused bigint NOT NULL,
    offsets_ms bigint NOT NULL,
    last_at bigint NOT NULL,
    unreported boolean NOT NULL,
    PRIMARY KEY (subject, window_s, cell)
) WITH (fillfactor = 50);
CREATE INDEX rate_cells_by_age ON rate_cells (ends_at);
CREATE INDEX rate_cells_unreported ON rate_cells (ends_at, subject) WHERE unreported;

-- API processes that live: they share the limits while the database is away.
CREATE TABLE api_processes (
    process text COLLATE "C" PRIMARY KEY,
    seen_at bigint NOT NULL
);
CREATE INDEX api_processes_seen ON api_processes (seen_at);
