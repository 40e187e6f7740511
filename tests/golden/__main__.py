"""``python -m tests.golden --renew [PART ...]``: keep what is computed now; without ``--renew``, show what differs."""

import argparse
import sys
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.golden.comparison import difference, keep
from tests.golden.parts import PARTS

parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
parser.add_argument("--renew", action="store_true", help="rewrite what is kept")
parser.add_argument("parts", nargs="*", metavar="PART", help="names or patterns, as network-*; all by default")
asked = parser.parse_args()
chosen = [name for name in PARTS if not asked.parts or any(fnmatch(name, pattern) for pattern in asked.parts)]
if not chosen:
    sys.exit(f"no such part; there are {', '.join(PARTS)}")
changed = False
for part in chosen:
    with TemporaryDirectory() as folder:
        files = PARTS[part](Path(folder))
    found = difference(files)
    changed = changed or bool(found)
    print(f"{part}: {'changed' if found else 'as it was'}", flush=True)
    if asked.renew:
        keep(files)
    elif found:
        print(found)
sys.exit(changed and not asked.renew)
