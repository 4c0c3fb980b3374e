"""Networks under study, and the sites in them."""

from pellucid.hosts.host import Host
from pellucid.hosts.replay import Prefix
from pellucid.hosts.result import Edit, Head, Result
from pellucid.hosts.site import Site

__all__ = ["Edit", "Head", "Host", "Prefix", "Result", "Site"]
