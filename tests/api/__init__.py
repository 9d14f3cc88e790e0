"""The HTTP process: its parts alone, then whole on real sockets."""
