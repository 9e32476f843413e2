"""What the relay costs and what it adds, measured beside a peer and a floor: ``python -m benchmarks --help``."""
