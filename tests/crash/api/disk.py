"""Everything that the processes have left on disk, as bytes to be searched."""

import base64
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import asyncpg

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"


def spellings(text: str) -> Iterator[bytes]:
    """The ways in which a text could lie there unsealed: as it is, in lower case, in hex, in base64 at any offset."""
    raw = text.encode()
    yield raw
    yield raw.lower()
    yield raw.hex().encode()
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + raw)
        # Only the characters that depend on nothing before or after the text.
        whole = encoded[4 if offset else 0 : len(encoded) // 4 * 4 - 4]
        if len(whole) >= 12:
            yield whole
            yield whole.translate(bytes.maketrans(b"+/", b"-_"))


def found_in_files(folder: Path, needles: Iterable[bytes]) -> set[tuple[str, bytes]]:
    """(file, needle) for every needle in a file below the folder."""
    wanted = set(needles)
    found = set()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and (data := _written(path)):
            found |= {(path.relative_to(folder).as_posix(), needle) for needle in wanted if needle in data}
    return found


def _written(path: Path) -> bytes:
    """The file without its holes: Kafka's indexes are mostly those."""
    parts = []
    with path.open("rb") as file:
        end, at = os.fstat(file.fileno()).st_size, 0
        while at < end:
            try:
                begin = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:  # nothing but a hole up to the end
                break
            at = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
            parts.append(os.pread(file.fileno(), at - begin, begin))
    return b"".join(parts)


async def dumped(database_url: str) -> dict[str, bytes]:
    """All rows of all tables, as `pg_dump` would write them: values that the server keeps compressed are not here."""
    connection = await asyncpg.connect(database_url)
    try:
        tables = [row["tablename"] for row in await connection.fetch(TABLES)]
        dump = {}
        for table in tables:
            rows = await connection.fetch(f'SELECT * FROM "{table}"')  # noqa: S608
            dump[table] = b"\n".join(_bytes(value) for row in rows for value in row.values())
        await connection.execute("CHECKPOINT")
        return dump
    finally:
        await connection.close()


def _bytes(value: object) -> bytes:
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else str(value).encode()
