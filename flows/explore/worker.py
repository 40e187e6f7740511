"""``python -m flows.explore.worker STUDY/ INDEX``: one worker of a study, in a process of its own."""

import os
import sys
from pathlib import Path

from flows.explore.work import work
from hw.host.errors import BitfabricError
from hw.native.interrupts import raise_interrupts
from hw.native.process import Process
from quant.errors import QuantError


def work_in_processes(folder: Path, jobs: int) -> None:
    """Runs workers in processes of this machine until all have ended; each has a GPU in turn, where there are any."""
    import torch

    gpus = torch.cuda.device_count()
    processes = []
    for index in range(jobs):
        environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
        if gpus and "CUDA_VISIBLE_DEVICES" not in os.environ:
            environment["CUDA_VISIBLE_DEVICES"] = str(index % gpus)
        command = [sys.executable, "-m", "flows.explore.worker", str(folder), str(index + 1)]
        processes.append(Process(command, env=environment))
    try:
        for process in processes:
            process.wait()
    except BaseException:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
        raise


def main() -> int:
    raise_interrupts()
    try:
        work(Path(sys.argv[1]), int(sys.argv[2]))
    except (BitfabricError, QuantError) as error:
        print(f"error: worker {sys.argv[2]}: {error}", file=sys.stderr)
        return int(error.status)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
