"""Pure text: what the services read, made from plain values. Nothing here imports pulumi."""
