"""
The configuration file on disk.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from mailer.config import Config, parse
from mailer.errors import ConfigError, Fault


def load(path: str, environ: Mapping[str, str] = os.environ) -> Config:
    """
    Read a configuration file, and the files named in it.

    Raises:
        ConfigError: Every fault, with file, line and key.
    """
    try:
        text = Path(path).read_text("utf-8")
    except FileNotFoundError:
        raise ConfigError(path, [Fault(0, "", "there is no such file; -c names another")]) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(path, [Fault(0, "", f"cannot be read: {reason}")]) from None
    return parse(text, path, lambda name: Path(name).read_text("utf-8"), environ)
