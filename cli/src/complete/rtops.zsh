#compdef rtops
# What TAB offers for rtops in zsh. File names are zsh's own business: it quotes them.
_rtops() {
    local -a answer
    answer=("${(@f)$(RTOPS_COMPLETE=zsh PROGRAM -- "${(@)words[1,CURRENT]}" 2>/dev/null)}")
    case $answer[1] in
        (files) compset -P '-*='; _files ;;
        (directories) compset -P '-*='; _files -/ ;;
        (words)
            shift answer
            (( $#answer )) && _describe -V rtops answer
            ;;
    esac
}
# zsh loads a file of $fpath when TAB is pressed for the first time.
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _rtops "$@"
else
    compdef _rtops rtops
fi
