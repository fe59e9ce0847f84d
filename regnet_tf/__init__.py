"""RegNet ("Designing Network Design Spaces", Radosavovic et al. 2020) for Keras 3."""

import sys
import typing

if sys.argv[:1] == ["-m"]:  # `python -m regnet_tf` runs this file before the program
    import regnet_command

    regnet_command.import_tensorflow_of_program()

from regnet_tf._errors import MissingPackageError, UserError
from regnet_tf._missing import missing as _missing
from regnet_tf.backbones import FeatureInfo, backbone, feature_info, feature_layers
from regnet_tf.class_names import decode_predictions
from regnet_tf.costs import Complexity, complexity
from regnet_tf.decoders import (
    FeaturePyramid,
    FPNDecoder,
    PixelClassifier,
    UNetDecoder,
    segmentation_model,
)
from regnet_tf.facts import Facts, facts_of
from regnet_tf.fusion import fuse
from regnet_tf.layers import (
    BatchNorm,
    Conv,
    ConvNorm,
    DropPath,
    EvoNorm,
    FinalConv,
    Head,
    SqueezeExcite,
    Stage,
    Stem,
    XBlock,
    YBlock,
)
from regnet_tf.models import (
    RegNetV4_0GF,
    RegNetV6_4GF,
    RegNetX1_6GF,
    RegNetX3_2GF,
    RegNetX4_0GF,
    RegNetX6_4GF,
    RegNetX8_0GF,
    RegNetX12GF,
    RegNetX16GF,
    RegNetX32GF,
    RegNetX200MF,
    RegNetX400MF,
    RegNetX600MF,
    RegNetX800MF,
    RegNetY1_6GF,
    RegNetY3_2GF,
    RegNetY4_0GF,
    RegNetY6_4GF,
    RegNetY8_0GF,
    RegNetY12GF,
    RegNetY16GF,
    RegNetY32GF,
    RegNetY200MF,
    RegNetY400MF,
    RegNetY600MF,
    RegNetY800MF,
    RegNetZ4_0GF,
    RegNetZ4_0GFh,
    RegNetZ500MF,
    RegNetZB16,
    RegNetZB16evos,
    RegNetZC16,
    RegNetZC16evos,
    RegNetZD8,
    RegNetZD8evos,
    RegNetZD32,
    RegNetZE8,
    build_regnet,
    freeze,
    freeze_normalization,
)
from regnet_tf.optimizers import SGD, AdamW
from regnet_tf.porting import load_state_dict, to_state_dict
from regnet_tf.preprocessing import (
    Preprocessing,
    load_image,
    preprocess_input,
)
from regnet_tf.published import WeightsInfo, list_weights, weights_info
from regnet_tf.readers import read_state_dict, write_state_dict
from regnet_tf.variants import VARIANTS, RegNetConfig, get_config, list_variants
from regnet_tf.version import __version__
from regnet_tf.weights import preprocessing_for
from regnet_tf.widths import StageConfig, block_widths, generate_stages

if not typing.TYPE_CHECKING:  # type checkers would take every name for an attribute

    def __getattr__(name):
        raise _missing(name, globals())
