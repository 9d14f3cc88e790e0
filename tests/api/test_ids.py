"""Ids: of the form that they promise, and never twice."""

import os
import time
import uuid

from api.ids import FETCHED, random_hex, uuid7


def test_uuid7_is_one_and_carries_the_time() -> None:
    """RFC 9562, 5.7: version 7, the variant, milliseconds first; no two are the same."""
    before = time.time_ns() // 1_000_000
    made = [uuid.UUID(uuid7()) for _ in range(3 * FETCHED)]
    after = time.time_ns() // 1_000_000
    assert {(each.version, each.variant) for each in made} == {(7, uuid.RFC_4122)}
    assert all(before <= each.int >> 80 <= after for each in made)
    assert len(set(made)) == len(made)
    assert {str(each)[19] for each in made} == set("89ab")


def test_a_forked_process_makes_ids_of_its_own() -> None:
    """What the parent has fetched and not used yet is not the child's."""
    random_hex()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, random_hex().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 64).decode() != random_hex()
    os.close(reading)
    os.close(writing)
