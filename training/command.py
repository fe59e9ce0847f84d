"""`regnet train`: trains a RegNet with a recipe. See `regnet train --help`."""

import argparse
import os
import sys
from pathlib import Path

from regnet_command import run, say_when_stopped

_EPILOG = """\
examples:
  regnet train                                  handwritten digits, in a minute or two
  regnet train --list                           all recipes, with their expected results
  regnet train --data photos --weights regnety_016.tv2_in1k --out runs/mine
  regnet train --data photos --weights runs/mine --out runs/next
  regnet train --recipe smoke --out /tmp/smoke
  regnet train --set schedule.epochs=10 --set schedule.learning_rate=0.05 --out runs/short
  regnet train --variant RegNetX-200MF --out runs/x200

  regnet train --recipe paper --variant regnety_004 --data imagenet2012 --data-dir DIR
               --strategy mirrored --out RUN

Without --recipe, the data and --weights choose the recipe. The command prints what it chose, and
every figure of the recipe.

The command prints the test accuracy and the paths of its files. Run the same command again to
resume a run that was stopped or killed. A finished run is trained further with more epochs:
--out RUN --set schedule.epochs=N.

Exit status: 0 after success, 2 after an error, 130 after Ctrl-C, 143 after SIGTERM."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status.

    Args:
        arguments: list of strings; `sys.argv[1:]` by default.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    arguments = sys.argv[1:] if arguments is None else arguments
    if options.list:
        return run(_list, parser, only_prints=True)
    stopped = "Stopped. Run the same command again to resume."
    return run(lambda: _train(options, arguments), parser, stopped)


def _train(options, arguments):
    """Trains; returns the exit status."""
    import tensorflow as tf

    from regnet_tf._files import print_paths

    from .loop import directory, strategies, train
    from .tasks import task_of

    strategy = strategies.make_strategy(options.strategy)
    is_chief = strategies.is_chief(strategy)
    recipe, reason = _recipe(options)
    out = options.out or Path("runs") / recipe.name
    verbose = 1 if sys.stdout.isatty() else 2  # in a file, bars would write many lines
    say_when_stopped(f"Stopped. Run the same command again to resume {out}.")
    if is_chief and reason:
        print(reason)
    try:
        done = train.train_and_evaluate(
            recipe,
            out,
            options.overwrite,
            verbose,
            options.data_dir,
            strategy,
            options.checkpoint_steps,
        )
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
        if not strategies.is_multi_worker(strategy):
            raise
        _begin_again(error, arguments)
    if is_chief:
        print(train.summary(done))
        print_paths(out, task_of(recipe).written(directory.FILES))
        model = str(out / "model.keras")
        modules = "keras, regnet_tf" if recipe.detector is None else "keras, regnet_tf.keras_hub"
        print(f"Load it: import {modules}; keras.saving.load_model({model!r})")
    return 0


def _recipe(options):
    """Returns the recipe of a command, and a line that explains the choice, or None.

    Without a recipe, data set and weights, a directory with a run goes on with the run's recipe.
    """
    from .data import target_of
    from .loop import identity
    from .recipes import choosing, get_recipe

    changes = _changes(options)
    data, weights = changes.get("data.name"), changes.get("network.weights")
    if options.recipe is None and data is None and weights is None and options.out is not None:
        before = identity.recipe_of(options.out)
        if before is not None:
            return before.replace(changes), f"The recipe of the run in {options.out}."
    target = "class" if data is None else target_of(data, options.data_dir)
    name, reason = options.recipe, None
    if name is None:
        name, reason = choosing.choose(data, target, weights)
    recipe = get_recipe(name)
    if weights is not None:
        recipe = choosing.fitted_to_weights(recipe, weights, changes)
    recipe = recipe.replace(changes)
    choosing.check_given(recipe)
    return choosing.fitted_to_data(recipe, target, changes), reason


def _begin_again(error, arguments):
    """Restarts this process. It then waits for the lost worker and resumes the run."""
    from regnet_tf._errors import first_line

    text = f"A worker was lost ({first_line(error)}); waiting for it to come back."
    print(text, file=sys.stderr, flush=True)
    arguments = [argument for argument in arguments if argument != "--overwrite"]
    os.execv(sys.executable, [sys.executable, "-m", "regnet_command", "train", *arguments])


def _parser():
    parser = argparse.ArgumentParser(
        prog="regnet train",
        description="Trains a RegNet with a recipe, tests it, and draws the learning curves.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--recipe", metavar="NAME", help="name of the recipe (default: one that suits the data)")
    add("--list", action="store_true", help="print all recipes and exit")
    add("--variant", metavar="NAME", help="another network: any name, or a JSON file")
    add("--data", metavar="NAME", help="a folder of images, a CSV file, or the name of a data set")
    add(
        "--weights",
        metavar="NAME",
        help="initial weights to fine-tune: a tag such as regnety_016.tv2_in1k, a weight file, or "
        "the folder of another run",
    )
    add(
        "--teacher",
        metavar="NAME",
        help="trained network to learn from (distillation): the folder of another run, a .keras "
        "file or a tag",
    )
    add("--data-dir", metavar="DIR", help="data directory of tensorflow-datasets")
    add(
        "--out",
        metavar="DIR",
        type=Path,
        help="folder for the results (default: runs/RECIPE); a run in it goes on",
    )
    add(
        "--set",
        metavar="FIELD=VALUE",
        action="append",
        default=[],
        help="change a field of the recipe, such as schedule.epochs=10; may be repeated",
    )
    add(
        "--seed", metavar="N", type=int, help="seed of weights, order and augmentation (default: 0)"
    )
    add(
        "--strategy",
        metavar="NAME",
        default="none",
        help="none: one device (default); mirrored: all GPUs of this machine; multiworker: several "
        "machines, which TF_CONFIG or SLURM name; tpu",
    )
    add("--precision", metavar="NAME", help="float32 or mixed_bfloat16")
    add(
        "--checkpoint-steps",
        metavar="N",
        type=int,
        default=1000,
        help="steps between checkpoints; each epoch ends with one, too (default: 1000)",
    )
    add("--overwrite", action="store_true", help="restart from scratch, even over a finished run")
    return parser


def _changes(options):
    """Returns the fields to change. Dedicated options take precedence over --set."""
    from regnet_tf.variants import check_variant_option

    from .recipes import parse_change

    check_variant_option(options.variant)
    changes = dict(parse_change(text) for text in options.set)
    own = {
        "network.config": options.variant,
        "data.name": options.data,
        "network.weights": options.weights,
        "distillation.teacher": options.teacher,
        "network.precision": options.precision,
        "seed": options.seed,
    }
    return {**changes, **{field: value for field, value in own.items() if value is not None}}


def _list():
    """Prints every recipe with its description and fields."""
    from .recipes import RECIPES
    from .recipes.listing import describe

    print("\n\n".join(map(describe, RECIPES.values())))
