"""The model card of a shared network: what it is, how it was trained, and how to use it."""

from collections.abc import Iterator
from pathlib import Path

from regnet_tf._errors import printable
from regnet_tf._markdown import markdown_table
from regnet_tf.costs import complexity
from regnet_tf.sharing.hub import is_hub_name, repository_of
from regnet_tf.sharing.network import SharedNetwork

#: Libraries that may read a folder, in the order of the card.
LIBRARIES = ("timm", "regnet_tf", "Keras", "KerasHub")
_SHOWN_CLASSES = 20
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # of Pillow's images


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
    task = tasks.get(network.kind, "image-classification")
    accuracy = network.run.get("results", {}).get("accuracy")
    results = None
    if isinstance(accuracy, float):
        results = [
            EvalResult(
                task_type=task,
                dataset_type="held-out",
                dataset_name=_data_name(network.run),
                metric_type="accuracy",
                metric_value=round(accuracy, 4),
            )
        ]
    names = {"timm": "timm", "KerasHub": "keras-hub", "Keras": "keras"}
    readers = [name for library, name in names.items() if library in libraries]
    data = ModelCardData(
        license=network.licence,
        library_name=readers[0],
        pipeline_tag=task,
        tags=["regnet", *readers],
        base_model=network.base and f"timm/{network.base}",
        model_name=network.name if results else None,
        eval_results=results,
    )
    return data.to_yaml()


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
        f" {cost.parameters / 1e6:.2f} million parameters and {cost.multiply_adds / 1e9:.3f}"
        f" billion multiply-adds at {size} pixels{trunk}."
    )
    rows = [
        ("image size", f"{size} pixels"),
        ("shorter side before the crop", f"{preprocessing.shorter_side} pixels"),
        ("interpolation", preprocessing.interpolation),
        ("mean", ", ".join(f"{value:.4g}" for value in preprocessing.mean)),
        ("standard deviation", ", ".join(f"{value:.4g}" for value in preprocessing.std)),
    ]
    yield markdown_table(("input", "value"), rows, left=(0, 1))
    if network.class_names:
        shown = ", ".join(f"`{printable(name)}`" for name in network.class_names[:_SHOWN_CLASSES])
        more = len(network.class_names) - _SHOWN_CLASSES
        yield f"Classes: {shown}" + (f" and {more} more." if more > 0 else ".")


def _data_name(run):
    """Returns the name of a run's data; of a folder, the last part alone."""
    return printable(Path(str(run.get("data", {}).get("name", "unknown"))).name)


def _training(network) -> Iterator[str]:
    if network.info is not None:
        yield "## Training"
        yield (
            f"These are the weights `{network.info.tag}`, published as"
            f" `{network.info.hub_repository}` and trained by {network.info.origin or 'timm'}."
        )
    recipe = network.run.get("recipe")
    if not isinstance(recipe, dict):
        return
    yield "## Training"
    data, schedule, optimizer = network.run.get("data", {}), recipe["schedule"], recipe["optimizer"]
    augmentation = recipe["augmentation"]
    rows = {
        "data": _data_name(network.run),
        "training images": data.get("train_images"),
        "held-out images": data.get("test_images"),
        "recipe": recipe["name"],
        "initial weights": network.base or "random",
        "epochs": schedule["epochs"],
        "batch size": schedule["batch_size"],
        "optimizer": optimizer["name"],
        "learning rate": f"{schedule['learning_rate']:g}, {schedule['kind']}",
        "weight decay": f"{optimizer['weight_decay']:g}",
        "augmentation": ", ".join(
            f"{name} {value}" for name, value in augmentation.items() if _is_used(value)
        ),
        "label smoothing": recipe["loss"].get("label_smoothing"),
        "seed": recipe["seed"],
    }
    rows = {name: printable(value) for name, value in rows.items() if value not in (None, "")}
    yield markdown_table(("training", "value"), rows.items(), left=(0, 1))
    versions = ", ".join(
        f"{name} {value}" for name, value in network.run.get("versions", {}).items()
    )
    yield f"Trained by `regnet train` with {versions}."


def _is_used(value):
    return isinstance(value, str) or (isinstance(value, (bool, int, float)) and value != 0)


def _accuracy(network) -> Iterator[str]:
    if network.info is not None and network.info.published:
        yield "## Accuracy"
        rows = [
            (entry["source"], entry["image_size"], f"{entry['top1']:.2f}")
            for entry in network.info.published
        ]
        yield markdown_table(("measured by", "pixels", "ImageNet top-1 %"), rows)
    results = network.run.get("results")
    if not isinstance(results, dict):
        return
    yield "## Accuracy"
    scores = {name: value for name, value in results.items() if isinstance(value, float)}
    images = network.run.get("data", {}).get("test_images", "the")
    yield f"Measured on {images} images that were held out from the training."
    rows = [(name.replace("_", " "), f"{100 * value:.2f}") for name, value in scores.items()]
    yield markdown_table(("score", "%"), rows)
    selection = network.run["recipe"].get("selection")
    if selection is not None:
        yield "The epoch was selected by these images, so new images may get a lower score."


def _usage(network, place, libraries) -> Iterator[str]:
    if not is_hub_name(place):
        yield f"Run these lines in the folder that contains `{place}`."
    usages = {"timm": _timm, "regnet_tf": _regnet_tf, "Keras": _keras, "KerasHub": _keras_hub}
    for library in libraries:
        lines = "\n".join(usages[library](network, place))
        yield f"### {library}"
        yield f"```python\n{lines}\n```"
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
    mode = _MODES.get(network.preprocessing.channels)
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
    if kind == "ImageClassifier":
        yield from (
            'image = keras.utils.img_to_array(keras.utils.load_img("photo.jpg"))',
            "print(model.predict(image[None]))",
        )
