"""The process of a program: its signals, its standard streams and its end.

A package with programs imports this module first. If Python was started for one of them, the import
takes over the process. In any other process, such as a notebook, it changes nothing.

Imported here is only what Python needs for its own start, so that no signal comes before.
"""

import _thread
import atexit
import io
import os
import signal
import sys
import time

_PACKAGES = ("regnet_command", "regnet_tf", "training", "export", "benchmarks")
_SCRIPT = "regnet"
_GRACE = 10  # seconds that a job has to close its files after a signal
_UNREAD = 128 + 13  # the status after SIGPIPE, by convention


class Stopped(KeyboardInterrupt):
    """SIGINT or SIGTERM ended a job.

    Attributes:
        signal: number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal = number


class _Process:
    """State of this process, and context manager of the job in it.

    In the job, a signal raises `Stopped`, so that files are closed. At any other time nothing is
    open, and a signal ends the process at once: libraries lose exceptions in their imports.

    Attributes:
        is_program: whether Python was started for a program of this project.
        message: line to print after a signal.
        only_prints: whether the program has no use if nobody reads what it prints.
        status: exit status, once it is known.
    """

    def __init__(self) -> None:
        self.is_program = False
        self.message = "Stopped."
        self.only_prints = True
        self.status: int | None = None
        self._in_job = False
        self._received: int | None = None
        self._told = False

    def take_over(self):
        """Makes this the process of a program."""
        self.is_program = True
        self._identity = os.getpid()
        open_streams()
        self._stderr = os.dup(2)  # libraries redirect the other one
        sys.stdout = _text_stream(sys.stdout, 1)
        sys.stderr = _text_stream(sys.stderr, 2)
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` wants it
                signal.signal(number, self._receive)
        sys.unraisablehook = self._report_unraisable
        atexit.register(self._leave)  # Python calls the first one last

    def _receive(self, number, frame):
        if os.getpid() != self._identity:
            os._exit(128 + number)  # a fork; its parent tells
        if not self._in_job or self._received is not None:
            self._end(number)
        self._received = number
        _thread.start_new_thread(self._end_later, (number,))  # if a library loses the exception
        importer = _importer(frame)
        if importer is None:
            raise Stopped(number)
        _raise_in(importer, Stopped(number))

    def _end_later(self, number):
        time.sleep(_GRACE)
        self._end(number)

    def _end(self, number):
        self.tell()
        os._exit(128 + number)

    def _report_unraisable(self, unraisable):
        if isinstance(unraisable.exc_value, Stopped):
            self._end(unraisable.exc_value.signal)
        sys.__unraisablehook__(unraisable)

    def __enter__(self):
        self._in_job = True

    def __exit__(self, *_):
        self._in_job = False
        if self._received is not None:
            raise Stopped(self._received)  # also if a library lost it

    def tell(self):
        """Prints the message about a signal, once."""
        if not self.is_program:
            print(self.message, file=sys.stderr)
        elif not self._told:
            self._told = True
            start = "\n" if os.isatty(self._stderr) else ""  # below the terminal's `^C`
            try:
                os.write(self._stderr, f"{start}{self.message}\n".encode())
            except OSError:  # nobody reads it
                pass

    def _leave(self):
        """Ends the process without Python's finalization, in which signals are not handled."""
        if self.status is not None:
            os._exit(_flushed(self.status))


def open_streams():
    """Opens the null device as each standard stream that is closed.

    Otherwise the next file that is opened would get its number, and what is printed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
            os.set_inheritable(number, True)


class _Stream(io.FileIO):
    """Standard output or standard error. If it cannot be written, what is written is dropped.

    A program that only prints ends, with an error unless its reader has closed the pipe.
    """

    def write(self, data):
        try:
            return super().write(data)
        except OSError as error:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            if self.fileno() == 1:
                self._lose_output(error)
            return len(data)

    def _lose_output(self, error):
        is_unread = isinstance(error, BrokenPipeError)
        if _process.only_prints:
            if is_unread:
                sys.exit(_UNREAD)
            raise OSError(error.errno, error.strerror, "standard output") from error
        if not is_unread:
            text = f"Nothing more is printed ({error.strerror}: standard output). The work goes on."
            print(text, file=sys.stderr)


def _text_stream(before, number):
    """Returns a stream like Python's own. Characters that it cannot encode become escapes."""
    raw = _Stream(number, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(before, "encoding", "utf-8"),
        errors="backslashreplace",
        line_buffering=True,  # a log shows how far long work is
        write_through=getattr(before, "write_through", False),
    )


def _importer(frame):
    """Returns the frame whose import is being done, the outermost if it is nested; or None."""
    found = None
    while frame is not None:
        before, frame = frame, frame.f_back
        if before.f_code.co_filename.startswith("<frozen importlib"):
            found = frame
    return found


def _raise_in(frame, error):
    """Raises an exception in a frame as soon as it goes on, after the call that it is in."""

    def trace(*_):
        sys.settrace(None)
        raise error

    frame.f_trace = trace
    sys.settrace(lambda *_: None)


def is_program() -> bool:
    """Returns whether Python was started for a program of this project."""
    return _process.is_program


def job(message, only_prints):
    """Returns the context manager in which signals raise `Stopped`."""
    _process.message, _process.only_prints = message, only_prints
    return _process


def tell():
    """Prints the message about a signal, once."""
    _process.tell()


def say_when_stopped(message: str) -> None:
    """Sets the line that is printed if SIGINT or SIGTERM stops the running job."""
    _process.message = message


def finish(main):
    """Runs the `main` of a program, and ends the process with its exit status."""
    try:
        status = main()
    except SystemExit as end:
        status = end.code
    except Exception:
        if not _process.is_program:
            raise
        sys.excepthook(*sys.exc_info())
        status = 1
    if _process.is_program:
        status = _process.status = _flushed(status or 0)
    sys.exit(status)


def _flushed(status):
    """Writes what is not written yet; returns the exit status."""
    try:
        sys.stdout.flush()
    except SystemExit as end:
        return end.code
    except OSError as error:
        print(f"regnet: error: {error}", file=sys.stderr)
        return 2
    return status


def _is_started_for_program():
    """While Python looks for the module of `python -m`, the name of the script is "-m"."""
    script = sys.argv[0] if sys.argv else ""
    if script == "-m":
        return any(word.partition(".")[0] in _PACKAGES for word in sys.orig_argv)
    name = os.path.basename(script)
    return os.path.splitext(name)[0] == _SCRIPT and script in sys.orig_argv


_process = _Process()
if _is_started_for_program():
    _process.take_over()
