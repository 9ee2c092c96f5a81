"""Which samplings a capture can be made with: those whose engine can be watched, with one text for each prompt."""

from collections.abc import Iterator

from candor.config.samplings import Sampling


def unfit_sampling(sampling: Sampling) -> Iterator[str]:
    """What keeps activations from being read while a subject answers so, each as the end of a sentence."""
    if sampling.reasoning == "prompted":
        yield (
            "asks for reasoning in a request of its own, so that no one text holds prompt and response; take "
            "reasoning: native or none"
        )
    if sampling.n > 1:
        yield f"draws {sampling.n} responses a prompt, where activations are stored of one; take n: 1"
    if sampling.engine != "transformers":
        yield f"has engine: {sampling.engine}, which cannot be watched; take engine: transformers"
