"""Quotas as the API counts, warns and refuses."""
