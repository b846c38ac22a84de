"""Atomic writes, locks, remote files and concurrency: what every job shares."""
