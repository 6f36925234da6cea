"""Commands around `pulumi`: what has to happen before and after the engine runs.

`make up`, `make preview` and `make down` call them; plain `pulumi` works too, without the checks and the clean-up.
"""
