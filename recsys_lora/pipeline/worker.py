"""`python -m recsys_lora.pipeline.worker FOLDER`: another process of the job in FOLDER, started by rank 0.

It ends when rank 0 ends, however that happens; signals to the whole process group are left to rank 0.
"""

import logging
import os
import signal
import sys
import threading
from pathlib import Path

from recsys_lora.processes.signals import REQUEUE, requeues
from recsys_lora.utils.libraries import load_libraries


def main(folder: Path) -> None:
    """Join the job in a run's folder, using its resolved config."""
    for number in (signal.SIGINT, *([REQUEUE] if requeues() else [])):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_first, daemon=True).start()
    logging.basicConfig(level=logging.INFO)
    load_libraries()
    from recsys_lora.config.edge import recorded_run
    from recsys_lora.config.recorded import read_recorded
    from recsys_lora.pipeline.artifact_paths import CONFIG_FILE
    from recsys_lora.pipeline.job import run_stages
    from recsys_lora.pipeline.logging_setup import quiet_libraries
    from recsys_lora.processes.group import arrive, joined, worker_folder
    from recsys_lora.processes.rendezvous import VARIABLES

    quiet_libraries()
    config = recorded_run(read_recorded(folder / CONFIG_FILE))
    arrive(folder)
    with joined({name: os.environ[name] for name in VARIABLES}) as processes:
        place = worker_folder(Path(processes.broadcast(str(folder))), processes.rank)
        run_stages(config, place, processes)


def _end_with_the_first() -> None:
    """End this process as soon as standard input, which rank 0 holds open, is closed."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
