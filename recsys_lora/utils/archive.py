"""Archives of folders."""

import tarfile
from pathlib import Path

from recsys_lora.utils.files import LOCK, TEMPORARY, atomic_file


def write_archive(target: Path, folder: Path, without: str) -> int:
    """Write a folder's files into a compressed tar archive, atomically; hidden folders are included, locks are not.

    Args:
        target: a .tgz file; left out if it is in the folder itself.
        folder: the folder; the one folder in the archive has the same name.
        without: files whose names end in this are left out.

    Returns:
        The archive's size in bytes.

    Raises:
        UserError: the disk is full or the archive's folder cannot be written.
    """
    with atomic_file(target) as temporary:
        own = {target.absolute(), temporary.absolute()}
        with tarfile.open(temporary, "w:gz") as archive:
            for path in sorted(folder.absolute().rglob("*")):
                if path.is_file() and path not in own and not path.name.endswith((without, LOCK, TEMPORARY)):
                    archive.add(path, f"{folder.name}/{path.relative_to(folder.absolute())}", recursive=False)
        return temporary.stat().st_size
