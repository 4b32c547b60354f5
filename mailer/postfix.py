"""
Postfix's own commands: postconf(1) and postmap(1).
"""

import os
import shutil
import subprocess
from collections.abc import Iterable

from mailer.errors import TemporaryError

DEFAULT_QUEUE_DIRECTORY = "/var/spool/postfix"
_PATH = os.defpath + ":/usr/sbin:/usr/local/sbin:/sbin"


def postconf(names: Iterable[str]) -> dict[str, str]:
    """
    Return Postfix's parameters as it has them now; empty where there is no Postfix.
    """
    program = _find("postconf")
    if program is None:
        return {}
    done = subprocess.run([program, *names], capture_output=True, text=True, check=False)
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def queue_directory() -> str:
    """
    Return the folder that Postfix's chrooted services see as their root.
    """
    return postconf(["queue_directory"]).get("queue_directory") or DEFAULT_QUEUE_DIRECTORY


def postmap(path: str, map_type: str) -> None:
    """
    Build the indexed file of a map file, beside it.

    Args:
        map_type: ``hash``, ``lmdb`` …; empty for Postfix's default.

    Raises:
        TemporaryError: There is no postmap, or it failed; says what it said.
    """
    program = _find("postmap")
    if program is None:
        raise TemporaryError("postmap was not found, is Postfix installed?")
    name = f"{map_type}:{path}" if map_type else path
    done = subprocess.run([program, name], capture_output=True, text=True, check=False)
    if done.returncode:
        raise TemporaryError(f"postmap {name}: {done.stderr.strip() or done.returncode}")


def _find(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path=_PATH)
