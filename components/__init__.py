"""The parts of a Reflector deployment: one room a concern, named as its settings are.

A room's package offers one function that takes the concern's settings and the handles of what it needs, and returns a
handle; its modules hold a component each. Rooms never import each other: they meet in `__main__.py`, by the handles of
`components.base`. Nothing here reads configuration.
"""
