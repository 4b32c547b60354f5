"""
Makes ``logic`` of the addon a package of its own: the addon's ``__init__`` needs Odoo.
"""

import importlib
import sys
from pathlib import Path

ADDON = str(Path(__file__).parents[2] / "addons" / "mail_delivery")

sys.path.append(ADDON)
importlib.import_module("logic")
sys.path.remove(ADDON)  # its other folders, tests among them, are for Odoo alone
