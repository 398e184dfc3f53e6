# Completion of mews for bash.
_mews() {
    local kind= line
    COMPREPLY=()
    {
        IFS= read -r kind
        while IFS= read -r line; do
            COMPREPLY+=("$(printf '%q' "${line%%$'\t'*}")")
        done
    } < <("$1" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    if [[ $kind == files ]]; then
        compopt -o default
    fi
}
complete -F _mews mews
