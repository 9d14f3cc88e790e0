"""The store in PostgreSQL: one file per table, its SQL as constants beside their use; `store.py` puts them together."""
