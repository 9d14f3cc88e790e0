"""The list of decisions names each one, by the number and the words at its head."""

import re

from tests.docs.markdown import ROOT

FOLDER = ROOT / "docs/decisions"
_LISTED = re.compile(r"^- (\d+): \[(.+)\]\((.+)\)$", re.MULTILINE)


def test_every_decision_is_listed_once() -> None:
    """A number, a heading and a file each, in order."""
    heads = []
    for path in sorted(FOLDER.glob("0*.md")):
        head = re.match(r"# (\d+)\. (.+)\n", path.read_text("utf-8"))
        assert head is not None, path.name
        assert int(head[1]) == int(path.name[:4]), path.name
        heads.append((head[1], head[2], path.name))
    assert _LISTED.findall((FOLDER / "README.md").read_text("utf-8")) == heads
    assert len({number for number, _, _ in heads}) == len(heads)
