"""How all tests run.

One thread: the models of the tests are so small that a second one only waits, badly so on a busy machine. SIGINT is
answered, also where the tests are started in the background of a shell, which ignores it: commands that tests start
and interrupt would inherit that.
"""

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; commands that tests start inherit it
signal.signal(signal.SIGINT, signal.default_int_handler)
