"""A random language model with two layers, and a tokenizer trained on the data's own titles: seconds on a CPU.

For tests and debugging: it knows nothing, but everything that this project trains can be trained with it.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from recsys_lora.llm.source import BackboneSource, LoadingOptions
from recsys_lora.utils.types import NonNegativeInt, PositiveFloat, PositiveInt

if TYPE_CHECKING:
    import torch

    from recsys_lora.llm.backbone import Backbone

_PROMPT_WORDS = (
    "#Question: A user has given high ratings to the following movies books items Leverage the information to predict "
    "whether the user would enjoy the movie book item titled with Answer Yes or No not yet rated any \n#Answer: Yes No "
    "1 2 3 4 5 6 7 8 9 A B C D E F G H I J"
)
"""Makes common prompts short in tokens, and Yes, No, digits and option letters one token each."""
SPECIAL = ("<pad>", "<s>", "</s>")


class TinySource(BackboneSource):
    """A random Llama with a byte-level BPE tokenizer.

    Args:
        hidden_size: H.
        layers: decoder blocks.
        heads: query heads; there are half as many key and value heads.
        intermediate_size: width of the feed-forward part.
        vocabulary: maximum size of the vocabulary.
        context: maximum number of tokens it can read.
        init_std: standard deviation of the random weights.
        init_seed: seed of the random weights.
        loading: see `LoadingOptions`; `dtype` is float32 unless given.
    """

    name = "tiny"

    def __init__(
        self,
        hidden_size: PositiveInt = 64,
        layers: PositiveInt = 2,
        heads: PositiveInt = 4,
        intermediate_size: PositiveInt = 128,
        vocabulary: PositiveInt = 1024,
        context: PositiveInt = 1024,
        init_std: PositiveFloat = 0.05,
        init_seed: NonNegativeInt = 0,
        **loading: Unpack[LoadingOptions],
    ) -> None:
        options: LoadingOptions = {"dtype": "float32", **loading}
        super().__init__(**options)
        self.shape: dict[str, Any] = {
            "hidden_size": hidden_size,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": max(1, heads // 2),
            "intermediate_size": intermediate_size,
            "max_position_embeddings": context,
            "initializer_range": init_std,
        }
        self.vocabulary = vocabulary
        self.init_seed = init_seed

    def identity(self) -> dict[str, Any]:
        """Return shape, seed and the common part; the loaded backbone's identity also includes its vocabulary."""
        return {"tiny": self.shape, "vocabulary": self.vocabulary, "seed": self.init_seed, **self.common_identity()}

    def load(self, texts: Sequence[str], device: "torch.device | str") -> "Backbone":
        """Train the tokenizer on `texts` and draw the weights."""
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        tokenizer = train_tokenizer(texts, self.vocabulary)
        pad, begin, end = tokenizer.convert_tokens_to_ids(list(SPECIAL))
        more: dict[str, Any] = {} if self.attention == "auto" else {"attn_implementation": self.attention}
        config = LlamaConfig(
            vocab_size=len(tokenizer), pad_token_id=pad, bos_token_id=begin, eos_token_id=end, **self.shape, **more
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.init_seed)
            model = LlamaForCausalLM(config)
        words = hashlib.sha256("\n".join(sorted(tokenizer.get_vocab())).encode()).hexdigest()
        identity = {**self.identity(), "words": words}
        return self.backbone(model.to(self.options(device)["dtype"]), tokenizer, device, identity, "tiny random Llama")


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> Any:
    """Train a byte-level BPE tokenizer, which can encode any text, on `texts` and the usual words of prompts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast as Fast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )

    def corpus() -> Iterator[str]:
        # As often as there are texts, so that the words of prompts become tokens before rare titles do.
        yield from texts
        yield from (_PROMPT_WORDS for _ in range(len(texts) + 2))

    tokenizer.train_from_iterator(corpus(), trainer)
    pad, begin, end = SPECIAL
    fast: Any = Fast
    return fast(tokenizer_object=tokenizer, pad_token=pad, bos_token=begin, eos_token=end)
