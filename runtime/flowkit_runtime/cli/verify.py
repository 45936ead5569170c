"""Implements `flowkit-runtime verify`."""

from flowkit_runtime.cli.options import BundlePath, ProviderNames, names
from flowkit_runtime.cli.terminal import echo


def verify(bundle: BundlePath, providers: ProviderNames = None) -> None:
    """Verify a bundle on this machine: its files, and its graphs in onnxruntime against the outputs of the fp64 model.

    Example: flowkit-runtime verify exports/glow-digits
    """
    from flowkit_runtime import verification

    echo(verification.table(verification.verify(bundle, names(providers))))
    echo(f"{bundle}: verified at batch sizes {', '.join(map(str, verification.BATCH_SIZES))}")
