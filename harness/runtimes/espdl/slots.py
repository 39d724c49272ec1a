"""The numbers of the fields that are read, by table, as espdl.fbs of ESP-DL v3.3.9 orders them."""

from __future__ import annotations

MODEL_GRAPH = 7


class GraphSlot:
    NODES = 0
    INITIALIZERS = 2
    INPUTS = 4
    OUTPUTS = 5
    VALUE_INFO = 6
    TEST_INPUTS = 8
    TEST_OUTPUTS = 9


class NodeSlot:
    INPUTS = 0
    OUTPUTS = 1
    OP_TYPE = 3
    ATTRIBUTES = 5


class AttributeSlot:
    NAME = 0
    TYPE = 3
    INTEGER = 5
    STRING = 6
    INTEGERS = 11


class TensorSlot:
    DIMS = 0
    DATA_TYPE = 1
    NAME = 6
    DOC_STRING = 7
    RAW_DATA = 8
    DATA_LOCATION = 10
    EXPONENTS = 13


class ValueSlot:
    """ValueInfo; its type is a table whose slot 1 holds a TensorTypeAndShape."""

    NAME = 0
    TYPE = 1
    EXPONENTS = 3
