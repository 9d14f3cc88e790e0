"""Links between the documents lead somewhere."""

import re

import pytest

from tests.docs.markdown import DOCUMENTS, ROOT

_LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")
_CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    """Every file that a document links to, or names by its path in `docs/`, is there."""
    path = ROOT / document
    text = _CODE.sub("", path.read_text("utf-8"))
    linked = [path.parent / target for target in _LINK.findall(text)]
    named = [ROOT / name for name in re.findall(r"`(docs/[\w/.-]+)`", text)]
    assert [str(target.relative_to(ROOT)) for target in (*linked, *named) if not target.exists()] == []
