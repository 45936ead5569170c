"""Implements `flowkit-runtime verify`."""

from flowkit_runtime.cli.options import BundlePath, ProviderNames, Verbose, names
from flowkit_runtime.cli.terminal import echo


def verify(bundle: BundlePath, providers: ProviderNames = None, verbose: Verbose = False) -> None:
    """Verify a bundle on this machine: its files, and its graphs in onnxruntime against the outputs of the fp64 model.

    Example: flowkit-runtime verify exports/glow-digits
    """
    from flowkit_runtime import verification
    from flowkit_runtime.verdict import table, verdict

    figures = verification.verify(bundle, names(providers))
    echo(verdict(figures))
    if verbose:
        echo(f"\n{table(figures)}\n")
    echo(f"{bundle}: as exported, at batch sizes {', '.join(map(str, verification.BATCH_SIZES))}")
