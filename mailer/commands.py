"""
What each command does; each returns its exit status.
"""

import argparse
import dataclasses
import gc
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from mailer import config_file
from mailer.config import Config
from mailer.errors import ConfigError, Fault, ListenError, TemporaryError
from mailer.listen import Listen


def run(arguments: argparse.Namespace) -> int:
    """
    Run the command that the arguments name.
    """
    try:
        return _COMMANDS[arguments.command](arguments, _load(arguments))
    except ConfigError as error:
        return _failed(str(error), os.EX_CONFIG)
    except ListenError as error:
        return _failed(f"odoo-mailer: {error}", os.EX_UNAVAILABLE)
    except TemporaryError as error:
        return _failed(f"odoo-mailer: {error}", os.EX_TEMPFAIL)


def _load(arguments: argparse.Namespace) -> Config:
    config = config_file.load(arguments.config)
    port = getattr(arguments, "port", None)
    if port is None:
        return config
    host = config.http.host if config.http.port else "127.0.0.1"
    return dataclasses.replace(config, http=Listen(host=host, port=port))


def _failed(text: str, status: int) -> int:
    print(text, file=sys.stderr)
    return status


def _serve(arguments: argparse.Namespace, config: Config) -> int:
    from mailer.daemon import Daemon, Roles, install_hangup
    from mailer.descriptors import raise_descriptor_limit
    from mailer.map_commands import write_both
    from mailer.running import serve, start_logging

    command = arguments.command
    roles = Roles(
        socketmap=command == "daemon",
        lmtp=command in ("daemon", "lmtp"),
        http=command in ("daemon", "webhook"),
        prefix=getattr(arguments, "prefix", "/aliases"),
        keep_interrupted=arguments.debug,
        log_lookups=arguments.verbose,
        on_list=write_both if command == "webhook" else None,
    )
    lines = start_logging(config.log, "debug" if arguments.verbose else "info")
    from twisted.internet import reactor

    gc.collect()  # what loading has left behind makes room for the list
    try:
        daemon = Daemon(lambda: _load(arguments), config, roles, reactor, raise_descriptor_limit())
    except TemporaryError as error:
        raise ConfigError(arguments.config, [Fault(0, "cache", str(error))]) from None
    install_hangup(reactor, daemon.reload)
    return serve(daemon, reactor, lines, arguments.ready)


def _aliases(arguments: argparse.Namespace, config: Config) -> int:
    from mailer.map_commands import write_aliases

    print(_within_reactor(arguments, config, write_aliases), end="")
    return os.EX_OK


def _transport(arguments: argparse.Namespace, config: Config) -> int:
    from mailer.map_commands import write_transport

    print(_within_reactor(arguments, config, write_transport), end="")
    return os.EX_OK


def _pipe(arguments: argparse.Namespace, config: Config) -> int:
    import asyncio

    from mailer.asyncio_http import AsyncioHttp
    from mailer.pipe import pipe
    from mailer.reply import exit_status

    def log(text: str) -> None:
        # pipe(8) reads both outputs as one, and the status has to come first.
        if arguments.verbose:
            print(text, file=sys.stderr)

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    envelope = arguments.sender, arguments.recipient
    reply = asyncio.run(pipe(config, AsyncioHttp, sys.stdin.buffer, *envelope, log))
    print(f"{reply.status} {reply.text}")
    return exit_status(reply)


def _within_reactor(
    arguments: argparse.Namespace,
    config: Config,
    function: Callable[[Config, Any], Coroutine[Any, Any, str]],
) -> str:
    from mailer.running import run_coroutine, start_logging

    start_logging(config.log, "info" if arguments.verbose else "warn")
    return run_coroutine(lambda reactor: function(config, reactor))


def _refresh(arguments: argparse.Namespace, config: Config) -> int:
    from mailer.asking import ask_refresh

    return ask_refresh(config, arguments.force)


def _lookup(arguments: argparse.Namespace, config: Config) -> int:
    from mailer.asking import ask_lookup

    return ask_lookup(config, arguments.map, arguments.key)


def _postfix_config(arguments: argparse.Namespace, config: Config) -> int:
    from mailer.main_cf import PARAMETERS, main_cf
    from mailer.postfix import postconf, queue_directory

    print(main_cf(config, queue_directory(), postconf(PARAMETERS)), end="")
    return os.EX_OK


def _sandbox(arguments: argparse.Namespace, config: Config) -> int:
    from mailer.running import serve, start_logging
    from mailer.sandbox import make_sandbox

    lines = start_logging(config.log, "debug" if arguments.verbose else "info")
    from twisted.internet import reactor

    sandbox = make_sandbox(config, Path(arguments.aliases), Path(arguments.mail), reactor)
    return serve(sandbox, reactor, lines)


_COMMANDS: dict[str, Callable[[argparse.Namespace, Config], int]] = {
    "daemon": _serve,
    "lmtp": _serve,
    "webhook": _serve,
    "aliases": _aliases,
    "transport": _transport,
    "pipe": _pipe,
    "refresh": _refresh,
    "lookup": _lookup,
    "postfix-config": _postfix_config,
    "sandbox": _sandbox,
}
