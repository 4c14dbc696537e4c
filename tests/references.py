"""What every op and composite is compared with: functions that we did not write.

Each entry takes PyTorch tensors in the order of the op's inputs and its attributes by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from references_activations import REFERENCES as ACTIVATIONS
from references_contraction import REFERENCES as CONTRACTION
from references_elementwise import REFERENCES as ELEMENTWISE
from references_layers import REFERENCES as LAYERS
from references_linalg import REFERENCES as LINALG
from references_losses import REFERENCES as LOSSES
from references_movement import REFERENCES as MOVEMENT
from references_recurrent import REFERENCES as RECURRENT

REFERENCES: dict[str, Callable[..., Any]] = {
    **ELEMENTWISE,
    **MOVEMENT,
    **CONTRACTION,
    **LAYERS,
    **ACTIVATIONS,
    **LOSSES,
    **LINALG,
    **RECURRENT,
}
