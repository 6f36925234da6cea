"""The real engine, real plugins and real Docker; the probe plays the images no registry-free machine can pull.

One deployment serves most tests. It lives in a copy of the checkout with state, passphrase, ports and names of its own,
so neither the checkout nor a stack that runs on this machine is touched.
"""
