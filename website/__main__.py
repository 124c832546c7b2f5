"""`python -m website`: build the site into build/docs/site; `python -m website llms` writes llms.txt."""

import os
import subprocess
import sys

from website.contents import sections
from website.llms import FILE, llms
from website.places import ROOT

BUILT = ROOT / "build" / "docs"


def main() -> None:
    """Run the command line."""
    if sys.argv[1:] == ["llms"]:
        (ROOT / FILE).write_text(llms(sections()), encoding="utf-8")
        return
    from website.assemble import assemble

    config = assemble(BUILT)
    line = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "--config-file", str(config)]
    plain = {**os.environ, "NO_COLOR": "1"}
    raise SystemExit(subprocess.run(line, cwd=config.parent, env=plain, check=False).returncode)


if __name__ == "__main__":
    main()
