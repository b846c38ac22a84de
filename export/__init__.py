"""Export and optimisation, each step gated on numbers; run from a checkout: python -m export.to_onnx --help."""

from reid_runtime.install import tell_missing

tell_missing()
