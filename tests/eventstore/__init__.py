"""One contract for all stores, and what only Postgres can get wrong."""
