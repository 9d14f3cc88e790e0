"""API and worker processes on a real Kafka and PostgreSQL, killed and asked twice."""
