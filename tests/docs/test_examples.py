"""Every example of every document runs, and prints what the document shows."""

from pathlib import Path

import pytest

from tests.docs.comparing import differences
from tests.docs.markdown import DOCUMENTS, Block, blocks_of, examples_of
from tests.docs.running import Demo, outputs

TRIED = [document for document in DOCUMENTS if any(block.runs for block in blocks_of(document))]


@pytest.mark.parametrize("document", TRIED)
def test_examples_print_what_is_shown(document: str, demo: Demo, tmp_path: Path) -> None:
    """A reader who pastes a document's examples, one after the other, sees what it says."""
    examples = examples_of(blocks_of(document))
    wrong = []
    for example, printed in zip(examples, outputs(demo, examples, tmp_path), strict=True):
        if example.output is None:
            wrong += [f"{example.block.place}: prints what is not shown: {printed!r}"] if printed else []
        else:
            found = differences(example.output.language, example.output.text, printed)
            wrong += [f"{example.output.place}: {each}" for each in found]
    assert not wrong, "\n".join(wrong)


def test_printout_is_what_devnet_prints(demo: Demo) -> None:
    """Every printout in the documents is the real one."""
    shown = [block for document in DOCUMENTS for block in blocks_of(document) if block.comment == "printout"]
    assert shown
    for block in shown:
        assert differences("text", block.text, demo.left_out(demo.printout)) == [], block.place


def test_first_documents_are_tried() -> None:
    """A newcomer's way is in the documents that run, not beside them."""
    assert {"README.md", "docs/quickstart.md", "docs/api.md"} <= set(TRIED)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_is_not_run_says_why(document: str) -> None:
    """A block is left out for a reason that is written beside it, and every block has a language."""
    for block in blocks_of(document):
        assert block.language or _is_picture(block), f"{block.place}: which language is it?"
        reason = block.comment.removeprefix("not run: ")
        assert not block.comment.startswith("not run") or len(reason.split()) > 1, block.place


def _is_picture(block: Block) -> bool:
    return any(sign in block.text for sign in "┌▶│") or block.document.startswith("docs/decisions/")
