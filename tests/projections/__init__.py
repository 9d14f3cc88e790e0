"""Read models, and the one contract of the stores that keep their documents."""
