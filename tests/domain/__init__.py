"""The rules, without any store: given events, when a command, then events."""
