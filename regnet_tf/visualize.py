"""Pictures of what a network sees."""


def draw_predictions(image, predictions, path):
    """Saves an image beside its most probable classes.

    Args:
        image: uint8 array `(height, width, 3)`.
        predictions: `(synset, name, score)` of each class, as `decode_predictions` gives them for
            one image.
        path: of the PNG to write.

    Raises:
        ImportError: where matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "Pictures need the extra `pretrained`: pip install 'regnet_tf[pretrained]'"
        ) from error
    figure = Figure(figsize=(9, 4), layout="constrained")
    picture, bars = figure.subplots(1, 2)
    picture.imshow(image)
    picture.set_axis_off()
    names = [name.replace("_", " ") for _, name, _ in predictions]
    scores = [score for _, _, score in predictions]
    drawn = bars.barh(range(len(names)), scores)
    bars.bar_label(drawn, [f"{score:.1%}" for score in scores], padding=3)
    bars.set_yticks(range(len(names)), names)
    bars.invert_yaxis()
    bars.set_xlim(0, 1.15)
    bars.set_xlabel("probability")
    figure.savefig(path, format="png", dpi=100)
