"""How alike two texts are: the Jaccard similarity of the sets of word 3-grams of their case-folded user text.

MinHash proposes pairs, their exact similarity decides.
"""

from collections.abc import Iterator, Mapping, Sequence

NUM_PERM = 128
SEED = 1
MISSED = 1e-4
"""Largest probability that MinHash does not propose a pair exactly as similar as the threshold."""


def user_text(messages: Sequence[Mapping[str, str]]) -> str:
    """The words of all user turns, case and spacing aside; of all turns where users say nothing."""
    words = [word for m in messages if m["role"] == "user" for word in m["content"].casefold().split()]
    return " ".join(words or [word for m in messages for word in m["content"].casefold().split()])


def shingles(text: str) -> frozenset[str]:
    """The word 3-grams of a text; its words where it has fewer than three."""
    words = text.split()
    if len(words) < 3:
        return frozenset(words)
    return frozenset(" ".join(words[i : i + 3]) for i in range(len(words) - 2))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Size of the intersection over size of the union."""
    common = len(a & b)
    return common / (len(a) + len(b) - common)


def similar_texts(texts: Sequence[str], threshold: float) -> Iterator[tuple[int, int, float]]:
    """Indices of two texts that are probably as similar as the threshold, and how similar, which may be less."""
    from datasketch import MinHash, MinHashLSH

    sets = [shingles(text) for text in texts]
    index = MinHashLSH(num_perm=NUM_PERM, params=bands(threshold))
    for i, sketch in enumerate(MinHash.generator(map(_encoded, sets), num_perm=NUM_PERM, seed=SEED)):
        for j in sorted(index.query(sketch)):
            yield j, i, jaccard(sets[j], sets[i])
        index.insert(i, sketch)


def near_any(texts: Sequence[str], known: Sequence[str], threshold: float) -> list[bool]:
    """Whether each text, as `user_text` gives it, is as similar as the threshold to any of some known ones."""
    from datasketch import MinHash, MinHashLSH

    met = [shingles(text) for text in dict.fromkeys(known)]
    index = MinHashLSH(num_perm=NUM_PERM, params=bands(threshold))
    for i, sketch in enumerate(MinHash.generator(map(_encoded, met), num_perm=NUM_PERM, seed=SEED)):
        index.insert(i, sketch)
    sets = [shingles(text) for text in texts]
    sketches = MinHash.generator(map(_encoded, sets), num_perm=NUM_PERM, seed=SEED)
    return [
        any(jaccard(own, met[i]) >= threshold for i in index.query(sketch))
        for own, sketch in zip(sets, sketches, strict=True)
    ]


def bands(threshold: float) -> tuple[int, int]:
    """Bands and rows of an LSH index that misses a pair exactly at the threshold with a probability of at most MISSED.

    A pair of similarity s shares one of b bands of r rows with probability 1 - (1 - s^r)^b (Leskovec et al., Mining of
    Massive Datasets, 3.4). More rows propose fewer pairs that are far below the threshold.
    """
    for r in range(NUM_PERM, 1, -1):
        if (1 - threshold**r) ** (NUM_PERM // r) <= MISSED:
            return NUM_PERM // r, r
    return NUM_PERM, 1


def _encoded(shingled: frozenset[str]) -> list[bytes]:
    return [shingle.encode() for shingle in sorted(shingled)]
