# Completion of mews for fish.
function __mews_complete
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    set -l program $before[1]
    set -e before[1]
    set -l lines ($program __complete $before "$current" 2>/dev/null)
    if test "$lines[1]" = files
        __fish_complete_path "$current"
        return
    end
    set -e lines[1]
    printf '%s\n' $lines
end
complete -c mews -f -a '(__mews_complete)'
