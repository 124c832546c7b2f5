"""`trainer=fsdp`: data-parallel training with a frozen backbone that is sharded over the devices."""

from collections.abc import Mapping
from typing import Any, ClassVar

from hydra.utils import get_object
from lightning.pytorch.strategies import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

from recsys_lora.llm.sharding import is_shard
from recsys_lora.utils.errors import UserError

_REFUSED = ("fsdp", "deepspeed", "model_parallel")


class FrozenShards(DDPStrategy):
    """DDP that leaves the shards of frozen weights to FSDP2; trained weights are replicated in every process.

    Lightning's FSDP strategies wrap or shard the whole module and expect its whole forward pass to go through
    `LightningModule.forward`; methods here call parts of the backbone in their training step.
    """

    strategy_name: ClassVar[str] = "frozen_shards"

    def configure_ddp(self) -> None:
        """Wrap the module; DDP neither broadcasts the shards, which differ, nor expects gradients for them."""
        assert self.model is not None
        shares = [name for name, parameter in self.model.named_parameters() if is_shard(parameter)]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(  # type: ignore[no-untyped-call]
            self.model, shares
        )
        super().configure_ddp()


def wants_shards(trainer: Mapping[str, Any]) -> bool:
    """Return whether a trainer's config asks for a backbone sharded over its devices.

    Raises:
        UserError: it asks for a sharding strategy that does not work here.
    """
    strategy = trainer["strategy"]
    if isinstance(strategy, str) and strategy.startswith(_REFUSED):
        raise UserError(
            f"trainer.strategy={strategy}: would train through LightningModule.forward alone: choose trainer=fsdp"
        )
    return isinstance(strategy, Mapping) and get_object(strategy["_target_"]) is FrozenShards
