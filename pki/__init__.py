"""What is true of certificates and keys: pure functions on `cryptography`, for settings, checks and components.

Nothing here looks at files, the network or the clock, and nothing imports pulumi. Importing it takes a tenth of a
second, so whoever needs it on some runs only imports it there.
"""
