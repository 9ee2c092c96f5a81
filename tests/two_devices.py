"""A model over two devices that only count as such, on a machine that has none: what meets across them is an error.

    with Devices():
        subject = over_two(subject)  # its first blocks on FIRST, the others on SECOND
        ...

Such a tensor holds its numbers in the CPU's memory and remembers where it is said to lie. Torch gives each operation to
`computed`, which refuses tensors of several devices as a GPU would, computes on the CPU, and says where the outcome
lies. The type of device is one that torch knows by name, and has no code for.
"""

from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from accelerate import dispatch_model
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

if TYPE_CHECKING:
    from candor.models import Subject

FIRST, SECOND = torch.device("lazy:0"), torch.device("lazy:1")
CPU = torch.device("cpu")
aten = torch.ops.aten
MOVING = (aten._to_copy, aten.copy_, aten.to)
INDEXING = (aten.index, aten.index_put_, aten.index_put)


class Placed(Tensor):
    """A tensor that is said to lie on a device; `held` are its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor, device: torch.device) -> "Placed":
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        made: Placed = torch.Tensor._make_wrapper_subclass(cls, held.shape, device=device, **layout)  # type: ignore[attr-defined]
        made.held = held
        return made

    def __repr__(self, **_: Any) -> str:
        return f"{self.held} on {self.device}"

    def tolist(self) -> Any:
        return self.held.tolist()

    @property
    def data(self) -> "Placed":  # type: ignore[override]
        return self.detach()  # type: ignore[return-value]

    @data.setter
    def data(self, other: "Placed") -> None:
        assert (other.shape, other.device) == (self.shape, self.device)
        self.held = other.held

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


class Devices(TorchDispatchMode):
    """While the two devices are there."""

    def __enter__(self) -> "Devices":
        # torch.tensor(…, device=…) makes its tensor on the CPU and moves it where the mode sees it, as for fake tensors
        torch._C._set_only_lift_cpu_tensors(True)
        super().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        torch._C._set_only_lift_cpu_tensors(False)
        super().__exit__(kind, error, trace)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


def computed(func: Any, args: Any, kwargs: Any) -> Any:
    """What an operation makes of its arguments, on their device or on the one that it is asked for."""
    leaves = tree_flatten((args, kwargs))[0]
    tensors = [each for each in leaves if isinstance(each, Tensor)]
    op = func.overloadpacket
    # as on a GPU, a single number may lie in the CPU's memory, and so may an index
    free = [each for each in tensors if each.device == CPU and (op in INDEXING or not each.dim())]
    devices = {each.device for each in tensors if all(each is not other for other in free)}
    if len(devices) > 1 and op not in MOVING:
        raise RuntimeError(f"{func}: tensors on {' and '.join(sorted(map(str, devices)))}")
    asked = next((each for each in leaves if isinstance(each, torch.device)), None)
    own_args, own_kwargs = tree_map(_as_on_the_cpu, (args, kwargs))
    found = func(*own_args, **own_kwargs)
    if op is aten.copy_:
        return args[0]
    on = asked or (tensors[0].device if op in INDEXING else next(iter(devices), CPU))
    return found if on == CPU else tree_map(lambda each: Placed(each, on) if isinstance(each, Tensor) else each, found)


def _as_on_the_cpu(each: Any) -> Any:
    if isinstance(each, Placed):
        return each.held
    return CPU if isinstance(each, torch.device) else each


def over_two(subject: "Subject") -> "Subject":
    """A subject as accelerate spreads it: embeddings and first blocks on FIRST, the others and the norm on SECOND.

    The output head lies where the norm does, or with the embeddings where the two are one.
    """
    network: Any = subject.model
    tied = network.get_output_embeddings().weight is network.get_input_embeddings().weight
    places = {"model.embed_tokens": FIRST, "model.rotary_emb": FIRST, "model.norm": SECOND}
    places["lm_head"] = FIRST if tied else SECOND
    blocks = len(network.model.layers)
    places |= {f"model.layers.{k}": FIRST if k < blocks // 2 else SECOND for k in range(blocks)}
    dispatch_model(network, places)
    return subject
