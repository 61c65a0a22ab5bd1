"""The adapters that roles are built from, made from the settings; a file a server."""
