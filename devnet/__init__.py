"""Form-State in one process, and the throw-away real servers that tests, benchmarks and `make stack` share."""
