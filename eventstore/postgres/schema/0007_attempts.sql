-- Attempts that failed, by whoever made them; see eventstore/attempts.py.
CREATE TABLE attempts (
    subject text COLLATE "C" PRIMARY KEY,
    failures integer NOT NULL,
    last_at bigint NOT NULL
);
CREATE INDEX attempts_by_age ON attempts (last_at);
