"""Purchases, over HTTP, with a payment provider on loopback."""
