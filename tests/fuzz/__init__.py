"""Random requests by the OpenAPI document against a whole running system."""
