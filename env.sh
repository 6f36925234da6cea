# Source this (bash or zsh): `. ./env.sh`. Plain `pulumi` then works on this checkout's engine, plugins and state.
# What it sets is printed by `python3 -m toolchain env`, which the Makefile uses as well.
# shellcheck shell=bash
if [ -n "${BASH_SOURCE[0]:-}" ]; then
    _reflector_root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
else
    # zsh names a sourced file in $0.
    _reflector_root="$(cd -- "$(dirname -- "$0")" && pwd)"
fi
if _reflector_settings="$(cd -- "$_reflector_root" && "${PYTHON:-python3}" -m toolchain env)"; then
    eval "$_reflector_settings"
    unset _reflector_root _reflector_settings
else
    # What is wrong is said above; a shell that goes on with half of it would deploy something else.
    unset _reflector_root _reflector_settings
    false
fi
