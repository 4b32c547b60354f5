"""
The lines of main.cf that put odoo-mailer to work.

Source: postconf(5) virtual_alias_maps, virtual_alias_domains, transport_maps.
"""

import re
from collections.abc import Mapping

from mailer.config import Config

PARAMETERS = ("virtual_alias_maps", "virtual_alias_domains", "transport_maps")
_REFERENCE = re.compile(r"\$(?:virtual_alias_maps\b|\{virtual_alias_maps\}|\(virtual_alias_maps\))")


def nexthop(config: Config, queue_directory: str) -> str:
    """
    Return what ``transport`` answers: configured, or derived from where LMTP listens.
    """
    return config.nexthop or f"lmtp:{config.socket.postfix(queue_directory)}"


def main_cf(config: Config, queue_directory: str, current: Mapping[str, str]) -> str:
    """
    Return the lines, the tables already in use kept behind ours.

    Args:
        current: The values of ``PARAMETERS`` as postconf(1) prints them now.
    """
    place = config.socketmap.postfix(queue_directory) or "unix:PATH"
    aliases = _used(current.get("virtual_alias_maps", ""), place)
    domains = current.get("virtual_alias_domains", "")
    lines = [
        "# Addresses that Odoo declares are valid, and their mail goes to odoo-mailer.",
        _line("virtual_alias_maps", [f"socketmap:{place}:aliases", aliases]),
        _line(
            "transport_maps",
            [f"socketmap:{place}:transport", _used(current.get("transport_maps", ""), place)],
        ),
        "# Without this line Postfix would ask odoo-mailer for domains too.",
        _line("virtual_alias_domains", [_REFERENCE.sub(lambda _: aliases, domains).strip(", ")]),
    ]
    if place == "unix:PATH":
        lines.insert(0, f"# Put the path of the socket {config.socketmap} in the place of PATH.")
    return "\n".join(lines) + "\n"


def _used(value: str, place: str) -> str:
    """
    Return the tables in use without ours, otherwise as they are written.
    """
    if value.strip() == "$virtual_maps":  # Postfix's default, an old name
        return ""
    ours = rf"socketmap:{re.escape(place)}:\w+(\s*,\s*|\s+|$)"
    return re.sub(ours, "", value).strip(", ")


def _line(name: str, values: list[str]) -> str:
    return f"{name} = {', '.join(value for value in values if value)}".rstrip()
