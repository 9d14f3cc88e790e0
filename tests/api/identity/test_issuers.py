"""The issuers file: what is written in it, and what it must not say."""

from pathlib import Path

import pytest

from api.identity.issuers import NO_ISSUERS, Issuer, load_issuers
from api.toml_file import BadFile

GOOD = """\
[issuers.acme]
iss = "https://login.acme.example"
jwks_url = "https://login.acme.example/jwks.json"
audience = "form-state"
algorithm = "RS256"
"""


def written(folder: Path, text: str) -> Path:
    """A file of this text."""
    path = folder / "issuers.toml"
    path.write_text(text, "utf-8")
    return path


def test_defaults(tmp_path: Path) -> None:
    """What is left out is the safe choice."""
    found = load_issuers(written(tmp_path, GOOD))
    assert dict(found) == {
        "https://login.acme.example": Issuer(
            name="acme",
            iss="https://login.acme.example",
            jwks_url="https://login.acme.example/jwks.json",
            audience="form-state",
            algorithm="RS256",
            leeway_s=30,
            max_role="user",
            organization=None,
            project="ignore",
            role_claim="role",
            project_claim="project_id",
            refresh_s=60,
            cooldown_s=10,
        )
    }
    assert load_issuers(None) is NO_ISSUERS


def test_several(tmp_path: Path) -> None:
    """Each with keys, algorithm and bounds of its own; http on loopback, by any of its names."""
    second = """\
[issuers.here]
iss = "here"
jwks_url = "http://{host}:9200/jwks.json"
audience = "form-state"
algorithm = "EdDSA"
leeway_s = 0
max_role = "admin"
project = "require"
role_claim = "https://acme.example/role"
organization = "org_0123456789abcdef0123456789abcdef"
"""
    for host in ("127.0.0.1", "127.3.2.1", "localhost", "[::1]"):
        found = load_issuers(written(tmp_path, GOOD + second.format(host=host)))
        assert [(each.name, each.algorithm, each.max_role) for each in found.values()] == [
            ("acme", "RS256", "user"),
            ("here", "EdDSA", "admin"),
        ]


@pytest.mark.parametrize(
    ("line", "wrong", "place"),
    [
        (2, 'iss = ""', "issuers.acme.iss"),
        (2, 'iss = "formstate"', "issuers.acme.iss"),
        (3, 'jwks_url = "http://login.acme.example/jwks.json"', "issuers.acme.jwks_url"),
        (3, 'jwks_url = "http://127.0.0.1.acme.example/"', "issuers.acme.jwks_url"),
        (3, 'jwks_url = "http://10.0.0.1/jwks.json"', "issuers.acme.jwks_url"),
        (3, 'jwks_url = "file:///etc/passwd"', "issuers.acme.jwks_url"),
        (3, 'jwks_url = "https://user@login.acme.example/"', "issuers.acme.jwks_url"),
        (3, 'jwks_url = "https://login.acme.example:x/"', "issuers.acme.jwks_url"),
        (3, 'jwks_url = "https:///jwks"', "issuers.acme.jwks_url"),
        (3, 'jwks_url = "https://login.acme.example/a b"', "issuers.acme.jwks_url"),
        (5, 'algorithm = "none"', "issuers.acme.algorithm"),
        (5, 'algorithm = "HS256"', "issuers.acme.algorithm"),
        (5, 'algorithm = ["RS256", "ES256"]', "issuers.acme.algorithm"),
        (6, "leeway_s = -1", "issuers.acme.leeway_s"),
        (6, "leeway_s = 301", "issuers.acme.leeway_s"),
        (6, 'max_role = "root"', "issuers.acme.max_role"),
        (6, 'project = "maybe"', "issuers.acme.project"),
        (6, 'organization = "acme"', "issuers.acme.organization"),
        (6, 'role_claim = "sub"', "issuers.acme.role_claim"),
        (6, 'role_claim = ["sub", "role"]', "issuers.acme.role_claim"),
        (6, "role_claim = []", "issuers.acme.role_claim"),
        (6, 'role_claim = ["a", 1]', "issuers.acme.role_claim"),
        (6, 'project_claim = "role"', "issuers.acme.project_claim"),
        (6, "refresh_s = 1", "issuers.acme.refresh_s"),
        (6, "cooldown_s = 0", "issuers.acme.cooldown_s"),
        (6, 'name = "acme"', "issuers.acme.name"),
        (6, "secret = 1", "issuers.acme"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, line: int, wrong: str, place: str) -> None:
    """The start ends there; nothing is guessed."""
    lines = GOOD.splitlines()
    lines[line - 1 : line] = [wrong]
    path = written(tmp_path, "\n".join(lines))
    with pytest.raises(BadFile) as caught:
        load_issuers(path)
    told = str(caught.value)
    assert place in told
    assert told.startswith(f"{path}:{line}: " if place != "issuers.acme" else f"{path}:")


@pytest.mark.parametrize("key", ["iss", "jwks_url", "audience", "algorithm"])
def test_what_must_be_there(tmp_path: Path, key: str) -> None:
    """None of them has a default."""
    text = "\n".join(line for line in GOOD.splitlines() if not line.startswith(key))
    with pytest.raises(BadFile, match=key):
        load_issuers(written(tmp_path, text))


def test_one_issuer_is_one_table(tmp_path: Path) -> None:
    """Else nobody could say which algorithm and which role count."""
    twice = GOOD + GOOD.replace("[issuers.acme]", "[issuers.again]")
    with pytest.raises(BadFile, match=r"issuers\.again\.iss: \[issuers\.acme\] has the same"):
        load_issuers(written(tmp_path, twice))


@pytest.mark.parametrize("text", ["", "[issuers]", "issuers = 1", "[plans.acme]\n", "[issuers.acme", "\xff"])
def test_no_issuers(tmp_path: Path, text: str) -> None:
    """A file that says nothing, or is none, is a mistake too."""
    path = tmp_path / "issuers.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadFile, match=r"issuers\.toml"):
        load_issuers(path)
