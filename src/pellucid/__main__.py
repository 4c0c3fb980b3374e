"""`python -m pellucid`, which is what torchrun starts."""

from __future__ import annotations

import sys

from pellucid.cli import main

sys.exit(main())
