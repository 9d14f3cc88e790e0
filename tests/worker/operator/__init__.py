"""Operators' commands on a real PostgreSQL, and on a real Kafka where the log itself is the matter."""
