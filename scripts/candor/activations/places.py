"""Which tokens of a prompt and its response are stored, and whose words they are.

Positions count the tokens that the model has read, from 0: the prompt, with its generation prompt and prefill, and the
response but for its last token, which was drawn and never read. A text that ended by an end-of-turn token so ends
with the last token of its words; one that was cut off at its longest, one token before the cut.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from candor.chat_text import ROLE_CODES, conversation, open_turn
from candor.config.captures import Capture

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def places(capture: Capture, prompt: int, read: int) -> list[int]:
    """The positions that are stored of a text of which `read` tokens were read, the first `prompt` being the prompt's.

    The first `drop_first` tokens are never stored. Policies give ascending positions, each once: where there are fewer
    tokens than `k`, all of them, and of a response that ended at once, none. Indices give positions in their own order;
    one that lies beyond a text is left out, and so is one that names a token again, as 0 and -1 do in a text of one.
    """
    kept = range(min(capture.drop_first, read), read)
    if capture.store == "tokens":
        return list(kept)
    if isinstance(capture.positions, list):
        return list(dict.fromkeys(kept[i] for i in capture.positions if -len(kept) <= i < len(kept)))
    parts = {"prompt": range(kept.start, prompt), "response": range(max(prompt, kept.start), read), "text": kept}
    if capture.positions == "last_prompt":
        return list(parts["prompt"][-1:])
    if capture.positions == "ends":
        return evenly(parts["response"], 2)
    tokens = parts[capture.of or "text"]
    return list(tokens) if capture.k is None else evenly(tokens, capture.k)


def evenly(tokens: Sequence[int], k: int) -> list[int]:
    """`k` of some tokens, spread evenly from the first to the last; all where there are no more; of one, the last."""
    n = len(tokens)
    if n <= k:
        return list(tokens)
    if k == 1:
        return [tokens[-1]]
    return [tokens[(2 * i * (n - 1) + k - 1) // (2 * (k - 1))] for i in range(k)]  # to the nearest, halves up


def prompt_roles(
    messages: Sequence[Mapping[str, str]], tokenizer: "PreTrainedTokenizerBase", prefill: str = ""
) -> list[int]:
    """The role code of each token of a prompt, as `open_turn` writes it; what begins the assistant's turn is its."""
    opened = open_turn(messages, tokenizer, prefill).text
    before = messages[:-1] if messages and messages[-1]["role"] == "assistant" else messages
    asked = conversation(before, tokenizer, generation_prompt=True)
    words = [(each.start, each.end, ROLE_CODES[before[each.message]["role"]]) for each in asked.words]
    if len(opened) > len(asked.text):
        words.append((len(asked.text), len(opened), ROLE_CODES["assistant"]))
    templated = bool(tokenizer.chat_template)
    encoding = tokenizer(opened, add_special_tokens=not templated, return_offsets_mapping=True, verbose=False)
    roles, current = [], 0
    for start, end in encoding["offset_mapping"]:
        while current < len(words) and words[current][1] <= start:
            current += 1
        inside = current < len(words) and start < words[current][1] and end > words[current][0] and end > start
        roles.append(words[current][2] if inside else ROLE_CODES["template"])
    return roles
