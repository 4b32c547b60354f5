"""
``twistd odoo-mailer``: the daemon's service tree under twistd.
"""

from typing import Any, ClassVar

from twisted.python import usage

from mailer import config_file
from mailer.cli import DEFAULT_CONFIG
from mailer.config import Config
from mailer.errors import MailerError


class Options(usage.Options):
    """
    What stands behind ``twistd odoo-mailer``.
    """

    longdesc = "Push mail for Odoo: answers Postfix's lookups, delivers mail to Odoo."
    optParameters: ClassVar = [["config", "c", DEFAULT_CONFIG, "configuration file"]]

    def postOptions(self) -> None:
        """
        Read the configuration.
        """
        try:
            self.loaded: Config = config_file.load(self["config"])
        except MailerError as error:
            raise usage.UsageError(str(error)) from None


def makeService(options: Options) -> Any:
    """
    Return the daemon, an IService.
    """
    from twisted.internet import reactor

    from mailer.daemon import Daemon, Roles, install_hangup
    from mailer.descriptors import raise_descriptor_limit

    def load() -> Config:
        return config_file.load(options["config"])

    try:
        daemon = Daemon(load, options.loaded, Roles(), reactor, raise_descriptor_limit())
    except MailerError as error:
        raise SystemExit(f"odoo-mailer: {error}") from None
    install_hangup(reactor, daemon.reload)
    return daemon
