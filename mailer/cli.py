"""
The ``odoo-mailer`` command.

Only the standard library is imported here: ``--help`` is quick, and ``pipe``
can answer 75 whatever else is broken. Postfix bounces on any exit status of
pipe(8) that it does not know as temporary.
"""

import argparse
import gc
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from mailer import __version__

DEFAULT_CONFIG = "/etc/odoo-mailer/odoo-mailer.yaml"


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """
    Run a command and exit with its status, sysexits(3).
    """
    words = list(sys.argv[1:] if argv is None else argv)
    gc.disable()  # of what is imported nothing is garbage; ``serve`` turns it on again
    try:
        status = _run(words)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else os.EX_USAGE
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        import traceback

        traceback.print_exc()
        status = os.EX_SOFTWARE
    _flush()
    gc.freeze()  # nor is there at the end, where Python would look three times
    # A word of -c may be "pipe" too; 75 too often does no harm.
    if "pipe" in words and status not in _PIPE_STATUSES:
        status = os.EX_TEMPFAIL
    sys.exit(status)


_PIPE_STATUSES = {
    os.EX_OK, os.EX_DATAERR, os.EX_NOUSER, os.EX_UNAVAILABLE, os.EX_TEMPFAIL, os.EX_NOPERM
}  # fmt: skip


def _flush() -> None:
    """
    Write what was printed; the status stands even where nobody reads it.

    Otherwise Python would end with 120 for it, after a message was delivered.
    """
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(words: list[str]) -> int:
    arguments = _parser().parse_args(words)
    if arguments.command in ("daemon", "lmtp", "webhook"):
        hold_hangup()
    from mailer import commands

    return commands.run(arguments)


def hold_hangup() -> None:
    """
    Have SIGHUP wait until it can be heeded; it would end the process.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


class _Parser(argparse.ArgumentParser):
    """
    An argument parser whose usage errors end with EX_USAGE.
    """

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(os.EX_USAGE, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="odoo-mailer",
        description="Push mail for Odoo: answers Postfix's lookups, delivers mail to Odoo.",
    )
    parser.add_argument(
        "-c", "--config", default=DEFAULT_CONFIG, help="configuration file (default: %(default)s)"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log more")
    parser.add_argument(
        "-d", "--debug", action="store_true", help="keep interrupted LMTP messages in the cache"
    )
    parser.add_argument("--version", action="version", version=f"odoo-mailer {__version__}")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=_Parser
    )
    _add_services(commands)
    _add_lists(commands)
    _add_pipe(commands)
    _add_sandbox(commands)
    return parser


_Commands = argparse._SubParsersAction


def _add_services(commands: "_Commands[_Parser]") -> None:
    def add(name: str, text: str, http: bool = True) -> None:
        command = commands.add_parser(name, help=text, description=text)
        if http:
            command.add_argument(
                "-n", "--port", type=_port, help="port of http (default: the configured one)"
            )
            command.add_argument(
                "-p", "--prefix", default="/aliases", help="path of the webhook (%(default)s)"
            )
        command.add_argument(
            "-r", "--ready", type=int, metavar="FD", help="write a newline there once ready"
        )

    add("daemon", "Serve lookups, LMTP, webhook and metrics")
    add("lmtp", "Serve LMTP alone", http=False)
    add("webhook", "Serve the webhook alone, which rewrites the map files")


def _add_lists(commands: "_Commands[_Parser]") -> None:
    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text)

    add("aliases", "Fetch the aliases into their map file, and print it")
    add("transport", "Fetch the transport table into its map file, and print it")
    refresh = add("refresh", "Have the running daemon fetch the list now")
    refresh.add_argument(
        "--force", action="store_true", help="accept a list that drops more than max_shrink"
    )
    lookup = add("lookup", "Show what the running daemon answers")
    lookup.add_argument("map", metavar="MAP", help="aliases or transport")
    lookup.add_argument("key", metavar="KEY", help="an address")
    add("postfix-config", "Print the lines for main.cf")


def _add_pipe(commands: "_Commands[_Parser]") -> None:
    text = "Send the message on standard input to Odoo, for pipe(8)"
    pipe = commands.add_parser("pipe", help=text, description=text)
    pipe.add_argument("--sender", help="envelope sender; Postfix's ${sender}")
    pipe.add_argument(
        "--recipient",
        action="extend",
        nargs="+",
        default=[],
        help="envelope recipients; Postfix's ${recipient} (default: those in the header)",
    )


def _add_sandbox(commands: "_Commands[_Parser]") -> None:
    text = "Serve an Odoo stand-in on loopback, to try things out"
    sandbox = commands.add_parser("sandbox", help=text, description=text)
    sandbox.add_argument(
        "--aliases",
        metavar="FILE",
        default="sandbox-aliases.yaml",
        help="YAML file of its addresses; made if missing (default: %(default)s)",
    )
    sandbox.add_argument(
        "--mail",
        metavar="DIR",
        default="sandbox-mail",
        help="Maildir for what it receives (default: %(default)s)",
    )


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError("a port is 1 to 65535")
    return int(text)


if __name__ == "__main__":
    main()
