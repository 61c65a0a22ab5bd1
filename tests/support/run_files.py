"""What a running system tells other commands, of one that answers nowhere."""

from deploy.runfile import RunFile


def run_of(pid: int) -> RunFile:
    """The system of this process."""
    return RunFile(
        pid=pid,
        api_url="",
        ray_address="",
        ray_folder="",
        rise_rpc="",
        rise_ws="",
        sepolia_rpc="",
        sepolia_ws="",
        database_url="",
        mongodb_url="",
        redis_url="",
    )
