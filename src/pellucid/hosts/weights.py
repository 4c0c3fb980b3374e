"""The weight matrix that writes a site, or reads it."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from pellucid.core.errors import SiteError
from pellucid.hosts.host import Host
from pellucid.hosts.site import Site


def site_weights(host: Host, site: Site, width: int) -> Float[Tensor, "d r"]:
    """Return the matrix [width, r] nearest to a site, found by structure.

    At a module's output: of the linear maps in it that write so wide a vector, the one registered last (a block's or an
    MLP's down projection, an attention's output projection), as outputs x inputs. At an input: of those that read so wide
    a vector the one registered first, as inputs x outputs. Singular vectors on the left then lie in the site's space.
    SiteError if the module holds no such matrix.
    """
    module = host.module.get_submodule(site.path)
    found = [oriented for child in module.modules() if (oriented := _written_by_read(child)) is not None]
    if site.side == "output":
        fitting = [matrix for matrix in found if matrix.shape[0] == width][-1:]
    else:
        fitting = [matrix.T for matrix in found if matrix.shape[1] == width][:1]
    if not fitting:
        raise SiteError(
            f"no linear map in module '{site.path}' of {host.name} {'writes' if site.side == 'output' else 'reads'} the "
            f"{width} dimensions of site '{site}', so there are no weights to start from. Use another atom_init"
        )
    return fitting[0].detach()


def _written_by_read(module: nn.Module) -> Tensor | None:
    """Return a linear module's weights as outputs x inputs; None for any other module."""
    weight: Any = getattr(module, "weight", None)
    if isinstance(module, nn.Linear):
        return weight
    if isinstance(module, nn.Embedding) or type(module).__name__ == "Conv1D":  # that of transformers, inputs x outputs
        return weight.T
    return None
