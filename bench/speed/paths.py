"""
Where the modules of the other benches, and of the tests, are found; imported first.
"""

import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
for folder in (_ROOT / "tests" / "blackbox", _ROOT / "bench"):
    sys.path.insert(0, str(folder))
