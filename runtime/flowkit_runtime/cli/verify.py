"""`flowkit-runtime verify`"""

from flowkit_runtime.cli.options import BundlePath, ProviderNames, names
from flowkit_runtime.cli.terminal import echo


def verify(bundle: BundlePath, providers: ProviderNames = None) -> None:
    """Check a bundle here and now: its files, and both graphs in onnxruntime against the fp64 model's answers.

    Example: flowkit-runtime verify exports/glow-digits
    """
    from flowkit_runtime import verification

    echo(verification.table(verification.verify(bundle, names(providers))))
    echo(f"{bundle}: verified at batch sizes {', '.join(map(str, verification.BATCH_SIZES))}")
