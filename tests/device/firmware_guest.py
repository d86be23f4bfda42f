"""Runs inside an ARM root file system: the Raspberry Pi example over a folder, as the service does.

Usage: python firmware_guest.py EXAMPLE INCOMING TABLE
"""

from __future__ import annotations

import platform
import runpy
import sys

if __name__ == "__main__":
    example, incoming, table = sys.argv[1:4]
    sys.argv = [example, incoming, table, "--once"]
    runpy.run_path(example, run_name="__main__")
    print(platform.machine())
