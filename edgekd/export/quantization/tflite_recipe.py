"""Which operators of a TFLite file stay in float, in the LiteRT quantizer's own vocabulary."""

from typing import Final

KEEP_FLOAT: Final = (
    # (regular expression over an operator's scope, operator): not quantized
    (".*", "INPUT"),  # float32 (or raw uint8) in and float32 out, as the fp32 file
    (".*", "OUTPUT"),
    # Raw pixels are normalised in float and quantized once, for the first convolution.
    ("InputNormalisation", "*"),
)
