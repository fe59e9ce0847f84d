"""The design spaces of the paper, by name; numpy only."""

from regnet_tf.design_space.anynet import AnyNetSpace
from regnet_tf.design_space.regnet import RegNetSpace

ANYNETX_A = AnyNetSpace(name="AnyNetX_A")
ANYNETX_B = ANYNETX_A.replace(name="AnyNetX_B", shared_bottleneck_ratio=True)
ANYNETX_C = ANYNETX_B.replace(name="AnyNetX_C", shared_group_width=True)
ANYNETX_D = ANYNETX_C.replace(name="AnyNetX_D", nondecreasing_widths=True)
ANYNETX_E = ANYNETX_D.replace(name="AnyNetX_E", nondecreasing_depths=True)
REGNET = RegNetSpace(name="RegNet")

#: RegNetX with the final constraints of section 4. Group widths are multiples of 8 up to 128, as in
#: pycls ("for models over 16GF, higher ranges are necessary").
REGNETX = REGNET.replace(
    name="RegNetX",
    depths=(12, 28),
    width_multipliers=(2.0, 3.0),
    bottleneck_ratios=(1.0,),
    group_widths=tuple(range(8, 129, 8)),
)
REGNETY = REGNETX.replace(name="RegNetY", se_ratio=0.25)

#: Name in the paper -> design space.
SPACES = {
    space.name: space
    for space in (
        ANYNETX_A, ANYNETX_B, ANYNETX_C, ANYNETX_D, ANYNETX_E, REGNET, REGNETX, REGNETY,
    )
}  # fmt: skip
