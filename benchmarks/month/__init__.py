"""A simulated month of nightly retraining: `python -m benchmarks.month`."""
