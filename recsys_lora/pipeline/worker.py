"""`python -m recsys_lora.pipeline.worker FOLDER`: one more process of the job in FOLDER, started by its first one.

It ends with the first one, however that ends; signals to the whole group are for the first to answer.
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
    """Take part in the job of a run's folder, from its resolved config."""
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
    """Wait for the end of standard input, which the first process holds open, and end whatever goes on here."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
