"""What is done to a graph that torch has exported before it is stored."""

from typing import Any

import onnx_ir.passes.common as passes
from onnxscript import optimizer
from onnxscript.rewriter import rewrite
from onnxscript.rewriter.rules import common as rules

# Normalisation after padding: of a convolution that has just taken in its padding, no rule of the same run
# finds what follows.
_RULES = (
    (
        rules.collapse_slice_rule,
        rules.collapse_slice2_rule,
        rules.normalize_pad_format_conv_rule,
        rules.fuse_pad_into_conv_rule,
    ),
    (rules.fuse_batchnorm_into_conv_rule,),
)


def simplify(model: Any) -> None:
    """Fold constants, merge equal nodes, fuse padding and normalisation into convolutions, in place.

    The exporter's own optimisation tries all of its rules on every node, which took half the time of an
    export. ONNX Runtime applies the others when it loads the file.

    Args:
        model: The `model` of an exported program, an `onnx_ir.Model`.
    """
    optimizer.fold_constants(model)
    optimizer.remove_unused_nodes(model)
    passes.LiftConstantsToInitializersPass()(model)
    for together in _RULES:  # before equal biases become one: a convolution that shares its own is not fused
        rewrite(model, together)
    passes.CommonSubexpressionEliminationPass()(model)
    passes.DeduplicateInitializersPass()(model)
