"""The reconstructor: a model that makes an activation from the words that a verbaliser found for it.

The first blocks of the subject's architecture, up to the block that the verbaliser reads, without a final norm, and a
linear map of what the last block puts out at the last token of a fixed prompt. The map lies beside the weights, in
value_head.safetensors.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from candor import models
from candor.activations.hooks import blocks_of, reading
from candor.batching import token_batches
from candor.config.models import Model
from candor.hardware import auto_batch_tokens
from candor.verbalisers.nla import VerbaliserError
from candor.verbalisers.sidecar import EXPLAINED, NAME, Sidecar, read_sidecar

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

HEAD = "value_head.safetensors"


class Reconstructor:
    """Makes activations from words; `head` is the map's matrix, [width, width]."""

    def __init__(
        self,
        network: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
        head: Tensor,
        sidecar: Sidecar,
        folder: Path | str = "the reconstructor",
    ) -> None:
        self._network, self._tokenizer, self._sidecar = network.eval(), tokenizer, sidecar
        self._last = len(blocks_of(network)) - 1
        width = network.config.get_text_config().hidden_size
        weights = next(network.get_input_embeddings().parameters())
        self._device = weights.device
        self._head = head.to(weights)
        if (self._last, width) != (sidecar.extraction_layer_index, sidecar.d_model):
            raise VerbaliserError(
                f"{folder}: its weights have {self._last + 1} blocks of width {width}, and its {NAME} says layer "
                f"{sidecar.extraction_layer_index}, which is the last of {sidecar.extraction_layer_index + 1} blocks, "
                f"and d_model: {sidecar.d_model}."
            )
        if head.shape != (width, width):
            raise VerbaliserError(f"{folder}: its {HEAD} is {list(head.shape)}, not {[width, width]}.")
        suffix = sidecar.tokens.critic_suffix_ids or []
        if suffix and self._ids("A.")[-len(suffix) :] != suffix:
            raise VerbaliserError(
                f"{folder}: its prompt ends with the tokens {self._ids('A.')[-len(suffix) :]}, and its {NAME} says "
                f"{suffix}; take the tokenizer that the checkpoint was released with."
            )

    def reconstruct(self, texts: Sequence[str], batch_tokens: int | None = None) -> Tensor:
        """The activations that texts stand for, float32 [n, width] on the CPU; their lengths mean nothing."""
        ids = [self._ids(text) for text in texts]
        found = torch.zeros(len(texts), self._sidecar.d_model)
        lengths = list(map(len, ids))
        with reading(self._network, "residual", [self._last]) as reader:
            for batch in token_batches(lengths, batch_tokens or auto_batch_tokens(self._device.type)):
                padded = torch.zeros(len(batch), lengths[batch[0]], dtype=torch.long)
                for row, number in enumerate(batch):
                    padded[row, : lengths[number]] = torch.tensor(ids[number])
                hidden = reader.read(padded.to(self._device))[self._last]
                ends = torch.tensor([lengths[number] - 1 for number in batch], device=hidden.device)
                rows = torch.arange(len(batch), device=hidden.device)
                found[batch] = (hidden[rows, ends].to(self._head) @ self._head.T).float().cpu()
        return found

    def _ids(self, text: str) -> list[int]:
        """The prompt's tokens, those that the tokenizer puts first included: no chat template is used."""
        prompt = self._sidecar.prompt.replace(EXPLAINED, text)
        return list(self._tokenizer(prompt, add_special_tokens=True, verbose=False)["input_ids"])


def load(model: Model, facts: Mapping[str, Any]) -> Reconstructor:
    """Load a reconstructor that fetch_model has described."""
    folder = models.folder_of(model, facts)
    device, dtype = models.placement(model)
    sidecar = read_sidecar(folder, "reconstructor")
    return Reconstructor(
        _network(folder, device, dtype), models.tokenizer_of(folder, facts), _head(folder), sidecar, folder
    )


def _network(folder: Path, device: str, dtype: str) -> "PreTrainedModel":
    """The blocks and the embeddings: no output head is made, and the final norm, which none reads, is as it comes."""
    from transformers import AutoModel

    options: dict[str, Any] = {"device_map": "auto"} if device == "cuda" else {}
    network, told = AutoModel.from_pretrained(
        folder,
        dtype=getattr(torch, dtype),
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        output_loading_info=True,
        **options,
    )
    kept = {f"{name}." for name, module in network.named_modules() if module is blocks_of(network)}
    kept |= {f"{name}." for name, module in network.named_modules() if module is network.get_input_embeddings()}
    lacking = sorted(key for key in told["missing_keys"] if key.startswith(tuple(kept)))
    if lacking:
        raise VerbaliserError(f"{folder}: its weights lack {len(lacking)} tensors, first {lacking[0]}; fetch it again.")
    if options:
        models.refuse_offloaded(network, folder)
    loaded: PreTrainedModel = network if options else network.to(torch.device(device))
    return loaded


def _head(folder: Path) -> Tensor:
    """The linear map's matrix."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(folder / HEAD)
    except FileNotFoundError:
        raise VerbaliserError(f"{folder / HEAD}: no such file; a reconstructor has its linear map beside it.") from None
    except (OSError, SafetensorError) as error:
        raise VerbaliserError(f"{folder / HEAD}: cannot be read ({error}); fetch it again.") from None
    if list(tensors) != ["weight"] or tensors["weight"].dim() != 2 or not bool(tensors["weight"].isfinite().all()):
        raise VerbaliserError(f"{folder / HEAD}: holds {sorted(tensors)}, not one finite matrix `weight`.")
    return tensors["weight"]
