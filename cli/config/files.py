"""The files that a configuration names, judged when it is checked.

The rule: what is wrong in a file that can be read is an error; a file that is not there, or that this user may not
read, is worth a warning: it may be there where the configuration is served.
"""

from __future__ import annotations

from cli.config.errors import ConfigError, Problem
from cli.config.model import Configuration


def file_warnings(configuration: Configuration) -> tuple[str, ...]:
    """What is doubtful of the files. Raises ConfigError where some cannot be served."""
    to_backends = configuration.tls_to_backends
    if configuration.http_or_none is None and not configuration.terminated_tls and not to_backends:
        return ()
    from lb7.files import FileError, named_files, of_backend_tls, read_file

    others = [name for tls in to_backends for name in of_backend_tls(tls)]
    names = dict.fromkeys((*named_files(configuration.http, configuration.terminated_tls), *others))
    files: dict[str, bytes] = {}
    missing: list[str] = []
    for name in names:
        try:
            files[name] = read_file(name)
        except FileError as error:
            missing.append(str(error))
    return (*missing, *_judged(configuration, files))


def _judged(configuration: Configuration, files: dict[str, bytes]) -> tuple[str, ...]:
    if not files:
        return ()
    from lb7.fitness import doubtful, unfit
    from lb7.tls.certificates import now

    wrong = unfit(configuration.http, files, configuration.terminated_tls, configuration.tls_to_backends)
    if wrong:
        raise ConfigError(configuration.origin, [Problem((), str(error)) for error in wrong])
    return doubtful(configuration.http, files, now())
