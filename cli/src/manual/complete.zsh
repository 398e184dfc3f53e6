#compdef mews
# Completion of mews for zsh.
_mews() {
    local kind
    local -a lines
    lines=("${(@f)$(${words[1]} __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    kind=$lines[1]
    shift lines
    if [[ $kind == files ]]; then
        _files
        return
    fi
    lines=("${(@)lines//:/\\:}")
    lines=("${(@)lines/$'\t'/:}")
    _describe -t mews mews lines
}
if [[ $funcstack[1] == _mews ]]; then
    _mews "$@"
else
    compdef _mews mews
fi
