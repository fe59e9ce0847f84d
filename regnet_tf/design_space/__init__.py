"""Design spaces of the paper: describe them, draw from them, fit and compare them.

numpy only; nothing is trained here.
"""

from regnet_tf.design_space.analysis import (
    Band,
    balanced_weights,
    best_models,
    best_range,
    distribution_band,
    error_distribution,
    error_quantile,
    expected_minimum,
    kolmogorov_smirnov,
    kolmogorov_smirnov_p_value,
)
from regnet_tf.design_space.anynet import AnyNetSpace
from regnet_tf.design_space.budget import regnets_of
from regnet_tf.design_space.candidates import Candidates
from regnet_tf.design_space.fitting import Fit, fit_regnet, widths_of
from regnet_tf.design_space.named import (
    ANYNETX_A,
    ANYNETX_B,
    ANYNETX_C,
    ANYNETX_D,
    ANYNETX_E,
    REGNET,
    REGNETX,
    REGNETY,
    SPACES,
)
from regnet_tf.design_space.regnet import RegNetSpace
from regnet_tf.design_space.sampling import sample
from regnet_tf.design_space.spaces import DesignSpace
