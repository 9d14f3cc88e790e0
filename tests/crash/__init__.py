"""Real processes of the product, killed, frozen and cut off under load; afterwards everything is audited."""
