"""Files about a network that are part of every exported file, for other programs to read."""

import json

LABELS_FILE = "labels.txt"
PREPROCESSING_FILE = "preprocessing.json"


def descriptions(preprocessing, labels):
    """Returns the files about a network that others read: name -> text.

    `labels.txt` has the name of each class on a line. `preprocessing.json` has the fields of the
    `Preprocessing` from a photograph to the exported file's input, which are levels of 0 to 255.
    """
    count = preprocessing.channels
    levels = preprocessing.replace(mean=(0.0,) * count, std=(1 / 255,) * count)
    texts = {PREPROCESSING_FILE: json.dumps(levels.to_dict(), indent=2) + "\n"}
    if labels:
        texts[LABELS_FILE] = "".join(f"{name}\n" for name in labels)
    return texts
