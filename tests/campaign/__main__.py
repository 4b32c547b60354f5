"""
``python tests/campaign``: one run, and its report.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "blackbox"))

from campaign import main

sys.exit(main())
