"""Read models: a pure fold per document with the queries on it, and the stores that keep the documents."""
