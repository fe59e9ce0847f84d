"""Files about a network that are part of every exported file, for other programs to read."""

import json

from regnet_tf._files import FACTS_FILE, LABELS_FILE

from .network import Network
from .source import Source


def descriptions(source: Source, network: Network) -> dict[str, str]:
    """Returns the files about a network that others read: name -> text.

    `labels.txt` has a name for each class on a line, in words for people. `facts.json` is an object
    with

    - "preprocessing": the fields of the `Preprocessing` from a photograph to the exported file's
      input, which are levels of 0 to 255
    - "class_names": the names as the network has them, such as ImageNet's synsets
    - "independent": whether an image can have several classes
    """
    count = source.preprocessing.channels
    levels = source.preprocessing.replace(mean=(0.0,) * count, std=(1 / 255,) * count)
    facts = {
        "preprocessing": levels.to_dict(),
        "class_names": list(source.class_names),
        "independent": network.is_multi_label,
    }
    texts = {FACTS_FILE: json.dumps(facts, indent=2) + "\n"}
    if source.labels:
        texts[LABELS_FILE] = "".join(f"{name}\n" for name in source.labels)
    return texts
