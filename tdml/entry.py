"""Where the `tdml` command begins."""

import signal

from tdml.common.environment import fix_environment


def main() -> None:
    """Run the command. While it is imported, which may take seconds, Ctrl-C ends this process
    without a stack trace; from then on it is the command's."""
    interrupts = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interrupts:  # a script's background process ignores it
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    fix_environment()
    from tdml import cli

    if interrupts:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    cli.main()
