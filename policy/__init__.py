"""The policy pack: what no stack may do, whatever its program says.

The engine runs it beside a preview or an update (`--policy-pack policy`), see docs/decisions/0025-policy-pack.md.
"""
