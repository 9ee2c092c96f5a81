"""What requests cost: by the service's own count of tokens, at the worst, and by estimate before anything is asked."""

import json
import math
from collections.abc import Mapping
from typing import Any

from candor.chat.messages import ChatRequest
from candor.config.clients import Price

BYTES_PER_TOKEN = 4
"""Of English text, by the usual rule of thumb."""
OF_REQUEST, OF_MESSAGE, OF_SCHEMA = 64, 16, 1024
"""Tokens that a service adds, at most: around a request, around each message, and to explain a schema or a tool."""


def usd(tokens_in: int, tokens_out: int, price: Price, *, batch: bool = False) -> float:
    """US dollars of so many tokens, to a billionth."""
    dollars = (tokens_in * price.input + tokens_out * price.output) / 1e6
    return round(dollars * (price.batch if batch else 1.0), 9)


def worst_case(request: ChatRequest, price: Price, *, batch: bool = False) -> float:
    """The most that a request can cost, in US dollars.

    A token is at least one byte of UTF-8, so a request has no more tokens than bytes, besides what a service puts
    around it; a reply has `max_tokens` at the most. A service that reports more than that is charged as it reports.
    """
    inputs = _bytes(request) + OF_REQUEST + OF_MESSAGE * len(request.messages)
    if request.schema is not None:
        inputs += OF_SCHEMA
    return usd(inputs, request.sampling.max_tokens, price, batch=batch)


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has: an estimate, a quarter of its bytes, where nobody has counted."""
    return math.ceil(len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN)


def estimated_input(request: ChatRequest) -> int:
    """About how many tokens a request has: an estimate, see `estimated_tokens`."""
    return math.ceil(_bytes(request) / BYTES_PER_TOKEN) + 4 * (len(request.messages) + 1)


def _bytes(request: ChatRequest) -> int:
    schema: Mapping[str, Any] | str = request.schema or ""
    texts = [message.content for message in request.messages] + ([json.dumps(schema)] if schema else [])
    return sum(len(text.encode("utf-8", "replace")) for text in texts)
