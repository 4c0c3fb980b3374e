"""Starting the explorer: a socket on this machine, a browser, and a clean end."""

from __future__ import annotations

import contextlib
import socket
import webbrowser
from pathlib import Path

from pellucid.core.errors import ConfigError, PellucidError
from pellucid.core.logging import log
from pellucid.hosts import Host
from pellucid.web.explorer.explored import ExploredRun
from pellucid.web.explorer.security import is_loopback


def explore(
    run: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    elsewhere: bool = False,
    browser: bool = True,
    model: Host | None = None,
) -> str:
    """Serve the explorer of an indexed run until Ctrl-C; return the address it had.

    `port` 0 takes a free one. An address outside the loopback needs `elsewhere` and is warned of: whoever reaches it can
    read the run and use the host network. `model` is used instead of the host that the run names. Raises RunError if the
    run has no finished index, ConfigError if the address cannot be used, PellucidError if a package is not installed.
    """
    try:
        import uvicorn

        from pellucid.web.explorer.app import make_app
    except ImportError as error:
        raise PellucidError(f"the explorer needs {error.name}, which is not installed: pip install 'pellucid[web]'") from None
    check_address(host, elsewhere)
    opened = ExploredRun(run)
    listening = bind(host, port)
    listening.listen()  # before the address is said: whoever asks early waits instead of being refused
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listening.getsockname()[1]}/"
    app = make_app(opened, model, hosts=() if is_loopback(host) else ("*",))
    opened.warm()
    log.info("explorer of %s: %s (Ctrl-C stops it)", opened.run, address)
    if browser:
        webbrowser.open(address)
    try:
        uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listening])
    except KeyboardInterrupt:
        pass
    finally:
        listening.close()
        opened.close()
    return address


def check_address(host: str, elsewhere: bool) -> None:
    """Raise ConfigError if an address outside the loopback was not asked for twice; warn of it if it was."""
    if is_loopback(host):
        return
    if not elsewhere:
        raise ConfigError(
            f"--host {host} is not an address of this machine's loopback: everybody who reaches it could read the run and use "
            f"the host network. If that is wanted, add --elsewhere; otherwise leave --host out."
        )
    log.warning("the explorer listens on %s without a password: whoever reaches it reads this run and uses its host", host)


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address; ConfigError if that cannot be."""
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with contextlib.ExitStack() as stack:
            made = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(place)
            stack.pop_all()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"port {port} of {host} cannot be used: {error}. Choose another --port; 0 takes a free one."
        ) from None
    return made
