"""Opens ONNX graphs in onnxruntime, and runs them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowkit_runtime.bundle import BASE, DECODER, DEQUANTIZER, ENCODER, Bundle
from flowkit_runtime.errors import BundleError, InputError, quoted, shortened
from flowkit_runtime.graph_check import check_graph
from flowkit_runtime.graph_check.proto import FLOAT, INT64
from flowkit_runtime.inputs import integer
from flowkit_runtime.providers import CPU, CUDA, Chosen, Provider, checked_providers, default, open_session

MAX_THREADS = 1024
"""The most threads that may be requested. onnxruntime itself starts as many as it is told to."""

_SILENT = 4  # the log would show unescaped names of the graph; failures are raised anyway
_FLOAT, _INT64 = "tensor(float)", "tensor(int64)"
_KINDS = {_FLOAT: FLOAT, _INT64: INT64}


Feed = dict[str, NDArray[Any]]
Tensors = Mapping[str, tuple[str, tuple[int, ...]]]
"""{name: (type, shape)}: onnxruntime's name of a tensor's type, and the shape of one row."""


@dataclass
class Graph:
    """A graph of a flow that is open in onnxruntime."""

    path: Path
    session: Any
    outputs: Tensors
    on_gpu: bool

    def run(self, names: Sequence[str], feed: Feed) -> list[NDArray[Any]]:
        """Return the named outputs, [n, *shape] each.

        Raises:
            BundleError: onnxruntime can't run the graph, or an output has a wrong shape.
        """
        rows = len(next(iter(feed.values())))
        if self.on_gpu:
            feed = _padded(feed)
        try:
            results = _run_bound(self.session, names, feed) if self.on_gpu else self.session.run(list(names), feed)
        except Exception as error:  # onnxruntime's exceptions share no narrower base
            raise BundleError(f"{self.path} fails in onnxruntime: {shortened(error)}") from error
        n = len(next(iter(feed.values())))
        for name, result in zip(names, results, strict=True):
            if result.shape != (expected := (n, *self.outputs[name][1])):
                raise BundleError(f"{self.path} gives {name} of shape {list(result.shape)}, not {list(expected)}")
        return [result[:rows] for result in results]

    def run_on_device(self, names: Sequence[str], tensors: Mapping[str, Any]) -> dict[str, Any]:
        """Return the named outputs as OrtValues on the graph's device. The inputs are tensors that support DLPack.

        Raises:
            InputError: an input is missing, has another type or shape, or can't be shared.
            BundleError: onnxruntime can't run the graph.
        """
        inputs = _signature(self.session.get_inputs())
        if other := tensors.keys() ^ inputs.keys():
            raise InputError(f"the tensors must be {', '.join(inputs)}; {quoted(min(other))} is missing or too many")
        values = {name: _shared(name, tensors[name], *wanted) for name, wanted in inputs.items()}
        if len({value.shape()[0] for value in values.values()}) > 1:
            raise InputError(f"the tensors differ in their number of rows: {[v.shape()[0] for v in values.values()]}")
        binding = self.session.io_binding()
        try:
            for name, value in values.items():
                binding.bind_ortvalue_input(name, value)
            for name in names:
                binding.bind_output(name, *self._device)
            self.session.run_with_iobinding(binding)
            binding.synchronize_outputs()
        except Exception as error:  # onnxruntime's exceptions share no narrower base
            raise BundleError(f"{self.path} fails in onnxruntime: {shortened(error)}") from error
        return dict(zip(names, binding.get_outputs(), strict=True))

    @property
    def _device(self) -> tuple[str, int]:
        """The type and the number of the device that it runs on."""
        if not self.on_gpu:
            return "cpu", 0
        return "cuda", int(self.session.get_provider_options()[CUDA]["device_id"])


def _shared(name: str, tensor: Any, kind: str, shape: tuple[int, ...]) -> Any:
    """Return an OrtValue that shares the memory of a tensor. Raises InputError if it isn't as the graph wants it."""
    import onnxruntime

    try:
        is_value = isinstance(tensor, onnxruntime.OrtValue)
        value = tensor if is_value else onnxruntime.OrtValue.from_dlpack(tensor)
    except Exception as error:  # from onnxruntime, or from the tensor's own code
        raise InputError(f"{name} can't be shared as a contiguous DLPack tensor: {shortened(error)}") from error
    sizes = tuple(value.shape())
    if value.data_type() != kind or len(sizes) != len(shape) + 1 or not all(map(_takes, shape, sizes[1:])):
        wanted = f"{kind} [{', '.join(map(str, ('n', *shape)))}]"
        raise InputError(f"{name} must be {wanted}, got {value.data_type()} {list(sizes)}")
    return value


def _takes(declared: int | str, size: int) -> bool:
    """Return True if a graph that declares a size takes this one. A name in its place stands for any."""
    return isinstance(declared, str) or size == declared


def _padded(feed: Feed) -> Feed:
    """Repeat the last row until the number of rows is a power of two.

    For each new batch size, cuDNN tries all algorithms of each convolution, which takes longer than running the batch.
    """
    rows = len(next(iter(feed.values())))
    missing = (1 << (rows - 1).bit_length()) - rows
    if missing == 0:
        return feed
    return {name: np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) for name, array in feed.items()}


def _run_bound(session: Any, names: Sequence[str], feed: Feed) -> list[NDArray[Any]]:
    """Run a graph on a GPU. Inputs are copied there before it starts, and only the named outputs are copied back."""
    binding = session.io_binding()
    for name, array in feed.items():
        binding.bind_cpu_input(name, array)
    for name in names:
        binding.bind_output(name)  # outputs are returned on the CPU
    session.run_with_iobinding(binding)
    results: list[NDArray[Any]] = binding.copy_outputs_to_cpu()
    return results


def open_graphs(
    bundle: Bundle, providers: Sequence[Provider] | None, threads: int | None = None, spin: bool = True
) -> dict[str, Graph]:
    """Return the graphs of a bundle by their file names, on the same providers.

    Without `providers` they run on CUDA if it can be loaded, otherwise on the CPU. With `spin`, threads that have
    nothing to do wait in a loop for a while, which takes the CPU from others.

    Raises:
        BundleError: a graph has content that no flow has, onnxruntime can't load it, or it contradicts the manifest.
        InputError: a named provider is unknown or can't be loaded, or `threads` is below 1.
    """
    options = _options(threads, spin)
    if providers is not None:
        return _open_all(bundle, checked_providers(providers), options)
    try:
        return _open_all(bundle, default(), options)
    except InputError:  # there is a device, but not the libraries or the driver that this onnxruntime needs
        return _open_all(bundle, checked_providers([CPU]), options)


def _open_all(bundle: Bundle, chosen: Chosen, options: Any) -> dict[str, Graph]:
    x = {"x": (_FLOAT, bundle.event_shape)}
    latents = {name: (_FLOAT, shape) for name, shape in zip(bundle.latent_names, bundle.latent_shapes, strict=True)}
    context = {}
    if bundle.context is not None:
        context = {"context": (_FLOAT if bundle.context.classes is None else _INT64, bundle.context.shape)}
    noise, dequantization = (
        {name: (_FLOAT, each.shape) for name, each in (arrays or {}).items()}
        for arrays in (bundle.noise, bundle.dequantization)
    )
    signatures = {
        ENCODER: (x | context, {**latents, "log_prob": (_FLOAT, ())}),
        DECODER: (latents | context, x),
        BASE: (noise | context, latents),
        DEQUANTIZER: ({"k": x["x"], **dequantization}, {"u": x["x"], "log_q": (_FLOAT, ())}),
    }
    return {name: _open(bundle, name, *signatures[name], chosen, options) for name in bundle.graphs}


def _options(threads: int | None, spin: bool) -> Any:
    import onnxruntime  # imported here, so that the noise can be used without onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _SILENT
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    if threads is not None:
        options.intra_op_num_threads = integer("threads", threads, 1, MAX_THREADS + 1)
    return options


def _open(bundle: Bundle, name: str, inputs: Tensors, outputs: Tensors, chosen: Chosen, options: Any) -> Graph:
    import onnxruntime

    path = bundle.directory / name
    try:
        check_graph(path, {name: (_KINDS[kind], shape) for name, (kind, shape) in inputs.items()}, bundle.weights_file)
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} is no graph of a flow: {error}; export the bundle again") from error
    try:
        session = open_session(path, options, chosen)
        found = _signature(session.get_inputs()), _signature(session.get_outputs())
    except InputError:
        raise
    except Exception as error:  # onnxruntime's errors have no narrower base, and names may not be UTF-8
        version = onnxruntime.__version__
        raise BundleError(f"onnxruntime {version} cannot load {path} (a newer one may): {shortened(error)}") from error
    wanted = inputs, outputs
    if not all(map(_match, found, wanted)):
        maps, implies = (shortened(" to ".join(map(_describe, pair))) for pair in (found, wanted))
        raise BundleError(f"{path} maps {maps}, but the manifest implies {implies}: export the bundle again")
    return Graph(path, session, outputs, on_gpu=session.get_providers()[0] == CUDA)


def _signature(nodes: Sequence[Any]) -> Tensors:
    return {node.name: (node.type, tuple(node.shape[1:])) for node in nodes}


def _match(found: Tensors, wanted: Tensors) -> bool:
    """Return True if a graph's tensors have the wanted types, and take the wanted shapes."""
    if found.keys() != wanted.keys():
        return False
    pairs = [(found[name], wanted[name]) for name in wanted]
    return all(
        kind == other and len(shape) == len(sizes) and all(map(_takes, shape, sizes))
        for (kind, shape), (other, sizes) in pairs
    )


def _describe(tensors: Tensors) -> str:
    each = (
        f"{name} [n, {', '.join(map(str, shape))}]" if shape else f"{name} [n]" for name, (_, shape) in tensors.items()
    )
    return ", ".join(each)
