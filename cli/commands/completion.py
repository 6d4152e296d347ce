"""`lbctl completion`: the script that teaches a shell to complete lbctl.

The rule: the script asks lbctl itself, so that names of services and backends are those in force.
"""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, get_completion_class

from cli.commands.command import command, present

SHELLS = ("bash", "zsh", "fish")


class Bash(BashComplete):
    """Bash takes a colon for the end of a word, and addresses have colons: words are told apart by blanks here, and of
    what completes one the part before its last colon, which bash keeps, is left out.
    """

    source_template = """\
%(complete_func)s() {
    local IFS=$'\\n' line="${COMP_LINE:0:COMP_POINT}" current kept="" type value completion
    current="${line##*[[:blank:]]}"
    [[ $COMP_WORDBREAKS == *:* && $current == *:* ]] && kept="${current%%"${current##*:}"}"
    COMPREPLY=()
    for completion in $(IFS=$' \\t\\n'; set -f; words=(${line%%"$current"})
        env COMP_WORDS="$line" COMP_CWORD=${#words[@]} %(complete_var)s=bash_complete "$1"); do
        IFS=',' read -r type value <<< "$completion"
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("${value#"$kept"}") ;;
        esac
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


@command(
    "completion",
    "lbctl completion bash > /etc/bash_completion.d/lbctl",
    'lbctl completion zsh > "${fpath[1]}/_lbctl"',
    "lbctl completion fish > ~/.config/fish/completions/lbctl.fish",
)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script of SHELL. Commands, options, and the services and backends in force complete."""
    from cli.main import lbctl

    made = Bash if shell == "bash" else get_completion_class(shell)
    if made is None:
        raise click.ClickException(f"there is no completion for {shell}")
    document = {"shell": shell, "script": made(lbctl, {}, "lbctl", "_LBCTL_COMPLETE").source()}
    present(document, lambda _: str(document["script"]))
