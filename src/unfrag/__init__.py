"""unfrag finds, fixes and guards the GPU memory of large-language-model servers."""

__version__ = "0.1.0"
