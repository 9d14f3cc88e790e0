-- Erasures are found again after a restore (eventstore/erasure.py), however long the log is.
CREATE INDEX events_erasing ON events (stream) WHERE type = 'user.erased';
