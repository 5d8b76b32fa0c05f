# What TAB offers for rtops in bash 4.4 and newer. File names are bash's own business: it quotes them.
_rtops() {
    local -a before=() answer=()
    local word
    COMPREPLY=()
    for word in "${COMP_WORDS[@]:0:COMP_CWORD}"; do
        # bash takes `--option=value` for three words.
        [[ $word == = ]] || before+=("$word")
    done
    mapfile -t answer < <(RTOPS_COMPLETE=bash PROGRAM -- "${before[@]}" "$2" 2>/dev/null)
    case ${answer[0]-} in
        files) compopt -o default ;;
        directories) compopt -o dirnames -o filenames ;;
        words) COMPREPLY=("${answer[@]:1}") ;;
    esac
}
complete -o bashdefault -o nosort -F _rtops rtops
