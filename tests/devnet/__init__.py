"""Tests of the one-process server and of the throw-away real servers."""
