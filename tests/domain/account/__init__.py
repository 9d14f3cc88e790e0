"""The account and its parts."""
