"""`python -m training`: trains a RegNet by a recipe. See `python -m training --help`."""

import argparse
import os
import signal
import sys
import textwrap
from pathlib import Path

from training.command import start_tensorflow

_EPILOG = """\
examples:
  python -m training                                  the digits, in a minute or two
  python -m training --list                           the recipes and what to expect of them
  python -m training --recipe digits_finetuning       few images of new digits, with and without
                                                      what others taught the network
  python -m training --recipe smoke --workdir /tmp/smoke
  python -m training --set epochs=10 --set learning_rate=0.05 --workdir runs/short
  python -m training --variant RegNetX-200MF --workdir runs/x200

  python -m training --recipe paper --variant regnety_004 --data imagenet2012 --data-dir DIR
                     --strategy mirrored --workdir RUN

Ends with the accuracy on the test images and the paths of what was written. A run that was killed
or stopped goes on when the same command is given again.
Exit status: 0 if it worked, 2 if something asked for is not possible, 130 and 143 if stopped by
SIGINT or SIGTERM."""


def main(arguments=None) -> int:
    """Runs the command; returns its exit status.

    Args:
        arguments: list of strings; those of the process by default.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    start_tensorflow()
    from regnet_tf._errors import UserError, fail
    from training.recipes import get_recipe

    if options.list:
        print(_list())
        return 0
    try:
        recipe = get_recipe(options.recipe, **_changes(options))
        return _run(recipe, options)
    except (UserError, ValueError) as error:
        return fail(parser, error)


def _run(recipe, options):
    """Trains; returns the exit status."""
    import tensorflow as tf

    from regnet_tf._files import print_paths
    from training import finetuning, strategies, train
    from training.callbacks import Stopped

    workdir = options.workdir or Path("runs") / recipe.name
    verbose = 1 if sys.stdout.isatty() else 2  # bars fill a file with lines
    strategy = strategies.make_strategy(options.strategy)
    try:
        if recipe.pretraining and recipe.decoder is None:
            program = finetuning
            run = finetuning.finetune(recipe, workdir, options.overwrite, verbose, options.data_dir)
        else:
            program = train
            run = train.train_and_evaluate(
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
        print(f"\nStopped; the same command goes on with {workdir}.", file=sys.stderr)
        return 128 + number
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
        if not strategies.is_multi_worker(strategy):
            raise
        _begin_again(error)
    if strategies.is_chief(strategy):
        print(program.summary(run))
        print_paths(workdir, program.FILES)
    return 0


def _begin_again(error):
    """Replaces this process by itself: it waits for a worker that was lost, and goes on with it."""
    from regnet_tf._errors import first_line

    text = f"A worker was lost ({first_line(error)}); waiting for it to come back."
    print(text, file=sys.stderr, flush=True)
    arguments = [argument for argument in sys.argv[1:] if argument != "--overwrite"]
    os.execv(sys.executable, [sys.executable, "-m", "training", *arguments])


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m training",
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
        help="change a field of the recipe, such as epochs=10; may be repeated",
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
    """The fields to change. An option of its own wins over --set."""
    from training.recipes import parse_change

    changes = dict(parse_change(text) for text in options.set)
    own = {
        "network": options.variant,
        "data": options.data,
        "precision": options.precision,
        "seed": options.seed,
    }
    return {**changes, **{field: value for field, value in own.items() if value is not None}}


def _list():
    """Every recipe with its description and fields."""
    from training.recipes import RECIPES

    lines = []
    for recipe in RECIPES.values():
        fields = recipe.to_dict()
        lines += [fields.pop("name"), textwrap.indent(fields.pop("description"), "  ")]
        fields["network"] = recipe.config.name
        text = "Fields: " + ", ".join(f"{field}={value}" for field, value in fields.items())
        lines += [textwrap.fill(text, 98, initial_indent="  ", subsequent_indent="    "), ""]
    return "\n".join(lines).rstrip()


if __name__ == "__main__":
    sys.exit(main())
