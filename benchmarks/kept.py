"""Results of long steps of a benchmark, kept in the cache by what they are made from."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hw.native import cache


def kept(content: object, make: Callable[[], Any]) -> Any:
    """What ``make`` returns, as JSON gives it back.

    It is kept by ``content``, so that an interrupted run goes on where it was, and only what changed is made again."""
    key = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]

    def fill(folder: Path) -> None:
        (folder / "made.json").write_text(json.dumps(make()))

    return json.loads((cache.entry("benchmarks", key, fill) / "made.json").read_text())
