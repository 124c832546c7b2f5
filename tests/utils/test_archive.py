"""An archive is whole or absent, and has what a sweep is to be taken away with."""

import errno
import tarfile

import pytest

from recsys_lora.utils.archive import write_archive
from recsys_lora.utils.errors import UserError


def test_an_archive_has_all_but_what_is_left_out_and_not_itself(tmp_path):
    folder = tmp_path / "sweep"
    for name in ("0/.hydra/config.yaml", "0/metrics.json", "0/checkpoints/best.ckpt", "0/.lock", ".sweep.md.1-ab.tmp"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    target = folder / "all.tgz"
    for _ in range(2):  # over an older one
        size = write_archive(target, folder, ".ckpt")
        assert size == target.stat().st_size
        with tarfile.open(target) as archive:
            assert archive.getnames() == ["sweep/0/.hydra/config.yaml", "sweep/0/metrics.json"]
            assert archive.extractfile("sweep/0/metrics.json").read() == b"0/metrics.json"


def test_an_archive_that_cannot_be_written_leaves_the_older_one(tmp_path, monkeypatch):
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "a").write_text("a")
    target = tmp_path / "all.tgz"
    target.write_text("older")

    def full(*arguments, **named):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(tarfile.TarFile, "add", full)
    with pytest.raises(UserError, match=r"all\.tgz: the disk is full"):
        write_archive(target, tmp_path / "sweep", ".ckpt")
    assert target.read_text() == "older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.tgz", "sweep"]
