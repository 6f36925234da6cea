"""What only developers run: generated documentation, the review of a change, benchmarks."""
