"""What benchmarks are built of."""
