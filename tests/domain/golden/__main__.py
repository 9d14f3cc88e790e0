"""Writes the golden files that are missing: `python -m tests.domain.golden`."""

from tests.domain.golden.sample import FOLDER, write_missing

for path in write_missing():
    print(path.relative_to(FOLDER))
