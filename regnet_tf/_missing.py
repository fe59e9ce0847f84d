"""The error for a name that `regnet_tf` does not have."""

from collections.abc import Iterable

from regnet_tf._errors import nearest_names
from regnet_tf.variants import VARIANTS, is_variant, variant_key


def missing(name: str, known: Iterable[str]) -> AttributeError:
    """Returns the error for an attribute of `regnet_tf`, with the nearest names.

    Args:
        name: the attribute. For any name of a variant, the nearest name is its model function.
        known: names of the attributes.
    """
    public = [one for one in known if not one.startswith("_")]
    functions = [VARIANTS[variant_key(name)].function_name] if is_variant(name) else []
    near = [one for one in functions if one in public] or nearest_names(name, public)
    hint = f". Nearest: {', '.join(near)}" if near else ""
    return AttributeError(f"module 'regnet_tf' has no attribute {name!r}{hint}")
