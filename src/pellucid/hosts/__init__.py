"""Networks under study, and the sites in them."""

from pellucid.hosts.host import Edit, Head, Host, Result
from pellucid.hosts.replay import Prefix
from pellucid.hosts.site import Site

__all__ = ["Edit", "Head", "Host", "Prefix", "Result", "Site"]
