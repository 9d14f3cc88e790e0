"""One file for each noun, found by looking: each defines `ROUTES`, a tuple of `api.route.Route`."""
