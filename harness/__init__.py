"""Hardware-in-the-loop testing and benchmarking of quantised neural networks on ESP32."""

__version__ = "0.1.0"
