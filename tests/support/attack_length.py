"""How long attacks last: RWSPLIT_ATTACK_TIMES times as long as in `make test`; `make attack` sets it.

What an attack repeats, how many clients or examples it takes, or how many seconds it goes on, is a
number for `make test`, multiplied by `TIMES`.
"""

from __future__ import annotations

import os
from typing import Final

TIMES: Final = int(os.environ.get("RWSPLIT_ATTACK_TIMES", "1"))
