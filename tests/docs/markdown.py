"""Reads the documents: their fenced blocks, and the invisible comment that may stand before each.

`<!-- not run: why -->` leaves a block out, `<!-- file: path -->` says that it is the whole of a file, and
`<!-- printout -->` that devnet prints it.
"""

import re
from pathlib import Path

from msgspec import Struct

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md"))
    if path.exists()
)
RUNNABLE = ("sh", "python")
OUTPUT = ("json", "text")

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<language>\w*)[ ]*$")
_COMMENT = re.compile(r"^ *<!-- (?P<text>.*) -->$")


class Block(Struct, frozen=True, kw_only=True):
    """A fenced block. `line` is its fence's, `comment` the invisible comment right before it."""

    document: str
    line: int
    language: str
    comment: str
    text: str

    @property
    def place(self) -> str:
        """Where it stands, for messages."""
        return f"{self.document}:{self.line}"

    @property
    def runs(self) -> bool:
        """Whether it is an example to be run as it stands."""
        return self.language in RUNNABLE and not self.comment.startswith(("not run: ", "file: "))

    @property
    def file(self) -> str | None:
        """The path of the file whose whole text it is."""
        return self.comment.removeprefix("file: ") if self.comment.startswith("file: ") else None


class Example(Struct, frozen=True, kw_only=True):
    """A block to be run, and the block right after it that shows what it prints, if there is one."""

    block: Block
    output: Block | None


def blocks_of(document: str) -> list[Block]:
    """All fenced blocks of a document, in order. A fence that never ends is a mistake."""
    return parsed(document, (ROOT / document).read_text("utf-8"))


def parsed(document: str, text: str) -> list[Block]:
    """The fenced blocks of a text; their common indentation goes."""
    blocks: list[Block] = []
    opened: tuple[int, re.Match[str], str] | None = None
    inside: list[str] = []
    comment = ""
    for number, line in enumerate(text.splitlines(), start=1):
        fence = _FENCE.match(line)
        if opened is None:
            if fence is not None:
                opened, inside, comment = (number, fence, comment), [], ""
            elif line.strip():
                found = _COMMENT.match(line)
                comment = found["text"] if found else ""
        elif fence is not None and not fence["language"] and fence["ticks"] == opened[1]["ticks"]:
            start, head, said = opened
            content = "\n".join(each.removeprefix(head["indent"]) for each in inside)
            blocks.append(Block(document=document, line=start, language=head["language"], comment=said, text=content))
            opened = None
        else:
            inside.append(line)
    if opened is not None:
        raise ValueError(f"{document}:{opened[0]}: the block never ends")
    return blocks


def examples_of(blocks: list[Block]) -> list[Example]:
    """The blocks that run, each with its output."""
    following = [*blocks[1:], None]
    return [
        Example(block=block, output=after if after is not None and after.language in OUTPUT else None)
        for block, after in zip(blocks, following, strict=True)
        if block.runs
    ]


def table_of(document: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    lines = (ROOT / document).read_text("utf-8").splitlines()
    rows: list[list[str]] = []
    for line in lines[lines.index(heading) + 1 :]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
        elif rows or line.startswith("#"):
            break
    return rows[2:]
