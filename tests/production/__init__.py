"""The product as it is deployed: API and worker processes on a real Kafka and PostgreSQL, asked from outside."""
