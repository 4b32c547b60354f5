"""
Odoo's gateway without the addon's part, as ``odoo_bench.py`` has it run.

It is fed to the shell of Odoo, which provides ``env``, after a line that sets
``PORT``. Each line that comes in is a list of messages, base64; each that goes
out is the seconds that these took, a commit for each included.
"""

import base64
import json
import socket
import time

with (
    socket.create_connection(("127.0.0.1", PORT)) as connection,  # noqa: F821
    connection.makefile("rw") as stream,
):
    for line in stream:
        messages = [base64.b64decode(message) for message in json.loads(line)]
        start = time.perf_counter()
        for message in messages:
            env["mail.thread"].message_process(None, message)  # noqa: F821
            env.cr.commit()  # noqa: F821
        print(time.perf_counter() - start, file=stream, flush=True)
