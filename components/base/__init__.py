"""What every room stands on: containers, volumes, steps, secrets, the daemon, and the handles rooms give each other."""
