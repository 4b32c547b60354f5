"""
The inputs that fuzzing has found, once more through each harness, and faults that it has to see.
"""

import runpy
from pathlib import Path

import pytest

from mailer.alias_list import AliasList
from mailer.reply import LOCAL_ERROR_451, UNKNOWN_RECIPIENT_550

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
TARGETS = sorted(folder.name for folder in CORPUS.iterdir())
MAX_FILES = 130  # of a harness
MAX_OCTETS = 200_000  # of all


def replay(target):
    """
    Let a harness, made anew, check each input of its corpus.
    """
    check = runpy.run_path(str(HERE / f"{target}.py"))["check"]
    for path in sorted((CORPUS / target).iterdir()):
        try:
            check(path.read_bytes())
        except Exception as error:
            error.add_note(f"with {path.relative_to(HERE)}")
            raise


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_passes(target):
    """
    What was found once holds.
    """
    replay(target)


@pytest.mark.parametrize(
    ("target", "name", "fault"),
    [
        ("address", "mailer.address.decode", lambda octets: octets.decode("latin-1")),
        ("config", "mailer.config.Token.__repr__", lambda token: token.value),
        ("lists", "mailer.alias_list.fold", str),
        ("patch", "mailer.alias_list.fold", str),
        ("lmtp", "mailer.lmtp.MAX_ERRORS", 49),
        ("lmtp", "mailer.lmtp.RECIPIENT_OK_250", LOCAL_ERROR_451),
        ("message", "mailer.message.one_line", lambda address: f"{address}\r\nDelivered-To: b@x"),
        ("socketmap", "mailer.socketmap._MAPS", {}),
        ("socketmap", "mailer.alias_table.fold", str),
        ("verdict", "mailer.verdict.Reply", lambda *_: UNKNOWN_RECIPIENT_550),
        ("webhook", "mailer.web.parse_mapping", lambda _: AliasList(transport={"A@x": ""})),
    ],
)
def test_a_fault_is_seen(monkeypatch, target, name, fault):
    """
    A harness that finds nothing has looked.
    """
    monkeypatch.setattr(name, fault)
    with pytest.raises(AssertionError):
        replay(target)


def test_every_harness_has_a_corpus():
    """
    And it stays small.
    """
    harnesses = {path.stem for path in HERE.glob("[a-z]*.py")} - {"cutting", "test_corpus"}
    assert harnesses == set(TARGETS)
    files = {target: list((CORPUS / target).iterdir()) for target in TARGETS}
    assert all(0 < len(several) <= MAX_FILES for several in files.values())
    assert sum(file.stat().st_size for several in files.values() for file in several) <= MAX_OCTETS
