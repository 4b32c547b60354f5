"""
Another Odoo than the usual one, with a daemon of its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fake_odoo import FakeOdoo
from installation import Installation
from programs import Program
from waiting import eventually, free_port


@contextmanager
def other_odoo(
    site: Installation,
    *addresses: str,
    transport: Sequence[str] | None = None,
    version: str = "HTTP/1.1",
    **changes: object,
) -> Iterator[tuple[FakeOdoo, Program]]:
    """
    Yield an Odoo that declares the addresses and the daemon that serves it; the usual ones rest.

    Args:
        addresses, transport, version: See ``FakeOdoo``.
        changes: To the configuration of the daemon.
    """
    site.daemon.stop()
    port = free_port()
    name = f"other-{port}"
    config = site.folder / f"{name}.yaml"
    own = {"host": f"http://127.0.0.1:{port}", "cache": str(site.folder / name)}
    config.write_text(site.settings(**own, **changes))
    names = [address.split()[0] for address in addresses]
    with FakeOdoo(port, *addresses, transport=transport, version=version) as odoo:
        daemon = site.daemon_with(config)
        daemon.start(notify=True)
        try:
            eventually(lambda: all(map(site.knows, names)), "the list of the other Odoo")
            yield odoo, daemon
        except AssertionError as error:
            error.add_note(daemon.output())
            raise
        finally:
            odoo.gate.set()
            daemon.stop()
