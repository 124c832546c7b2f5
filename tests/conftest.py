"""One thread: the models of the tests are so small that a second one only waits, badly so on a busy machine."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; commands that tests start inherit it
