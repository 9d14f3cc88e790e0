"""The append-only truth: one interface, kept in memory or in Postgres, and how its bytes are read and written."""
