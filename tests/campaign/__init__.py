"""What a stack survives, case by case on the real engine and Docker: an hour of it, apart from `make test`."""
