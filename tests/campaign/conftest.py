"""
Where the modules of the campaign, and those that it shares, are found.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "blackbox")]
