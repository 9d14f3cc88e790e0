"""Form-State in one process, and throw-away real servers that tests, benchmarks and `make stack` share."""
