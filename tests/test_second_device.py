"""No operation mixes devices: fits and whole jobs on a device that is not the CPU, without a GPU.

See `second_device.py` for what stands in for it, and why each file has a process of its own. One of them alone:
`python -m pytest tests/pipeline/on_second_device.py`.
"""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("folder", ["cf", "pipeline"])
@pytest.mark.timeout(900)
def test_nothing_mixes_devices(folder):
    command = [sys.executable, "-m", "pytest", f"tests/{folder}/on_second_device.py", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
