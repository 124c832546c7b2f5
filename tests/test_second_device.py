"""No operation mixes devices: fits and whole jobs on a device that is not the CPU, without a GPU.

See `second_device.py` for what stands in for it, and why each file has a process of its own. One of them alone:
`python -m pytest tests/pipeline/on_second_device.py`.
"""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("folder", "which"),
    [("cf", "not slow"), ("pipeline", "not slow"), pytest.param("pipeline", "slow", marks=pytest.mark.slow)],
)
@pytest.mark.timeout(900)
def test_nothing_mixes_devices(folder, which):
    file = f"tests/{folder}/on_second_device.py"
    command = [sys.executable, "-m", "pytest", file, "-m", which, "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
