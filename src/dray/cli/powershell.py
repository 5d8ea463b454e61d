"""Completion for PowerShell, which Click does not know."""

import os

from click.shell_completion import CompletionItem, ShellComplete, add_completion_class

SCRIPT = """\
Register-ArgumentCompleter -Native -CommandName %(prog_name)s -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $env:%(complete_var)s = "powershell_complete"
    $env:DRAY_COMPLETE_LINE = ($commandAst.CommandElements | ForEach-Object { $_.ToString() }) -join [char]31
    $env:DRAY_COMPLETE_WORD = $wordToComplete
    try {
        %(prog_name)s | ForEach-Object {
            $value, $help = $_ -split [char]31, 2
            [System.Management.Automation.CompletionResult]::new($value, $value, "ParameterValue", $help)
        }
    } finally {
        Remove-Item Env:%(complete_var)s, Env:DRAY_COMPLETE_LINE, Env:DRAY_COMPLETE_WORD -ErrorAction SilentlyContinue
    }
}
"""

BETWEEN = "\x1f"


class PowerShellComplete(ShellComplete):
    """Speaks with the script above through environment variables and lines of value and help."""

    name = "powershell"
    source_template = SCRIPT

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the finished words after the command's name, and the one that is being written."""
        words = os.environ.get("DRAY_COMPLETE_LINE", "").split(BETWEEN)
        incomplete = os.environ.get("DRAY_COMPLETE_WORD", "")
        done = words[1:-1] if incomplete and words[-1] == incomplete else words[1:]
        return done, incomplete

    def format_completion(self, item: CompletionItem) -> str:
        """Return the line for one possibility."""
        return f"{item.value}{BETWEEN}{item.help or item.value}"


def register() -> None:
    """Make PowerShell known to Click."""
    add_completion_class(PowerShellComplete)
