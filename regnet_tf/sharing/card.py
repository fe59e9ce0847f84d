"""The model card of a shared network: what it is, how it was trained, and how to use it."""

from regnet_tf._errors import printable
from regnet_tf._markdown import markdown_table
from regnet_tf.costs import complexity
from regnet_tf.published import PUBLISHED_SETS, weights_info
from regnet_tf.sharing.hub import is_hub_name, repository_of
from regnet_tf.sharing.network import SharedNetwork

#: Libraries that may read a folder, in the order of the card.
LIBRARIES = ("timm", "regnet_tf", "Keras", "KerasHub")
_SHOWN_CLASSES = 20
#: Names that the hub knows. Others are written as another name.
_LICENCES = (
    *("mit", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "isc", "mpl-2.0", "unlicense"),
    *("gpl-3.0", "lgpl-3.0", "agpl-3.0", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0"),
    *("cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0", "openrail"),
)
#: By channels of the network: modes of images in Pillow and in Keras.
_MODES = {1: ("L", "grayscale"), 3: ("RGB", "rgb"), 4: ("RGBA", "rgba")}


def model_card(network: SharedNetwork, place: str, libraries: tuple[str, ...]) -> str:
    """Returns the model card of a network, in markdown, with the metadata that the hub reads.

    Args:
        network: the network.
        place: `hf://user/name`, or the name of the folder.
        libraries: libraries that read the folder, of `LIBRARIES`.
    """
    sections = [
        f"---\n{_metadata(network, libraries)}\n---",
        f"# {printable(network.name)}",
        *_about(network),
        *_training(network),
        *_accuracy(network),
        "## How to use it",
        *_usage(network, place, libraries),
        "## Licence",
        network.licence or "No licence is stated. Ask the author before you use the network.",
    ]
    return "\n\n".join(sections) + "\n"


def _metadata(network, libraries):
    from huggingface_hub import EvalResult, ModelCardData

    tasks = {"segmentation": "image-segmentation", "backbone": "image-feature-extraction"}
    task, training = tasks.get(network.kind, "image-classification"), network.training
    results = None
    if training is not None and "accuracy" in training.scores:
        results = [
            EvalResult(
                task_type=task,
                dataset_type="held-out",
                dataset_name=training.data,
                metric_type="accuracy",
                metric_value=round(training.scores["accuracy"], 4),
            )
        ]
    names = {"timm": "timm", "KerasHub": "keras-hub", "Keras": "keras"}
    readers = [name for library, name in names.items() if library in libraries]
    data = ModelCardData(
        library_name=readers[0],
        pipeline_tag=task,
        tags=["regnet", *readers],
        base_model=_base_model(training),
        model_name=network.name if results else None,
        eval_results=results,
        **_licence(network.licence),
    )
    return data.to_yaml()


def _base_model(training):
    """Returns the repository of the weights that a training began with, or None."""
    if training is None or training.base is None:
        return None
    if is_hub_name(training.base):
        return repository_of(training.base)
    return weights_info(training.base).hub_repository


def _licence(name):
    if name is None:
        return {}
    return {"license": name} if name in _LICENCES else {"license": "other", "license_name": name}


def _about(network):
    config, preprocessing = network.config, network.preprocessing
    size = preprocessing.image_size
    options = {"classes": network.classes} if network.kind.endswith("classifier") else {}
    cost = complexity(
        config, size, channels=preprocessing.channels, include_top=bool(options), **options
    )
    whats = {
        "segmentation": f"segments images into {network.classes} classes",
        "backbone": "computes features of images",
        "multi-label classifier": f"tells which of {network.classes} classes an image has",
    }
    what = whats.get(network.kind, f"classifies images into {network.classes} classes")
    trunk = " without its decoder" if network.kind == "segmentation" else ""
    yield (
        f"This network {what}. It is a RegNet, {printable(config.name)}:"
        f" {_counted(cost.parameters)} parameters and {_counted(cost.multiply_adds)} multiply-adds"
        f" at {size} pixels{trunk}."
    )
    rows = [
        ("image size", f"{size} pixels"),
        ("shorter side before the crop", f"{preprocessing.shorter_side} pixels"),
        ("interpolation", preprocessing.interpolation),
        ("mean", ", ".join(f"{value:.4g}" for value in preprocessing.mean)),
        ("standard deviation", ", ".join(f"{value:.4g}" for value in preprocessing.std)),
    ]
    yield markdown_table(("input", "value"), rows, left=(0, 1))
    if network.assumed:
        yield "The preprocessing is unknown. These are the numbers usual for ImageNet."
    if network.class_names:
        shown = ", ".join(f"`{printable(name)}`" for name in network.class_names[:_SHOWN_CLASSES])
        more = len(network.class_names) - _SHOWN_CLASSES
        yield f"Classes: {shown}" + (f" and {more} more." if more > 0 else ".")


def _counted(number):
    """Returns a number, from a million on in words, such as "3.2 million"."""
    if number < 1e6:
        return f"{number:,}"
    unit, word = (1e9, "billion") if number >= 1e9 else (1e6, "million")
    return f"{number / unit:.3g} {word}"


def _training(network):
    if network.info is not None:
        yield "## Training"
        yield (
            f"These are the weights `{network.info.tag}`, published as"
            f" `{network.info.hub_repository}` and trained by {network.info.origin or 'timm'}."
        )
    if network.training is not None:
        yield "## Training"
        yield markdown_table(("training", "value"), network.training.facts.items(), left=(0, 1))
        yield f"Trained by `regnet train` with {', '.join(network.training.versions)}."


def _accuracy(network):
    if network.info is not None and network.info.published:
        yield "## Accuracy"
        rows = [
            (
                PUBLISHED_SETS[entry["dataset"]].title,
                entry["source"],
                entry["image_size"],
                f"{entry['top1']:.2f}",
            )
            for entry in network.info.published
        ]
        yield markdown_table(("data", "measured by", "pixels", "top-1 %"), rows, left=(0, 1))
    if network.training is not None:
        yield "## Accuracy"
        yield f"Measured on {network.training.test_images:,} images held out from the training."
        scores = network.training.scores.items()
        shares = [(name.replace("_", " "), f"{100 * value:.2f}") for name, value in scores]
        yield markdown_table(("score", "%"), shares)
        if network.training.selected:
            yield "The epoch was selected by these images, so new images may get a lower score."


def _usage(network, place, libraries):
    if not is_hub_name(place):
        yield f"Run these lines in the folder that contains `{place}`."
    usages = {"timm": _timm, "regnet_tf": _regnet_tf, "Keras": _keras, "KerasHub": _keras_hub}
    for library in libraries:
        lines = "\n".join(usages[library](network, place))
        yield f"### {library}"
        yield f"```python\n{lines}\n```"
    if "regnet_tf" in libraries:
        yield "### Command line"
        yield f"```\nregnet predict {place} photo.jpg\n```"


def _timm(network, place):
    name = f"hf-hub:{repository_of(place)}" if is_hub_name(place) else f"local-dir:{place}"
    yield from (
        "import timm",
        "import torch",
        "from PIL import Image",
        "",
        f'model = timm.create_model("{name}", pretrained=True).eval()',
    )
    mode, _ = _MODES.get(network.preprocessing.channels, (None, None))
    if mode is None:
        return
    outputs = {"classifier": ".softmax(-1)", "multi-label classifier": ".sigmoid()"}
    yield from (
        "config = timm.data.resolve_model_data_config(model)",
        f'image = Image.open("photo.jpg").convert("{mode}")',
        "images = timm.data.create_transform(**config)(image)[None]",
        "with torch.inference_mode():",
        f"    print(model(images){outputs.get(network.kind, '')})",
    )


def _regnet_tf(network, place):
    options = {
        "multi-label classifier": ', classifier_activation="sigmoid"',
        "backbone": ', include_top=False, pooling="avg"',
    }
    yield from (
        "import regnet_tf",
        "",
        f'model = regnet_tf.build_regnet("{place}", weights=True{options.get(network.kind, "")})',
        *_prediction(network),
    )


def _prediction(network):
    yield 'images = regnet_tf.preprocessing_for(model)("photo.jpg")'
    if network.kind == "classifier" and network.class_names:
        yield "print(regnet_tf.decode_predictions(model.predict(images), model=model))"
    else:
        yield "print(model.predict(images))"


def _keras(network, place):
    file = f'"{place}/model.keras"'
    yield "import keras"
    if is_hub_name(place):
        file = f'hf_hub_download("{repository_of(place)}", "model.keras")'
        yield "from huggingface_hub import hf_hub_download"
    yield from (
        "",
        "import regnet_tf  # registers the layers",
        "",
        f"model = keras.saving.load_model({file})",
        *_prediction(network),
    )


def _keras_hub(network, place):
    kind = "ImageClassifier" if network.kind.endswith("classifier") else "Backbone"
    yield from (
        "import keras",
        "import keras_hub",
        "",
        "import regnet_tf.keras_hub  # registers the classes",
        "",
        f'model = keras_hub.models.{kind}.from_preset("{place}")',
    )
    _, mode = _MODES.get(network.preprocessing.channels, (None, None))
    if kind == "ImageClassifier" and mode is not None:
        yield from (
            f'image = keras.utils.load_img("photo.jpg", color_mode="{mode}")',
            "print(model.predict(keras.utils.img_to_array(image)[None]))",
        )
