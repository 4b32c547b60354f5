"""
The configuration file on disk.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from mailer.config import Config, parse
from mailer.errors import ConfigError, Fault
from mailer.exposure import Exposure, changeable_folder, exposure_of


def load(path: str, environ: Mapping[str, str] = os.environ) -> Config:
    """
    Read a configuration file, and the files named in it; warn of those that others may use.

    They are used all the same: that others could have changed them does not mean that they
    did, a refusal would stop all mail, and whoever may write there can stop it anyway.

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
    config = parse(text, path, lambda name: Path(name).read_text("utf-8"), environ)
    _warn(exposures(path, config, environ))
    return config


def exposures(path: str, config: Config, environ: Mapping[str, str]) -> list[Exposure]:
    """
    Return what others may do to the files of a configuration, or in the folders they lie in.

    Args:
        path: Of the file that the configuration was read from; secret if a token stands in it.
        environ: What lies in ``CREDENTIALS_DIRECTORY`` is looked after by systemd.
    """
    files = {path: not all(server.token_file for server in config.servers)}
    credentials = environ.get("CREDENTIALS_DIRECTORY")
    for server in config.servers:
        file = server.token_file
        if file and not (credentials and file.startswith(f"{credentials}/")):
            files[file] = True
    found = [exposure_of(file, is_secret) for file, is_secret in files.items()]
    found += [changeable_folder(file) for file in files]
    return list(dict.fromkeys(exposure for exposure in found if exposure is not None))


def _warn(exposures: Iterable[Exposure]) -> None:
    for exposure in exposures:
        from twisted.logger import Logger  # late: most commands have no need of it

        log = Logger()
        if exposure.is_grave:
            log.error("others may change the configuration: {exposure}", exposure=str(exposure))
        else:
            log.warn("the token may be known to others: {exposure}", exposure=str(exposure))
