"""The exceptions this package raises on purpose."""


class FlowRuntimeError(Exception):
    """Base of every error raised by flowkit_runtime."""


class BundleError(FlowRuntimeError):
    """The bundle is missing, damaged or unsupported, or it cannot do what was asked of it."""


class InputError(FlowRuntimeError):
    """An argument has the wrong type, shape, range or value."""


class VerificationError(BundleError):
    """The graphs deviate from the model that they were made from."""
