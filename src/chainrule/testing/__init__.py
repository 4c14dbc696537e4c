"""Takes: functions of tensors. Gives: numerical gradients, and checks of derivatives against them.
The one idea: a derivative is right when differences of the function itself say so.
Next room: nn.
"""

from chainrule.testing.gradcheck import (
    GradientReport,
    gradcheck,
    gradgradcheck,
    numerical_gradient,
)

__all__ = ["GradientReport", "gradcheck", "gradgradcheck", "numerical_gradient"]
