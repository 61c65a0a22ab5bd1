"""Starts every embedded server in the folder of argv[1], prints their pids, then waits."""

import signal
import sys
from pathlib import Path

from deploy.embedded import Embedded

with Embedded(Path(sys.argv[1]), durable=False) as embedded:
    embedded.start_postgres()
    embedded.start_mongod()
    embedded.start_valkey()
    embedded.start_anvil(11155931)
    print(*(server.pid for server in embedded.servers.values()), flush=True)
    signal.pause()
