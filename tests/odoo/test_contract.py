"""
What any server of mail_delivery must do, checked against the real one.
"""

import subprocess
import sys
from pathlib import Path

from odoo_server import INFO, SALES, OdooServer
from programs import ENVIRON

CHECKOUT = Path(__file__).parents[2]
TIMEOUT = 900  # seconds


def test_contract(odoo: OdooServer) -> None:
    """
    The contract holds; what looks into the sandbox's folder of mail is skipped.
    """
    named = {
        "URL": odoo.url,
        "TOKEN": odoo.connect_mailer("the contract"),
        "ADDRESS": INFO,
        "OTHER": SALES,
    }
    environ = {f"ODOO_MAILER_CONTRACT_{name}": value for name, value in named.items()}
    # -P: the package is imported from where these tests have it.
    run = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-p", "no:cacheprovider", "tests/contract"],
        cwd=CHECKOUT,
        env={**ENVIRON, **environ},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout
