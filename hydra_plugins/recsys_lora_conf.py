"""How Hydra reads conf/: files whose names begin with _ are not options, and `_variants.yaml` lists further ones.

The rules are those of `recsys_lora.config.variants`. Folders added by a user (`--config-dir`, `hydra.searchpath`) are
read by Hydra itself, file by file.
"""

import copy
import functools
import os
from collections.abc import Sequence
from pathlib import Path

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin

SCHEME = "recsys-lora"


class ConfSource(FileConfigSource):
    """Config source for the folder conf/."""

    @staticmethod
    def scheme() -> str:
        """Return the prefix of its paths in the search path."""
        return SCHEME

    def is_config(self, config_path: str) -> bool:
        """Return whether a file or variant of this name exists."""
        return bool(super().is_config(config_path)) or self._variant(config_path) is not None

    def load_config(self, config_path: str) -> ConfigResult:
        """Read a file, or make the config of a variant.

        Raises:
            UserError: a list of variants is invalid.
        """
        from recsys_lora.config.variants import as_config

        if super().is_config(config_path):
            changed = (Path(self.path) / self._normalize_file_name(config_path)).stat().st_mtime_ns
            return copy.deepcopy(_read(self.provider, self.path, config_path, changed))
        if (overrides := self._variant(config_path)) is None:
            return super().load_config(config_path)
        made = as_config(Path(self.path), overrides)
        return ConfigResult(self.provider, self.full_path(), made, {"package": "_global_"})

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return the options or groups at a path."""
        from recsys_lora.config.variants import choices

        groups = [] if results_filter is ObjectType.CONFIG else super().list(config_path, ObjectType.GROUP)
        offered = [] if results_filter is ObjectType.GROUP else choices(Path(self.path), config_path)
        return sorted({*groups, *offered})

    def _variant(self, config_path: str) -> Sequence[str] | None:
        from recsys_lora.config.variants import variant

        group, name = os.path.split(config_path.removesuffix(".yaml"))
        return variant(Path(self.path) / group, name)


@functools.cache
def _read(provider: str, folder: str, config_path: str, changed: int) -> ConfigResult:
    """Read a file, once per process: for all jobs of a sweep, or all trials of a search."""
    return FileConfigSource.load_config(ConfSource(provider, folder), config_path)


class ConfSearchPath(SearchPathPlugin):
    """Lets `ConfSource` read conf/ if a command or `compose` names this folder."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Change the scheme of conf/ in the search path; other folders are left to Hydra."""
        from recsys_lora.config.paths import conf_dir

        for element in search_path.get_path():
            if element.path is not None and element.path.removeprefix("file://") == str(conf_dir()):
                element.path = f"{SCHEME}://{conf_dir()}"
