"""
Who else may read or change what only its owner should.
"""

import grp
import os
import pwd
import shlex
import stat
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exposure:
    """
    A file or folder that is open to more people than it should be.

    Args:
        problem: Who may do what.
        commands: What mends it, for a shell.
        is_grave: They can change it, not only read it.
    """

    path: str
    problem: str
    commands: str
    is_grave: bool

    def __str__(self) -> str:
        return f"{self.path} {self.problem}; run: {self.commands}"


def exposure_of(
    path: str,
    is_secret: bool = False,
    owners: Collection[int] | None = (),
    groups: Collection[int] | None = (),
    owner: str = "root",
) -> Exposure | None:
    """
    Say who may change a file or folder, or read it where it is secret; None for nobody.

    Root and the user of this process may do everything. An access control list shows
    itself as permissions of the group. A folder that every user may not enter protects
    from every user what is below it.

    Args:
        path: A symbolic link stands for what it leads to.
        owners: Further users who may change it; None for all of them.
        groups: Groups that may write it besides root's; None for all of them.
        owner: Whom it should belong to.
    """
    try:
        status = os.stat(path)
    except OSError:
        return None
    problems, modes, commands = [], [], []
    if owners is not None and status.st_uid not in {0, os.geteuid(), *owners}:
        problems.append(f"belongs to user {user_name(status.st_uid)}")
        commands.append(f"chown {owner} {shlex.quote(path)}")
    if status.st_mode & stat.S_IWGRP and groups is not None and status.st_gid not in {0, *groups}:
        problems.append(f"may be changed by group {group_name(status.st_gid)}")
        modes.append("g-w")
    others = _said(status.st_mode, is_secret) if _is_reachable(path) else ""
    if others:
        problems.append(f"may be {others} by every user")
        modes.append("o=" if is_secret else "o-w")
    if modes:
        commands.append(f"chmod {','.join(modes)} {shlex.quote(path)}")
    if not problems:
        return None
    return Exposure(path, ", and ".join(problems), " && ".join(commands), others != "read")


def changeable_folder(path: str) -> Exposure | None:
    """
    Return the first folder on the way to a file that others may change; None if there is none.

    Whoever may change one of them may put something else in the place of what lies in it.
    """
    folder = os.path.dirname(os.path.realpath(path))
    found = exposure_of(folder)
    while found is None and folder != "/":
        folder = os.path.dirname(folder)
        found = exposure_of(folder)
        if found is not None and os.stat(folder).st_mode & stat.S_ISVTX:
            found = None  # such as /tmp: nobody may take the place of what others have in it
    return found


def postfix_user() -> tuple[int, ...]:
    """
    Return the number of Postfix's user, who may do to mail whatever he wants; none without Postfix.
    """
    try:
        return (pwd.getpwnam("postfix").pw_uid,)
    except KeyError:
        return ()


def user_name(number: int) -> str:
    """
    Return the name of a user, or its number where it has none.
    """
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def group_name(number: int) -> str:
    """
    Return the name of a group, or its number where it has none.
    """
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _is_reachable(path: str) -> bool:
    """
    Say whether every user may enter the folders on the way to a file.
    """
    folder = os.path.realpath(path)
    while folder != "/":
        folder = os.path.dirname(folder)
        if not os.stat(folder).st_mode & stat.S_IXOTH:
            return False
    return True


def _said(mode: int, is_secret: bool) -> str:
    """
    Return what every user may do to a file, as far as it matters.
    """
    said = ["read"] if is_secret and mode & stat.S_IROTH else []
    return " and ".join([*said, "changed"] if mode & stat.S_IWOTH else said)
