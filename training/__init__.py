"""Training after 'Re-ID done right' (Almazán et al., 2018); run from a checkout: python -m training --help."""

from reid_runtime.install import tell_missing

tell_missing()
