"""The store in memory, one file a sub-noun, by the names that `eventstore/postgres/` has."""
