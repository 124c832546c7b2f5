"""Metrics of generated texts: agreement with references, and diversity.

Words are lower-cased runs of letters and digits, except in BLEU, which has its own tokenizer and keeps the case.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_WORD = re.compile(r"[^\W_]+")


def bleu(hypotheses: Sequence[str], references: Sequence[str]) -> tuple[float, str]:
    """Return BLEU of a corpus with one reference per text, as sacrebleu computes it by default, and its signature.

    A corpus whose hypotheses have no four words in a row has a BLEU of 0, whatever it says: two-word summaries are
    better judged by ROUGE-L.

    Args:
        hypotheses: the generated texts.
        references: the reference texts.

    Returns:
        0 to 100, NaN without texts; and the settings and version behind it, to be printed beside the number.
        Source: Post, A Call for Clarity in Reporting BLEU Scores, 2018 (arXiv 1804.08771).

    Raises:
        ValueError: the lengths differ.
    """
    from sacrebleu.metrics.bleu import BLEU  # here, as the other functions do not need it

    _check(hypotheses, references)
    metric = BLEU(force=True)  # force: no warning about texts that look tokenised
    score = metric.corpus_score(list(hypotheses) or [""], [list(references) or [""]]).score
    return (float(score) if hypotheses else float("nan")), str(metric.get_signature())


def rouge_l(hypotheses: Sequence[str], references: Sequence[str]) -> NDArray[np.float64]:
    """Return each text's ROUGE-L F1 (n,), 0 to 1: from the longest common subsequence of words, without stemming.

    With precision LCS / words of the hypothesis and recall LCS / words of the reference, F1 is
    2 LCS / (words of both); 0 where one of them has no word.
    Source: Lin, ROUGE: A Package for Automatic Evaluation of Summaries, 2004, with beta = 1.

    Raises:
        ValueError: the lengths differ.
    """
    _check(hypotheses, references)
    result = np.zeros(len(hypotheses))
    for index, (hypothesis, reference) in enumerate(zip(map(_words, hypotheses), map(_words, references), strict=True)):
        if hypothesis and reference:
            result[index] = 2 * common_subsequence(hypothesis, reference) / (len(hypothesis) + len(reference))
    return result


def distinct(texts: Sequence[str], n: int) -> float:
    """Return the share of distinct ones among all word n-grams of all texts; NaN if there are none.

    1 means that nothing is said twice. Source: Li et al., 2016 (arXiv 1510.03055), who divide by the number of words;
    dividing by the number of n-grams makes 1 reachable for every n.
    """
    grams = Counter(gram for text in texts for gram in zip(*(_words(text)[start:] for start in range(n)), strict=False))
    return len(grams) / grams.total() if grams else float("nan")


def empty_share(texts: Sequence[str]) -> float:
    """Return the share of texts with only white space; NaN without texts."""
    return sum(not text.strip() for text in texts) / len(texts) if texts else float("nan")


def repeated_share(texts: Sequence[str]) -> float:
    """Return the share of texts equal to another one, ignoring white space at the ends; NaN without texts."""
    counts = Counter(text.strip() for text in texts)
    return sum(count for count in counts.values() if count > 1) / len(texts) if texts else float("nan")


def most_common_share(texts: Sequence[str]) -> float:
    """Return the share of the most common text, ignoring white space at the ends; NaN without texts."""
    counts = Counter(text.strip() for text in texts)
    return counts.most_common(1)[0][1] / len(texts) if texts else float("nan")


def _words(text: str) -> list[str]:
    """Return a text's words: runs of letters and digits of any script, lower-cased."""
    return _WORD.findall(text.lower())


def common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the length of the longest common subsequence.

    Neighbours in a row of the usual table differ by 0 or 1, so a row is kept as the bits of one integer.
    Source: Hyyrö, Bit-Parallel LCS-length Computation Revisited, 2004.
    """
    places: dict[str, int] = {}
    for index, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << index
    row = full = (1 << len(first)) - 1  # a zero bit: the table steps up here
    for word in second:
        matches = row & places.get(word, 0)
        row = ((row + matches) | (row - matches)) & full
    return len(first) - row.bit_count()


def _check(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    if len(hypotheses) != len(references):
        raise ValueError(f"{len(hypotheses)} hypotheses, {len(references)} references")
