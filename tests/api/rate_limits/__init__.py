"""Rate limits: the pure window, many processes over one store, and the whole application."""
