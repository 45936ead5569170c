"""Names the numbers in ONNX files: of the fields of each message, and of the types of tensors.

Those of the fields are from https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. Only fields that are read are here.
"""


class ModelProto:
    """Fields of a file."""

    GRAPH, TRAINING_INFO, FUNCTIONS = 7, 20, 25


class GraphProto:
    """Fields of a graph."""

    NODE, INITIALIZER, INPUT, OUTPUT, SPARSE_INITIALIZER = 1, 5, 11, 12, 15


class ValueInfoProto:
    """Fields of what describes an input or an output."""

    NAME = 1


class NodeProto:
    """Fields of an operator."""

    INPUT, OUTPUT, OP_TYPE, ATTRIBUTE, DOMAIN = 1, 2, 4, 5, 7


class AttributeProto:
    """Fields of an attribute. F, I, S, T and G hold a float, an integer, bytes, a tensor and a graph."""

    NAME, F, I, S, T, G, FLOATS, INTS = 1, 2, 3, 4, 5, 6, 7, 8  # noqa: E741
    GRAPHS, TYPE, SPARSE_TENSOR, SPARSE_TENSORS = 11, 20, 22, 23


class TensorProto:
    """Fields of a constant."""

    DIMS, DATA_TYPE, FLOAT_DATA, INT32_DATA, INT64_DATA, NAME, RAW_DATA = 1, 2, 4, 5, 7, 8, 9
    DOUBLE_DATA, UINT64_DATA, EXTERNAL_DATA, DATA_LOCATION = 10, 11, 13, 14


class StringStringEntryProto:
    """Fields of an entry that says where data outside the file are."""

    KEY, VALUE = 1, 2


DTYPES = {
    **{1: "<f4", 2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?"},
    **{10: "<f2", 11: "<f8", 12: "<u4", 13: "<u8", 16: "<u2"},
}
"""{number of a type: numpy's name for it} of real numbers. The bits of a bf16 are read as an integer."""
FLOAT, INT32, INT64, BOOL = 1, 6, 7, 9
HALVES = (10, 16)
"""The floating-point types of 16 bits: fp16 and bf16. Their values aren't read, because numpy has no bf16."""
FLOATS = (FLOAT, 11, *HALVES)
"""The floating-point types: fp32, fp64 and those of 16 bits."""
