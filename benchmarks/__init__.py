"""Benchmarks: whole training steps of several frameworks in one interleaved run."""
