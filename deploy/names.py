"""Names in the stores that more than one command uses."""

MONGO_DATABASE = "risecurve"
