"""Pictures of a server's answers."""

from pathlib import Path

from regnet_command import start_tensorflow


class Pictures:
    """Draws photographs with their most probable classes, as `regnet predict --out` does.

    It starts TensorFlow, which decodes the photographs.

    Args:
        folder: folder of the pictures; it is made.

    Raises:
        MissingPackageError: if matplotlib is not installed.
    """

    def __init__(self, folder: Path):
        from regnet_tf._errors import import_optional

        import_optional("matplotlib", extra="pictures")
        start_tensorflow()
        from regnet_command.predicting import Targets

        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._targets = Targets()

    def draw(self, path: Path, best: list[tuple[str, float]]) -> Path:
        """Draws the picture of a photograph, and returns its path.

        Args:
            path: path of the photograph.
            best: names and probabilities of its classes.
        """
        from regnet_tf.preprocessing import load_image
        from regnet_tf.visualize import draw_predictions

        picture = self._folder / f"{self._targets.stem(path)}.png"
        draw_predictions(load_image(path), [(name, name, score) for name, score in best], picture)
        return picture
