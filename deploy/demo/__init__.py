"""The demo: real traders with real keys on a real chain, through the doors, checked."""
