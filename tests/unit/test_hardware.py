"""What `auto` means on a machine, told from fakes of its files and drivers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from candor import hardware


class Machine:
    """A machine as hardware.py sees it: a /dev folder, drivers, a platform, and the lines of /proc/cpuinfo."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dev, self._cpuinfo = folder / "dev", folder / "cpuinfo"
        self.dev.mkdir()
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(hardware, "Path", lambda name: self.dev if name == "/dev" else Path(name))
        monkeypatch.setattr(hardware, "CPU_FLAGS", self._cpuinfo)
        self.driver(False)
        self.platform("Linux", "x86_64")

    def driver(self, loads: bool) -> None:
        def load(name: str) -> None:
            assert name == "libcuda.so.1"
            if not loads:
                raise OSError(f"{name}: cannot open shared object file")

        self._monkeypatch.setattr(hardware, "CDLL", load)

    def platform(self, system: str, machine: str) -> None:
        self._monkeypatch.setattr(hardware.platform, "system", lambda: system)
        self._monkeypatch.setattr(hardware.platform, "machine", lambda: machine)

    def cpuinfo(self, text: str) -> None:
        self._cpuinfo.write_text(text)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    hardware.auto_device.cache_clear()
    hardware._cpu_flags.cache_clear()
    yield Machine(tmp_path, monkeypatch)
    hardware.auto_device.cache_clear()
    hardware._cpu_flags.cache_clear()


class TestDevice:
    def test_cuda_needs_a_device_and_a_driver_that_loads(self, machine: Machine) -> None:
        (machine.dev / "nvidia0").touch()
        machine.driver(True)
        assert hardware.auto_device() == "cuda"

    def test_a_device_without_its_driver_is_no_gpu(self, machine: Machine) -> None:
        (machine.dev / "nvidia0").touch()
        assert hardware.auto_device() == "cpu"

    def test_a_driver_without_a_device_is_no_gpu(self, machine: Machine) -> None:
        (machine.dev / "nvidiactl").touch()
        machine.driver(True)
        assert hardware.auto_device() == "cpu"

    @pytest.mark.parametrize(
        ("system", "processor", "device"),
        [
            ("Darwin", "arm64", "mps"),
            ("Darwin", "x86_64", "cpu"),
            ("Linux", "aarch64", "cpu"),
            ("Linux", "x86_64", "cpu"),
        ],
    )
    def test_without_cuda_the_platform_decides(
        self, machine: Machine, system: str, processor: str, device: str
    ) -> None:
        machine.platform(system, processor)
        assert hardware.auto_device() == device


class TestDtype:
    @pytest.mark.parametrize(
        ("cpuinfo", "dtype"),
        [
            ("flags\t\t: fpu sse avx512f avx512_bf16 amx_tile\n", "bfloat16"),
            ("processor\t: 0\nflags\t\t: fpu amx_bf16\nbugs\t\t: none\n", "bfloat16"),
            ("flags\t\t: fpu sse avx2 avx512f\n", "float32"),
            ("flags\t\t: fpu\nvmx flags\t: avx512_bf16\n", "float32"),
            ("flags\t\t: fpu not_avx512_bf16\n", "float32"),
            ("Features\t: fp asimd bf16\n", "float32"),
            ("", "float32"),
        ],
    )
    def test_a_cpu_takes_bfloat16_only_where_it_is_fast(self, machine: Machine, cpuinfo: str, dtype: str) -> None:
        machine.cpuinfo(cpuinfo)
        assert hardware.auto_dtype("cpu") == dtype

    def test_a_system_without_cpuinfo_takes_float32(self, machine: Machine) -> None:
        assert hardware.auto_dtype("cpu") == "float32"

    def test_gpus_do_not_ask_the_cpu(self, machine: Machine) -> None:
        assert hardware.auto_dtype("cuda") == "bfloat16"
        machine.cpuinfo("flags\t\t: avx512_bf16\n")
        assert hardware.auto_dtype("mps") == "float32"
