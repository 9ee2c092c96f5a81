"""What this machine computes on, found without importing torch."""

import platform
from ctypes import CDLL
from functools import cache
from pathlib import Path

CPU_FLAGS = Path("/proc/cpuinfo")
FAST_BFLOAT16 = ("amx_bf16", "avx512_bf16")


@cache
def auto_device() -> str:
    """cuda where NVIDIA's driver can be loaded and a device node exists, mps on Apple silicon, else cpu."""
    if any(Path("/dev").glob("nvidia[0-9]*")):
        try:
            CDLL("libcuda.so.1")
        except OSError:
            return "cpu"
        return "cuda"
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return "mps"
    return "cpu"


def auto_dtype(device: str) -> str:
    """bfloat16 where the hardware multiplies it fast (CUDA, AMX, AVX512-BF16), else float32."""
    if device == "cuda" or (device == "cpu" and any(flag in _cpu_flags() for flag in FAST_BFLOAT16)):
        return "bfloat16"
    return "float32"


def auto_batch_tokens(device: str) -> int:
    """Tokens in a batch: what a core's caches hold on a CPU, enough to fill a GPU elsewhere."""
    return 1024 if device == "cpu" else 16_384


@cache
def _cpu_flags() -> frozenset[str]:
    if not CPU_FLAGS.exists():
        return frozenset()
    for line in CPU_FLAGS.read_text().splitlines():
        if line.startswith("flags"):
            return frozenset(line.split(":", 1)[1].split())
    return frozenset()
