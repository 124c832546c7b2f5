"""`python -m recsys_lora.cli.worker`: run the job read from standard input, as long as its sender lives.

The sender keeps the pipe open. When the sender ends, in whatever way, the pipe closes, and this process ends with all
its children: nothing is left behind.
"""

import os
import signal
import sys
import threading
import time

from recsys_lora.cli.sweep_job import run_payload
from recsys_lora.cli.user_errors import SIGNALLED
from recsys_lora.processes.signals import Stopped, stopping

SECONDS_TO_END = 10


def main() -> None:
    """Run one job."""
    sender = sys.stdin.buffer
    payload = sender.read(int(sender.readline()))
    threading.Thread(target=_end_with_sender, daemon=True).start()
    try:
        with stopping():
            run_payload(payload)
    except Stopped as stopped:
        raise SystemExit(SIGNALLED + stopped.number) from None


def _end_with_sender() -> None:
    """Wait for the sender to end, then terminate this process and its children, and finally kill them."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGTERM)
    time.sleep(SECONDS_TO_END)
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
