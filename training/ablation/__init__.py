"""Ablations: factors that vary, their runs, and what the differences show."""
