"""``python -m flows.explore.worker STUDY/ INDEX``: one worker of a study, in a process of its own."""

import signal
import sys
from pathlib import Path

from flows.explore.study import work
from hw.host.errors import BitfabricError
from quant.errors import QuantError


def main() -> int:
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        work(Path(sys.argv[1]), int(sys.argv[2]))
    except (BitfabricError, QuantError) as error:
        print(f"error: worker {sys.argv[2]}: {error}", file=sys.stderr)
        return int(error.status)
    except KeyboardInterrupt:
        return 130
    return 0


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
