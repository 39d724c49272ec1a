"""The ESP-DL v1/v2 generation: float ONNX to exponents, integers and the C++ project of that time.

It replaces the closed calibrator of esp-dl v1 (Python 3.7 only) and generates the files that its
tutorials ask a person to write. It is not a `Runtime` of the bench: nothing here runs on a board.
"""
