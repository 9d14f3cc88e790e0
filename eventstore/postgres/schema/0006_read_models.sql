-- Read models that hold all of the log, by the version of their projection (docs/decisions/0031-versions-of-read-models.md).
-- One that is not in here was never made from a log that had events already, and waits for `rebuild`.
CREATE TABLE read_models (
    collection text COLLATE "C" PRIMARY KEY,
    version integer NOT NULL
);
