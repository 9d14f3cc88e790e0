"""The worker on the memory store: what becomes of records, good and bad."""
