"""Times epochs of RecBole in its own environment; started by `cf_epoch.py`, which reads the result.

    PYTHON _recbole_epoch.py SETTINGS.json RESULT.json

SETTINGS: `model` (RecBole's name), `epochs`, `config` (RecBole's own keys), `memory` (whether to measure it). RESULT:
`seconds` of each epoch, `rows` per epoch, `mib` by which the process grows in training, `version`.
"""

import json
import sys
import time
from pathlib import Path

import _resident


def main(settings_path: str, result_path: str) -> None:
    """Train and write the times."""
    import recbole
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    settings = json.loads(Path(settings_path).read_text())
    sys.argv = sys.argv[:1]  # RecBole reads them too
    config = Config(model=settings["model"], dataset="made", config_dict=settings["config"])
    init_seed(1, True)
    train, _, _ = data_preparation(config, create_dataset(config))
    model = get_model(config["model"])(config, train.dataset)
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    seconds = []

    def fit() -> None:
        for epoch in range(settings["epochs"]):
            begun = time.perf_counter()
            trainer._train_epoch(train, epoch, show_progress=False)
            seconds.append(time.perf_counter() - begun)

    mib = _resident.growth_mib(fit, settings["memory"])
    result = {"seconds": seconds, "rows": len(train.dataset), "mib": mib, "version": recbole.__version__}
    Path(result_path).write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
