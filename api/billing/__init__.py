"""Billing providers: whoever takes the money. They tell what was paid; the ledger here alone decides what it buys."""
