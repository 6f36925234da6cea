"""How the engine, its plugins, the Python environments and the development images are obtained.

Standard library only: this package runs on a fresh machine, before anything is installed (`python3 -m toolchain`).
"""
