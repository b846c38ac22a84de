"""Runnable examples, and the crops that they run on."""
