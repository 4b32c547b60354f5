"""
The installation under test: its daemon reaches Odoo through the proxy.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from held_sockets import held_sockets
from installation import Installation
from messages import CHANGING, STEADY, TEAM, TEAM_TARGETS
from programs import Program, odoo_mailer, run
from waiting import eventually

TIMEOUT = 2.5  # seconds for one call of the daemon
REFRESH = 1  # seconds between polls

MAIN_CF = (
    "local_header_rewrite_clients=",  # a Message-ID that is missing stays so
    "enable_long_queue_ids=yes",  # none is used twice
    "in_flow_delay=0",
    "max_use=10",  # a process of smtpd remembers a failed lookup for as long as it lives
)


class CampaignHost(Installation):
    """
    Args:
        folder: See ``Postfix``.
        fronts: The URLs of the proxy.
        ca: PEM file of the authority of the proxy's certificate.
    """

    def __init__(self, folder: Path, fronts: Sequence[str], ca: Path) -> None:
        super().__init__(folder)
        self._stack = ExitStack()
        self._fronts = fronts
        self._front = 0
        self._ca = ca
        self.own_daemon = self.daemon
        self.cache = folder / "cache"
        settings = {**self.odoo, "http": "127.0.0.1:9"}  # what it edits, polling has to find
        config = folder / "sandbox.yaml"
        config.write_text(json.dumps(settings))
        place = ["--aliases", str(self.alias_file), "--mail", str(self.mail)]
        self.sandbox = Program(odoo_mailer(config, "sandbox", *place), folder / "sandbox.log")

    def settings(self, **changes: object) -> str:
        """
        Return the text of the daemon's configuration.
        """
        campaign = {
            "host": self._fronts[self._front],
            "ca": str(self._ca),
            "timeout": TIMEOUT,
            "refresh": REFRESH,
            "max_in_flight": 8,
        }
        return super().settings(**{**campaign, **changes})

    def install(self) -> None:
        """
        Write all files, start Postfix and Odoo's stand-in.
        """
        super().install()
        self.postfix.command("postconf", "-e", *MAIN_CF)
        self.postfix.command("postfix", "reload")
        self.start_sandbox()

    def reset_aliases(self) -> None:
        """
        Declare the steady addresses, and the first half of those that change.
        """
        self.aliases = {name: [] for name in (*STEADY, *CHANGING[: len(CHANGING) // 2])}
        self.aliases[TEAM] = list(TEAM_TARGETS)
        self.write_aliases()

    @property
    def holds_sockets(self) -> bool:
        """Whether the sockets are ours, and the daemon is given them."""
        return self.daemon is not self.own_daemon

    def change_hands(self) -> None:
        """
        Hold the sockets from now on, or leave them to the daemon, which is stopped.
        """
        self.daemon.stop()
        if self.holds_sockets:
            self._stack.close()
            self.daemon = self.own_daemon
            self.config.write_text(self.settings())
        else:
            self.daemon = self._stack.enter_context(held_sockets(self))

    def change_front(self) -> None:
        """
        Let the configuration name the next front of the proxy.
        """
        self._front = (self._front + 1) % len(self._fronts)
        config = Path(self.daemon.argv[-2])
        settings = json.loads(config.read_text())
        settings["host"] = self._fronts[self._front]
        config.write_text(json.dumps(settings))

    def refresh(self) -> None:
        """
        Have the daemon fetch the list now; after failures it polls seldom.
        """
        command = odoo_mailer(self.config, "refresh")
        eventually(lambda: run(command).returncode == 0, "the daemon to fetch the list")
        self.declare()

    def stop(self) -> None:
        """
        End all that was started.
        """
        try:
            self._stack.close()
        finally:
            self.daemon = self.own_daemon
            super().stop()

    def daemon_log(self) -> str:
        """
        Return all that the daemons wrote.
        """
        paths = (self.config.with_suffix(".log"), self.folder / "held.log")
        return "".join(path.read_text(errors="replace") for path in paths if path.exists())
