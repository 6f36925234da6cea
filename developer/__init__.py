"""What only developers run: measurements, and what looks after the repository itself.

Nothing a deployment needs is here, and nothing here is imported by what a deployment runs.
"""
