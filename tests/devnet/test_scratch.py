"""Scratch folders go away, also those of a process that could not remove its own."""

import os
import socket
import tempfile
import time
from pathlib import Path

import pytest

from devnet.scratch import cache_folder, free_port, is_public, scratch_folder


def test_a_scratch_folder_is_removed_with_what_is_in_it() -> None:
    """It can be entered by everybody, for a server that runs as somebody else."""
    with scratch_folder("try") as folder:
        (folder / "file").write_text("x")
        assert folder.stat().st_mode & 0o777 == 0o711
    assert not folder.exists()


def test_folders_of_the_dead_are_removed_and_those_of_the_living_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Who holds the lock is alive."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = tmp_path / "form-state-dead"
    dead.mkdir()
    (dead / ".owner").touch()
    with scratch_folder("alive") as alive:
        for folder in (dead, alive):
            os.utime(folder, (time.time() - 3600,) * 2)
        with scratch_folder():
            assert alive.exists()
            assert not dead.exists()


def test_the_cache_folder_honours_xdg_cache_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """As root only if everybody can enter it, because PostgreSQL will not run as root."""
    with scratch_folder() as folder:
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
        assert cache_folder() == folder / "form-state"
        closed = folder / "closed"
        closed.mkdir(mode=0o700)
        assert not is_public(closed / "below")


def test_a_free_port_can_be_bound_and_is_no_client_port() -> None:
    """A client that redials a stopped server must not be given the server's port as its own."""
    port = free_port()
    assert port < 32_768
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))
