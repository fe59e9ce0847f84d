"""`regnet train`: trains a RegNet with a recipe. See `regnet train --help`."""

import argparse
import os
import signal
import sys
from pathlib import Path

from regnet_command import run

_EPILOG = """\
examples:
  regnet train                                  the digits, in a minute or two
  regnet train --list                           the recipes and what to expect of them
  regnet train --recipe digits_finetuning       few images of new digits, with and without
                                                what others taught the network
  regnet train --recipe smoke --workdir /tmp/smoke
  regnet train --set schedule.epochs=10 --set schedule.learning_rate=0.05 --workdir runs/short
  regnet train --variant RegNetX-200MF --workdir runs/x200

  regnet train --recipe paper --variant regnety_004 --data imagenet2012 --data-dir DIR
               --strategy mirrored --workdir RUN

Ends with the accuracy on the test images and the paths of what was written. A run that was killed
or stopped goes on when the same command is given again.
Exit status: 0 if it worked, 2 if something asked for is not possible, 130 and 143 if stopped by
SIGINT or SIGTERM."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status.

    Args:
        arguments: list of strings; `sys.argv[1:]` by default.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    arguments = sys.argv[1:] if arguments is None else arguments
    return run(lambda: _list() if options.list else _train(options, arguments), parser)


def _train(options, arguments):
    """Trains; returns the exit status."""
    import tensorflow as tf

    from regnet_tf._files import print_paths

    from .loop import directory, finetuning, strategies, train
    from .loop.callbacks import Stopped
    from .recipes import get_recipe

    recipe = get_recipe(options.recipe, _changes(options))
    workdir = options.workdir or Path("runs") / recipe.name
    verbose = 1 if sys.stdout.isatty() else 2  # in a file, bars would write many lines
    strategy = strategies.make_strategy(options.strategy)
    try:
        if recipe.pretraining and recipe.decoder is None:
            summary, files = finetuning.summary, finetuning.FILES
            done = finetuning.finetune(
                recipe, workdir, options.overwrite, verbose, options.data_dir
            )
        else:
            summary, files = train.summary, directory.FILES
            done = train.train_and_evaluate(
                recipe,
                workdir,
                options.overwrite,
                verbose,
                options.data_dir,
                strategy,
                options.checkpoint_steps,
            )
    except (Stopped, KeyboardInterrupt) as stop:
        number = stop.signal if isinstance(stop, Stopped) else signal.SIGINT
        print(f"\nStopped. Run the same command again to resume {workdir}.", file=sys.stderr)
        return 128 + number
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
        if not strategies.is_multi_worker(strategy):
            raise
        _begin_again(error, arguments)
    if strategies.is_chief(strategy):
        print(summary(done))
        print_paths(workdir, files)
    return 0


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
        description="Trains a RegNet by a recipe, tests it, and draws what happened.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--recipe", metavar="NAME", default="digits", help="what to train (default: digits)")
    add("--list", action="store_true", help="show the recipes and end")
    add("--variant", metavar="NAME", help="another network, such as RegNetY-400MF; any known name")
    add("--data", metavar="NAME", help="another data set")
    add("--data-dir", metavar="DIR", help="where tensorflow-datasets keeps its data")
    add("--workdir", metavar="DIR", type=Path, help="for the results (default: runs/RECIPE)")
    add(
        "--set",
        metavar="FIELD=VALUE",
        action="append",
        default=[],
        help="change a field of the recipe, such as schedule.epochs=10; may be repeated",
    )
    add("--seed", metavar="N", type=int, help="of weights, order and augmentation (default: 0)")
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
        help="steps between checkpoints, beside those after each epoch (default: 1000)",
    )
    add("--overwrite", action="store_true", help="begin anew, even over a finished run")
    return parser


def _changes(options):
    """Returns the fields to change. Dedicated options take precedence over --set."""
    from .recipes import parse_change

    changes = dict(parse_change(text) for text in options.set)
    own = {
        "network.config": options.variant,
        "data.name": options.data,
        "network.precision": options.precision,
        "seed": options.seed,
    }
    return {**changes, **{field: value for field, value in own.items() if value is not None}}


def _list():
    """Prints every recipe with its description and fields."""
    from .recipes import RECIPES
    from .recipes.listing import describe

    print("\n\n".join(map(describe, RECIPES.values())))


if __name__ == "__main__":
    sys.exit(main())
