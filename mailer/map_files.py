"""
Map files for postmap(1), replaced whole: Postfix never reads half of one.
"""

import os
import tempfile
from pathlib import Path

from mailer.errors import TemporaryError
from mailer.exposure import changeable_folder
from mailer.postfix import postmap


def write_map_file(place: str, text: str) -> None:
    """
    Write a map file and its indexed file, each by one rename.

    Both are made in a folder beside, so that a failure leaves everything as it was.
    A symbolic link in the place of one of them is replaced, not followed.

    Args:
        place: Absolute path, with a ``type:`` of postmap(1) before it or not.

    Raises:
        TemporaryError: The folder cannot be written, postmap failed, or we are root and
            others may change the folder.
    """
    map_type, _, name = ("", "", place) if place.startswith("/") else place.partition(":")
    target = Path(name)
    _refuse_to_serve_others(name)
    try:
        with tempfile.TemporaryDirectory(prefix=".odoo-mailer-", dir=target.parent) as folder:
            source = Path(folder, target.name)
            _write(source, text)
            postmap(str(source), map_type)
            # The indexed file first: Postfix warns of one that is older than its source.
            for made in sorted(Path(folder).iterdir(), key=lambda path: path == source):
                made.chmod(0o644)
                made.replace(target.parent / made.name)
            _sync(target.parent)
    except OSError as error:
        raise TemporaryError(f"{error.filename or target}: {error.strerror}") from None


def _refuse_to_serve_others(name: str) -> None:
    """
    Refuse, as root, a folder in which others could have us, or postmap, write elsewhere.
    """
    found = changeable_folder(name) if os.geteuid() == 0 else None
    if found is not None:
        raise TemporaryError(f"{name} is not written by root: {found}")


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
