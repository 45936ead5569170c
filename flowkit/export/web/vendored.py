"""Reads onnxruntime-web, of which a compressed copy lies in vendor/.

``make web-runtime`` gets VERSION again from npm. To move to another version,
change VERSION, run it, and put the digests that it names into SHA256 once the tests pass in a browser.
"""

from __future__ import annotations

import hashlib
import lzma
import subprocess
import tarfile
import tempfile
from pathlib import Path

from flowkit.errors import ExportError
from flowkit_runtime.atomic import replacing

VERSION = "1.30.0"
SCRIPT, BINARY = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
SHA256 = {
    SCRIPT: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    BINARY: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
"""The hashes of the files as npm has them."""
VENDOR = Path(__file__).parent / "vendor"


def read(name: str) -> bytes:
    """Return a file of onnxruntime-web. Raises ExportError if this installation lacks it or holds another."""
    path = VENDOR / f"{name}.xz"
    try:
        data = lzma.decompress(path.read_bytes())
    except (OSError, lzma.LZMAError) as error:
        raise ExportError(f"{path} can't be read ({error}): install flowkit again") from error
    if problem := _difference(name, data):
        raise ExportError(f"{path} is not what flowkit came with ({problem}): install flowkit again")
    return data


def notices() -> bytes:
    """Return the licences of onnxruntime and of what is compiled into it."""
    return (
        (VENDOR / "LICENSE").read_bytes() + b"\n" + lzma.decompress((VENDOR / "ThirdPartyNotices.txt.xz").read_bytes())
    )


def renew() -> None:
    """Write vendor/ anew from npm. Raises ExportError if npm has other files than those pinned."""
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(["npm", "pack", "--silent", f"onnxruntime-web@{VERSION}"], cwd=directory, check=True)
        (archive,) = Path(directory).glob("*.tgz")
        with tarfile.open(archive) as package:
            files = {name: _member(package, f"package/dist/{name}") for name in SHA256}
    if problems := [problem for name, data in files.items() if (problem := _difference(name, data))]:
        raise ExportError(f"onnxruntime-web {VERSION} has other files than those pinned: {'; '.join(problems)}")
    for name, data in files.items():
        with replacing(VENDOR / f"{name}.xz") as temporary:
            temporary.write_bytes(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))


def _member(package: tarfile.TarFile, name: str) -> bytes:
    file = package.extractfile(name)
    assert file is not None
    return file.read()


def _difference(name: str, data: bytes) -> str | None:
    digest = hashlib.sha256(data).hexdigest()
    return None if digest == SHA256[name] else f"{name} has SHA-256 {digest}, not {SHA256[name]}"
