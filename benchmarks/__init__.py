"""Benchmarks; run from a checkout: python -m benchmarks.gpu."""

from reid_runtime.install import tell_missing

tell_missing()
